"""The development broker's software: is there a Java and a Maven, and Apache Kafka's jars, fetched once and cached.

The jars of one Kafka version live in one cache folder. It is made whole beside its place and renamed into it, under a
lock that other processes wait for. `jars.json` in it names every jar with its size: a folder that does not match is
fetched again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

KAFKA_VERSION: Final = "4.1.1"
JAVA_VERSION_MIN: Final = 17
FETCH_TIMEOUT_S: Final = 900

_MANIFEST: Final = "jars.json"
_OTHER_WAY: Final = "or run everything in containers: docker compose up"


class BrokerError(Exception):
    """The broker cannot do what was asked; the message is one sentence for a person."""


def broker_files() -> Path:
    """Return the folder of `pom.xml` and `server.properties`, in an installed wheel or in the source tree."""
    package = Path(__file__).resolve().parent
    for folder in (package / "broker_files", package.parent / "deploy" / "broker"):
        if (folder / "pom.xml").is_file():
            return folder
    raise BrokerError("The broker's pom.xml and server.properties are missing here; install nps-streams again.")


def java_command() -> str:
    """Return the `java` to run: of JAVA_HOME where that is set, else the first on the PATH. It may not exist."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else "java"


def java_problem() -> str | None:
    """Return what to install when there is no Java that runs the broker, else None."""
    needed = f"Java {JAVA_VERSION_MIN} or newer is needed to run Apache Kafka"
    install = f"install one (Debian: apt install default-jre-headless, macOS: brew install openjdk), {_OTHER_WAY}."
    try:
        answer = subprocess.run([java_command(), "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        where = " in JAVA_HOME" if os.environ.get("JAVA_HOME") else ""
        return f"{needed} and no java was found{where}: {install}"
    # 'openjdk version "17.0.15" 2025-04-15'; before Java 9 it was "1.8.0_292".
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    if answer.returncode != 0 or found is None:
        return f"{needed} and the java that was found does not start: {install}"
    if int(found[1]) < JAVA_VERSION_MIN:
        return f"{needed} and Java {found[1]} was found: {install}"
    return None


def maven_problem() -> str | None:
    """Return what to install when the jars must be fetched and there is no Maven, else None."""
    if jars_complete(jars_dir()) or shutil.which("mvn"):
        return None
    return (
        "Maven is needed to fetch Apache Kafka and no mvn was found: "
        f"install it (Debian: apt install maven, macOS: brew install maven), {_OTHER_WAY}."
    )


def jars_dir() -> Path:
    """Return the cache folder of this Kafka version, whether or not it is filled."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "nps-streams" / f"kafka-{KAFKA_VERSION}"


def jars_complete(folder: Path) -> bool:
    """Tell whether `folder` holds every jar that today's pom.xml asks for, each of its full size."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        jars: dict[str, int] = manifest["jars"]
        current = bool(jars) and manifest["pom_sha256"] == _pom_sha256()
        return current and all((folder / name).stat().st_size == size_bytes for name, size_bytes in jars.items())
    except (OSError, ValueError, KeyError):
        return False


def fetch_jars() -> Path:
    """Return the folder of Kafka's jars, fetching them first if need be. Progress goes to stderr.

    Raises BrokerError when they cannot be had.
    """
    folder = jars_dir()
    if jars_complete(folder):
        return folder
    problem = maven_problem()
    if problem:
        raise BrokerError(problem)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BrokerError(f"The folder of Kafka's jars, {folder.parent}, cannot be made: {error.strerror}.") from None
    with _locked(folder.parent / f"{folder.name}.lock"):
        if jars_complete(folder):  # another process fetched them meanwhile
            return folder
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=f"{folder.name}-", ignore_cleanup_errors=True
        ) as work:
            fetched = _run_maven(Path(work))
            jars = {jar.name: jar.stat().st_size for jar in sorted(fetched.glob("*.jar"))}
            (fetched / _MANIFEST).write_text(json.dumps({"pom_sha256": _pom_sha256(), "jars": jars}, indent=1))
            if folder.exists():
                folder.rename(Path(work) / "incomplete")
            fetched.rename(folder)
    megabytes = sum(jars.values()) / 1e6
    _say(f"Apache Kafka {KAFKA_VERSION}: {len(jars)} jars, {megabytes:.0f} MB in {folder}\n")
    return folder


def _pom_sha256() -> str:
    return hashlib.sha256((broker_files() / "pom.xml").read_bytes()).hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run_maven(work: Path) -> Path:
    """Copy the jars into a new folder below `work`, which Maven may litter, and return it."""
    shutil.copy(broker_files() / "pom.xml", work)
    jars = work / "jars"
    command = [
        "mvn",
        "--batch-mode",
        "--strict-checksums",
        f"--file={work / 'pom.xml'}",
        "dependency:copy-dependencies",
    ]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
    progress = _Progress()
    error = ""
    maven = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, cwd=work
    )
    deadline = threading.Timer(FETCH_TIMEOUT_S, maven.kill)
    deadline.start()
    try:
        assert maven.stdout is not None
        for line in maven.stdout:
            progress.saw(line)
            if line.startswith("[ERROR]") and not error:
                error = line.removeprefix("[ERROR]").strip()
    finally:
        deadline.cancel()
        maven.kill()  # a no-op unless the loop was interrupted
        maven.communicate()
        progress.end()
    if maven.returncode != 0:
        why = error or f"it ended with code {maven.returncode}"
        raise BrokerError(f"Maven could not fetch Apache Kafka {KAFKA_VERSION}: {why}")
    return jars


class _Progress:
    """Tells on stderr how many jars came: one line that moves on a terminal, one each 20 jars elsewhere."""

    def __init__(self) -> None:
        self._jars = 0
        self._moving = sys.stderr.isatty()
        _say(f"Fetching Apache Kafka {KAFKA_VERSION} (about 54 MB, once) ...\n")

    def saw(self, line: str) -> None:
        """Take one line of Maven's output."""
        if "Downloaded from" not in line or ".jar (" not in line:
            return
        self._jars += 1
        if self._moving:
            _say(f"\r  {self._jars} jars")
        elif self._jars % 20 == 0:
            _say(f"  {self._jars} jars\n")

    def end(self) -> None:
        """Leave the cursor on a line of its own."""
        if self._moving and self._jars:
            _say("\n")


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def main() -> int:
    """Fetch the jars now, unless there is no Java to use them; exit code 1 with the sentence when that fails."""
    try:
        problem = java_problem()
        if problem:
            raise BrokerError(problem)
        fetch_jars()
    except BrokerError as error:
        _say(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
