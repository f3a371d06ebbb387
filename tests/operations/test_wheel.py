"""The wheel and the sdist work where there is no checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist and the wheel, built as `pip wheel` would, without a network."""
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def build(source: Path, target: Path) -> Path:
    run([sys.executable, "-m", "hatchling", "build", "--directory", str(target)], cwd=source)
    return target


def run(command: list[str], cwd: Path, timeout_s: float = 60, **environment: str) -> str:
    """Run a command in an environment that knows neither the checkout nor settings; return its standard output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NPS_", "PYTHON"))}
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=kept | environment,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


def the_wheel(directory: Path) -> Path:
    (wheel,) = directory.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def elsewhere(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `nps` of an environment of its own, in which the wheel is installed.

    Its dependencies are the pinned ones of the environment that runs the tests, through a path file: that brings the
    packages, but not the editable installation of this checkout, whose own path file is read only at the top.
    """
    home = tmp_path_factory.mktemp("elsewhere")
    run([sys.executable, "-m", "venv", "--without-pip", str(home)], cwd=home)
    python = home / "bin" / "python"
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    uv = Path(sys.executable).parent / "uv"
    run(
        [
            str(uv),
            "pip",
            "install",
            "--offline",
            "--no-deps",
            "--no-index",
            "--python",
            str(python),
            str(the_wheel(built)),
        ],
        cwd=home,
    )
    where = run([str(python), "-c", "import schemas, streams; print(schemas.__file__, streams.__file__)"], cwd=home)
    assert all(path.startswith(str(packages)) for path in where.split()), where
    return home / "bin" / "nps"


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """Where the commands are run: not in the checkout."""
    return tmp_path


def test_the_wheel_holds_what_commands_read(built: Path) -> None:
    with zipfile.ZipFile(the_wheel(built)) as wheel:
        names = set(wheel.namelist())
    expected = {
        *(f"schemas/json/{path.name}" for path in (ROOT / "schemas/json").glob("*.json")),
        "schemas/asyncapi.yaml",
        "streams/broker_files/pom.xml",
        "streams/broker_files/server.properties",
        "schemas/py.typed",
        "streams/py.typed",
        *(path.relative_to(ROOT).as_posix() for room in ("schemas", "streams") for path in (ROOT / room).rglob("*.py")),
    }
    assert expected <= names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"schemas", "streams"}


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    again = the_wheel(build(source, tmp_path / "dist"))
    assert again.name == the_wheel(built).name
    assert again.read_bytes() == the_wheel(built).read_bytes()


def test_every_dependency_of_the_wheel_is_pinned_within_its_range(built: Path) -> None:
    with zipfile.ZipFile(the_wheel(built)) as wheel:
        (name,) = [each for each in wheel.namelist() if each.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(wheel.read(name).decode())
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE))
    wanted = [Requirement(text) for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert len(wanted) > 10
    for requirement in wanted:
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), str(requirement)


def test_commands_that_need_no_broker_work(elsewhere: Path, empty: Path) -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version is not None
    assert run([str(elsewhere), "--version"], empty) == f"nps-streams {version[1]}\n"
    assert "NPS_BOOTSTRAP_SERVERS" in run([str(elsewhere), "settings"], empty)
    assert "response.v1" in run([str(elsewhere), "schemas"], empty)
    assert run([str(elsewhere), "schemas", "response.v1"], empty) == (ROOT / "schemas/json/response.v1.json").read_text(
        "utf-8"
    )
    assert list(empty.iterdir()) == []


@pytest.mark.kafka
@pytest.mark.slow
def test_the_demonstration_runs(elsewhere: Path, empty: Path, needs_broker: None) -> None:
    said = run([str(elsewhere), "demo", "--seconds", "10"], empty, timeout_s=170)
    checks = re.findall(r"^[✓✗] .*$", said, flags=re.MULTILINE)
    assert len(checks) == 6, said
    assert all(check.startswith("✓") for check in checks), said
    assert list(empty.iterdir()) == [], "it leaves nothing behind"
