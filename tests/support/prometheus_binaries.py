"""The real Prometheus for tests: found on the PATH or in the cache, or fetched there as Debian packages it.

`make prometheus` fetches. Nothing is installed on the machine and no service is started: the package is unpacked, and
its two programs are kept in one cache folder, which is made whole beside its place and renamed into it. Root is not
needed.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VERSION_MIN: Final = (2, 42)
"""The first with `keep_firing_for`."""

NAMES: Final = ("prometheus", "promtool")
FETCH_TIMEOUT_S: Final = 300


class PrometheusError(Exception):
    """Prometheus cannot be had or does not do what was asked; the message is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """The two programs, of one version."""

    prometheus: Path
    promtool: Path


def cache_dir() -> Path:
    """Return the folder of the fetched programs, whether or not they are there."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "nps-streams" / "prometheus"


def find_binaries() -> Binaries:
    """Return both programs, those on the PATH before those in the cache; raises PrometheusError with what to do."""
    found = {name: shutil.which(name) for name in NAMES}
    in_cache = {name: shutil.which(name, path=str(cache_dir())) for name in NAMES}
    problem = "no prometheus with its promtool was found"
    for pair in (found, in_cache):
        if all(pair.values()):
            version = _version(str(pair["prometheus"]))
            if version >= VERSION_MIN:
                return Binaries(*(Path(str(pair[name])) for name in NAMES))
            problem = f"{'.'.join(map(str, version))} was found" if version else "the one that was found does not start"
    wanted = ".".join(map(str, VERSION_MIN))
    raise PrometheusError(
        f"Prometheus {wanted} or newer is needed and {problem}: run `make prometheus` (Debian, Ubuntu), "
        "or install it (macOS: brew install prometheus)."
    )


def problem() -> str | None:
    """Return one sentence that says what to install before Prometheus can be run here, else None."""
    try:
        find_binaries()
    except PrometheusError as error:
        return str(error)
    return None


@functools.cache
def _version(prometheus: str) -> tuple[int, ...]:
    """Return (major, minor), or () when it does not say."""
    try:
        answer = subprocess.run([prometheus, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    said = re.search(r"prometheus, version (\d+)\.(\d+)", answer.stdout + answer.stderr)
    return (int(said[1]), int(said[2])) if said else ()


def fetch_binaries() -> Binaries:
    """Return both programs, fetching Debian's package into the cache if need be; raises PrometheusError."""
    if problem() is None:
        return find_binaries()
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise PrometheusError(f"{problem()} (Fetching needs {tool}, which is not here.)")
    folder = cache_dir()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "prometheus.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if problem() is not None:  # else another process fetched them meanwhile
            _say("Fetching Debian's package of Prometheus (about 20 MB, once) ...")
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix="prometheus-") as work:
                _fetch(folder, Path(work))
            _say(f"Prometheus {'.'.join(map(str, _version(str(folder / 'prometheus'))))}.x in {folder}")
    return find_binaries()


def _fetch(folder: Path, work: Path) -> None:
    _download(work)
    (package,) = work.glob("prometheus_*.deb")
    _run(["dpkg-deb", "--extract", str(package), str(work / "unpacked")], work)
    kept = work / "kept"
    kept.mkdir()
    for name in NAMES:
        (work / "unpacked" / "usr" / "bin" / name).rename(kept / name)
    if folder.exists():
        folder.rename(work / "before")
    kept.rename(folder)


def _download(work: Path) -> None:
    """Put the package into `work`; by lists of packages of our own where the machine's are missing or too old."""
    download = ["apt-get", "--quiet", "--quiet", "download", "prometheus"]
    try:
        return _run(download, work)
    except PrometheusError:
        pass
    lists, archives = work / "apt" / "lists", work / "apt" / "cache"
    for made in (lists / "partial", archives / "archives" / "partial"):
        made.mkdir(parents=True)
    own = [f"--option=Dir::State::Lists={lists}", f"--option=Dir::Cache={archives}", "--option=APT::Sandbox::User=root"]
    _run(["apt-get", "--quiet", "--quiet", *own, "update"], work)
    return _run([*download, *own], work)


def _run(command: list[str], work: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=work, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise PrometheusError(f"Prometheus could not be fetched within {FETCH_TIMEOUT_S} s by {command[0]}.") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise PrometheusError(f"Prometheus could not be fetched by {command[0]}: {said[-1]}")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main() -> int:
    """Fetch the programs now unless they are here; exit code 1 with the sentence when that fails."""
    try:
        fetch_binaries()
    except PrometheusError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
