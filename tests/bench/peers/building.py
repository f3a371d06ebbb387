"""What the peers run on, made once in the project's cache directory and again when what it is made from changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.support.worker import ROOT

HERE = Path(__file__).parent
CACHE = ROOT / ".cache" / "peers"
TIMEOUT_S = 900


def quix_python() -> str:
    """Return the interpreter of a virtual environment with Quix Streams, whose pins contradict our own."""
    requirements = HERE / "requirements-quix.txt"
    environment = CACHE / "quix"
    python = environment / "bin" / "python"
    if not _is_current(environment, [requirements]):
        print("Installing Quix Streams (once) ...", file=sys.stderr)
        shutil.rmtree(environment, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(environment)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--no-deps", "--require-hashes", "--requirement", str(requirements)])
        _stamp(environment, [requirements])
    return str(python)


def kstreams_classpath() -> str:
    """Return the class path of the compiled Kafka Streams applications."""
    source, build = HERE / "kstreams", CACHE / "kstreams"
    jars = build / "jars"
    files = sorted(path for path in source.rglob("*") if path.is_file())
    if not _is_current(build, files):
        if shutil.which("mvn") is None:
            raise SystemExit("Maven is needed to compile the Kafka Streams applications and no mvn was found.")
        print("Compiling the Kafka Streams applications (once) ...", file=sys.stderr)
        shutil.rmtree(build, ignore_errors=True)
        shutil.copytree(source, build)  # Maven writes beside the pom.xml
        maven = ["mvn", "--batch-mode", "--quiet", "--strict-checksums", f"--file={build / 'pom.xml'}"]
        goals = ["compile", "dependency:copy-dependencies"]
        _run([*maven, *goals, "-DincludeScope=runtime", f"-DoutputDirectory={jars}"])
        _stamp(build, files)
    return os.pathsep.join([str(build / "target" / "classes"), f"{jars}/*"])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with code {done.returncode}:\n{done.stdout}{done.stderr}")


def _is_current(made: Path, sources: Iterable[Path]) -> bool:
    stamp = made / "made-from"
    return stamp.is_file() and stamp.read_text() == _digest(sources)


def _stamp(made: Path, sources: Iterable[Path]) -> None:
    (made / "made-from").write_text(_digest(sources))


def _digest(sources: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()
