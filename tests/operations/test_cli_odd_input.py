"""What people and machines hand to commands: files that can't be looked at, odd records, closed streams. No broker."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from schemas.playbook import default_playbook
from streams.broker import free_port
from streams.cli import doctor
from streams.cli.application import app
from streams.cli.choices import FileFormat, RecordTime
from streams.cli.console import Failure
from streams.cli.events_command import _sentence
from streams.cli.file_lines import Lines
from streams.cli.publishing import Ready, Refusal, judge
from streams.cli.response_files import read
from streams.cli.stopping import ended_by
from streams.settings import Settings, SettingsError

NPS = (sys.executable, "-m", "streams.cli")
AWAY = "127.0.0.1:1"


@pytest.fixture
def hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in a folder that may not be entered: to root, who may, the system is made to say so."""
    folder = tmp_path / "locked"

    def refuse(real: Callable[..., object]) -> Callable[..., object]:
        def look(path: Path, *how: object, **more: object) -> object:
            if path.is_relative_to(folder):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *how, **more)

        return look

    for name in ("stat", "is_file", "exists"):
        monkeypatch.setattr(Path, name, refuse(getattr(Path, name)))
    return folder / "file"


@pytest.mark.parametrize("name", ["ssl_ca_file", "ssl_cert_file", "ssl_key_file", "playbook_file", "webhooks_file"])
def test_a_file_that_may_not_be_looked_at_is_a_problem_of_its_setting(
    name: str, hidden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPS_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv(f"NPS_{name.upper()}", str(hidden))
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment()
    said = f"NPS_{name.upper()}: cannot be looked at (Permission denied): {str(hidden)!r}"
    assert said in refused.value.problems


def test_so_is_a_file_whose_name_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPS_PLAYBOOK_FILE", "x" * 300)
    with pytest.raises(SettingsError, match=r"^NPS_PLAYBOOK_FILE: cannot be looked at \(File name too long\)"):
        Settings.from_environment()


# --- doctor ---


def test_doctor_keeps_its_report_where_kafka_cannot_be_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    result = CliRunner().invoke(
        app,
        ["doctor", "--json"],
        env={
            "NPS_SECURITY_PROTOCOL": "SSL",
            "NPS_SSL_CA_FILE": str(tmp_path / "ca.pem"),
            "NPS_STATE_DIR": str(tmp_path),
        },
    )
    found = {each["check"]: each for each in json.loads(result.stdout)}
    assert "NPS_SSL_CA_FILE: cannot be used" in found["broker"]["found"]
    assert "state directory" in found
    assert result.exit_code == 1


def test_doctor_tells_of_a_state_directory_that_may_not_be_looked_at(hidden: Path) -> None:
    (finding,) = doctor.state_directory(Settings(state_dir=hidden))
    assert finding.verdict is doctor.Verdict.FAIL
    assert "cannot be written: Permission denied" in finding.found


# --- publishing ---


def judged(content: bytes, tmp_path: Path) -> list[Ready | Refusal]:
    file = tmp_path / "responses.ndjson"
    file.write_bytes(content)
    with file.open("rb") as stream:
        lines = read(Lines(stream), FileFormat.NDJSON, lambda _: None)
        return [judge(line, RecordTime.NOW, 2_000_000_000_000) for line in lines]


GOOD = b'{"response_id":"r","customer_id":"c","survey_id":"s","score":7,"responded_at":"2026-01-01T00:00:00Z"}'


@pytest.mark.parametrize("line", [b" " * 70_000 + GOOD, GOOD + b" " * 70_000 + b"GARBAGE", GOOD + b" " * 70_000])
def test_a_line_that_was_cut_is_too_large_and_not_what_is_left_of_it(line: bytes, tmp_path: Path) -> None:
    cut, whole = judged(line + b"\n  " + GOOD + b"  \n\n", tmp_path)
    assert isinstance(cut, Refusal)
    assert cut.reason == "too_large"
    assert isinstance(whole, Ready)


def test_publishing_tells_of_files_that_may_not_be_looked_at(hidden: Path, tmp_path: Path) -> None:
    unnamed = CliRunner().invoke(app, ["publish", str(hidden)])
    assert unnamed.exit_code == 1
    assert f"{hidden} cannot be read: Permission denied" in unnamed.stderr
    (tmp_path / "r.ndjson").write_bytes(GOOD)
    refused = CliRunner().invoke(app, ["publish", str(tmp_path / "r.ndjson"), "--refused", str(hidden)])
    assert refused.exit_code == 1
    assert f"{hidden} cannot be written: Permission denied" in refused.stderr


# --- what others wrote ---


@pytest.mark.parametrize("data", [None, "hello", [], {}, {"score": 7}, 7])
@pytest.mark.parametrize("kind", ["nps.passive-detected.v1", "nps.follow-up-overdue.v1", "", "another"])
def test_an_event_of_another_program_is_shown_as_it_is(kind: str, data: object) -> None:
    assert json.dumps(data) in str(_sentence(kind, "2026-01-01T00:00:00Z", data))


def test_questions_are_shown_as_they_are_asked(tmp_path: Path) -> None:
    question = "What would make you a fan [of our product] [/i]?"
    ours = default_playbook().follow_up_question("indifferent", "en")
    text = (resources.files("schemas") / "playbook.toml").read_text("utf-8").replace(ours, question)
    (tmp_path / "playbook.toml").write_text(text, "utf-8")
    shown = CliRunner().invoke(app, ["playbook"], env={"NPS_PLAYBOOK_FILE": str(tmp_path / "playbook.toml")})
    assert shown.exit_code == 0
    assert question in shown.stdout


def test_a_terminal_that_lacks_a_letter_shows_the_rest() -> None:
    shown = subprocess.run(
        [*NPS, "playbook"], env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, timeout=60
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert r"vi kan gj\xf8re for at" in shown.stdout


def test_unknown_case_is_a_reason_of_follow_ups() -> None:
    result = CliRunner().invoke(app, ["dead-letters", "replay", "--reason", "unknown_case"])
    assert result.exit_code == 2
    assert "--follow-ups" in result.stderr


# --- streams and signals ---


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_failure(closed: str) -> None:
    command = f"{' '.join(NPS)} settings {closed}"
    assert subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, timeout=60, check=False).returncode == 0


async def test_what_waits_for_kafka_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.cli.stopping.ENDS_WITHIN_S", 0.1)
    stop, cancelled = asyncio.Event(), False

    async def waits() -> int:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise
        return 0

    async def ends() -> int:
        await stop.wait()
        return 7

    async def fails() -> int:
        raise Failure("for another reason")

    with pytest.raises(Failure, match="another reason"):
        await ended_by(stop, fails())
    stop.set()
    assert await ended_by(stop, ends()) == 7
    with pytest.raises(Failure, match="stopped while Kafka did not answer"):
        await ended_by(stop, waits())
    assert cancelled


@pytest.mark.parametrize("command", ["intake", "webhooks run"])
def test_what_waits_for_kafka_to_serve_a_crm_ends_when_told_to(command: str, tmp_path: Path) -> None:
    endpoints = tmp_path / "webhooks.toml"
    endpoints.write_text('[endpoints.crm]\nurl = "https://crm.example/nps"\nsecrets = ["env:CRM_SECRET"]\n')
    secret = f"whsec_{base64.b64encode(bytes(32)).decode()}"
    more = {"INTAKE_TOKENS": "a" * 32, "WEBHOOKS_FILE": str(endpoints), "BOOTSTRAP_SERVERS": AWAY}
    process = subprocess.Popen(
        [*NPS, *command.split()],
        env={**os.environ, **{f"NPS_{name}": value for name, value in more.items()}, "CRM_SECRET": secret},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert "waiting for a Kafka broker" in process.stderr.readline()
        process.terminate()
        _, said = process.communicate(timeout=6)
        assert (process.returncode, "not everything ended" in said) == (0, False), said
    finally:
        process.kill()


def test_a_worker_that_waits_for_kafka_ends_when_told_to_also_as_the_first_process(tmp_path: Path) -> None:
    """To the first process of a container signals do nothing by themselves, as to one that ignores them."""
    worker = subprocess.Popen(
        ["sh", "-c", f"trap '' TERM; exec {' '.join(NPS)} worker"],
        env={**os.environ, "NPS_BOOTSTRAP_SERVERS": AWAY, "NPS_STATE_DIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert worker.stderr is not None
        assert "starts" in worker.stderr.readline()
        worker.terminate()
        assert worker.wait(10) == 0
    finally:
        worker.kill()


@pytest.mark.kafka
def test_a_broker_that_is_still_starting_ends_with_its_command(needs_broker: None, tmp_path: Path) -> None:
    """Nobody could find it otherwise."""
    command = subprocess.Popen([*NPS, "broker", "start", "--data-dir", str(tmp_path), "--port", str(free_port())])
    try:
        deadline = time.monotonic() + 60
        while not (javas := running_in(tmp_path)):
            assert time.monotonic() < deadline
            assert command.poll() is None
            time.sleep(0.02)
        command.terminate()
        assert command.wait(20) != 0
        psutil.wait_procs(javas, 5)
        assert running_in(tmp_path) == []
    finally:
        command.kill()
        for java in running_in(tmp_path):
            java.kill()


def running_in(folder: Path) -> list[psutil.Process]:
    """Brokers, not what formats their disk before."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and "kafka.Kafka" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found
