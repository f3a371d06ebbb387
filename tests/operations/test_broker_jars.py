"""The development broker's software: which Java and Maven are asked for, Kafka's jars fetched once and whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streams import broker_jars
from streams.broker import BrokerError

ROOT = Path(__file__).resolve().parents[2]

# Stands for Maven: two jars, slowly, and a line for each time it ran.
SLOW_MAVEN = """
for argument; do case $argument in -DoutputDirectory=*) jars=${argument#*=};; esac; done
echo ran >> "$XDG_CACHE_HOME/runs"
mkdir -p "$jars" && echo 1 > "$jars/a.jar" && sleep 0.5 && echo 22 > "$jars/b.jar"
"""
FAILING_MAVEN = """
for argument; do case $argument in -DoutputDirectory=*) jars=${argument#*=};; esac; done
mkdir -p "$jars" && echo 1 > "$jars/a.jar"
echo "[ERROR] Could not transfer artifact: No route to host"
echo "[ERROR] Try again later"
exit 1
"""


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the test's own, which is on the PATH too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


@pytest.mark.parametrize(
    ("prints", "problem"),
    [
        ('openjdk version "17.0.15" 2025-04-15', None),
        ('openjdk version "25" 2025-09-16', None),
        ('openjdk version "11.0.2" 2019-01-15', "Java 11 was found"),
        ('java version "1.8.0_292"', "Java 8 was found"),
        ("command failed", "does not start"),
        (None, "no java was found"),
    ],
)
def test_says_which_java_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prints: str | None, problem: str | None
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if prints else str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    if prints:
        script(tmp_path / "java", f"echo '{prints}' >&2")
    found = broker_jars.java_problem()
    if problem is None:
        assert found is None
    else:
        assert found is not None
        assert problem in found
        assert "docker compose up" in found


def test_needs_maven_only_while_the_jars_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "no mvn was found" in (broker_jars.maven_problem() or "")
    with pytest.raises(BrokerError, match="no mvn was found"):
        broker_jars.fetch_jars()


@pytest.mark.kafka
@pytest.mark.usefixtures("needs_broker")
@pytest.mark.parametrize("damage", ["missing jar", "cut jar", "other pom", "no list"])
def test_damaged_jars_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    whole = broker_jars.fetch_jars()
    folder = tmp_path / "kafka"
    shutil.copytree(whole, folder, copy_function=os.link)
    assert broker_jars.jars_complete(folder)
    jar = folder / "kafka-clients-4.1.1.jar"
    if damage == "missing jar":
        jar.unlink()
    elif damage == "cut jar":
        jar.unlink()
        jar.write_bytes((whole / jar.name).read_bytes()[:-1])
    elif damage == "no list":
        (folder / "jars.json").unlink()
    else:
        monkeypatch.setattr(broker_jars, "_pom_sha256", lambda: "another")
    assert not broker_jars.jars_complete(folder)


def test_processes_that_fetch_at_once_fetch_once(cache: Path) -> None:
    script(cache / "mvn", SLOW_MAVEN)
    program = "from streams.broker_jars import fetch_jars; print(fetch_jars())"
    fetching = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)
        for _ in range(3)
    ]
    answers = {process.communicate(timeout=30)[0].decode().strip() for process in fetching}
    assert answers == {str(broker_jars.jars_dir())}
    assert broker_jars.jars_complete(broker_jars.jars_dir())
    assert (cache / "runs").read_text().splitlines() == ["ran"]
    assert sorted(path.name for path in broker_jars.jars_dir().iterdir()) == ["a.jar", "b.jar", "jars.json"]


def test_an_incomplete_folder_is_replaced(cache: Path) -> None:
    script(cache / "mvn", SLOW_MAVEN)
    folder = broker_jars.fetch_jars()
    (folder / "a.jar").unlink()
    assert not broker_jars.jars_complete(folder)
    assert broker_jars.fetch_jars() == folder
    assert broker_jars.jars_complete(folder)


def test_says_what_maven_said_and_leaves_nothing_half_done(cache: Path) -> None:
    script(cache / "mvn", FAILING_MAVEN)
    with pytest.raises(
        BrokerError, match=r"could not fetch Apache Kafka 4\.1\.1: Could not transfer artifact: No route"
    ):
        broker_jars.fetch_jars()
    assert not broker_jars.jars_dir().exists()
    assert [path.suffix for path in broker_jars.jars_dir().parent.iterdir()] == [".lock"]
