"""What a worker says: one line an event, as text or JSON; a library that repeats itself is heard once, and how often it
would have spoken is said later.
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.broker import Broker, free_port
from streams.logs import REPEATED_EVERY_S, configure_logging
from tests.support.worker import ROOT, WorkerProcess, worker_environment

TRANSIENT = "aiokafka"
"""What a client says of a broker that has only just created a topic differs from run to run."""


@pytest.fixture(autouse=True)
def _restore() -> object:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("aiokafka", "faust", "mode", "aiokafka.producer.sender")}
    yield
    root.handlers[:], root.level = handlers, level
    for name, known in levels.items():
        logging.getLogger(name).setLevel(known)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.split(" ", 2)[2] for line in capsys.readouterr().err.splitlines()]


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_repeating_library_is_heard_once_in_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("streams.logs.time.monotonic", lambda: now[0])
    configure_logging("info")
    for port in range(50):
        logging.getLogger("aiokafka").warning("can't connect to port %d", port)
    assert lines(capsys) == ["WARNING aiokafka: can't connect to port 0"]
    now[0] += REPEATED_EVERY_S
    logging.getLogger("aiokafka").warning("can't connect to port %d", 7)
    assert lines(capsys) == ["WARNING aiokafka: can't connect to port 7 (and 49 times more)"]


def test_our_own_lines_and_debugging_are_not_thinned(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    for _ in range(3):
        logging.getLogger("streams.engine").warning("again")
    assert len(lines(capsys)) == 3
    configure_logging("debug")
    for _ in range(3):
        logging.getLogger("aiokafka").info("again")
    assert len(lines(capsys)) == 3


def test_what_a_client_tries_again_is_no_error_and_a_rebalance_is_no_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info")
    client, ours = logging.getLogger("aiokafka.consumer"), logging.getLogger("streams.engine")
    client.error("Failed fetch messages from %d", 1)
    client.warning("Heartbeat failed for group %s because it is rebalancing", "nps")
    logging.getLogger("streams.engine.app").warning("[%s]: Missing sensor state for rebalance #%s", "^App", 2)
    ours.error("lost")
    assert lines(capsys) == [
        "WARNING aiokafka.consumer: Failed fetch messages from 1",
        "ERROR streams.engine: lost",
    ]
    configure_logging("error")
    client.error("Failed fetch messages from %d", 1)
    client.critical("gone")
    ours.error("lost")
    assert lines(capsys) == ["CRITICAL aiokafka.consumer: gone", "ERROR streams.engine: lost"]


def test_what_a_client_could_not_do_at_the_broker_is_a_line_and_a_mistake_of_its_own_a_trace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info")
    client = logging.getLogger("aiokafka.producer.sender")
    errors = [KafkaConnectionError("Connection closed"), ConnectionResetError(104, "Reset"), TimeoutError()]
    for number, error in enumerate([*errors, AttributeError("no such thing")]):
        try:
            raise error
        except Exception:
            client.exception(f"{number}: unexpected error in %s", "a routine")  # each its own, not held back
    *told, began, header, _, _, last = capsys.readouterr().err.splitlines()
    prefix = " WARNING aiokafka.producer.sender: {}: unexpected error in a routine: {}"
    expected = ["KafkaConnectionError: Connection closed", "[Errno 104] Reset", "TimeoutError"]
    assert len(told) == len(expected), told
    for number, (line, sentence) in enumerate(zip(told, expected, strict=True)):
        assert line.endswith(prefix.format(number, sentence)), line
    assert began.endswith(" ERROR aiokafka.producer.sender: 3: unexpected error in a routine")
    assert header.startswith("Traceback")
    assert last == "AttributeError: no such thing"


def test_a_line_as_json_has_a_time_a_level_and_the_fields_that_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    before = datetime.now(UTC)
    logging.getLogger("streams.engine").info(
        "partition %d: owned\nnow", 3, extra={"partition": 3, "offset": 42, "customer_id": "c-1"}
    )
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("streams.app").critical("the worker failed", exc_info=True)
    plain, failed = objects(capsys.readouterr().err)
    written = plain.pop("timestamp")
    assert plain == {
        "level": "INFO",
        "logger": "streams.engine",
        "message": "partition 3: owned\nnow",
        "partition": 3,
        "offset": 42,
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", written)
    assert abs(datetime.fromisoformat(written) - before) < timedelta(seconds=10)
    assert failed["level"] == "CRITICAL"
    assert failed["exception"].startswith("Traceback")
    assert failed["exception"].endswith("ValueError: why")


def test_one_of_several_processes_says_which(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.logs.multiprocessing.parent_process", object)
    for form in ("text", "json"):
        configure_logging("info", form)
        logging.getLogger("streams.app").info("stopping")
    text, as_json = capsys.readouterr().err.splitlines()
    assert text.endswith(" INFO MainProcess streams.app: stopping")
    assert json.loads(as_json)["process"] == "MainProcess"


@pytest.mark.kafka
def test_a_run_is_a_line_an_event(broker: Broker, unique: str, tmp_path: Path) -> None:
    environment = worker_environment(
        broker.bootstrap_servers, f"{unique}.", unique, free_port(), tmp_path / "state", 2, log_format="json"
    )
    with WorkerProcess(environment, tmp_path / "worker.log") as worker:
        worker.wait_ready()
        assert worker.sigterm() == 0
    said = objects(worker.log())
    ours = [line for line in said if not line["logger"].startswith(TRANSIENT)]
    # Partitions are taken over side by side.
    ours[4:6] = sorted(ours[4:6], key=lambda line: line.get("partition", -1))
    seconds = r"\d+\.\d s"
    expected = [
        ("streams.app", r"nps-streams \S+ starts: group \S+, topics \S+\*, Kafka at \S+, state in \S+"),
        ("streams.engine.topics", "created topics: .*"),
        ("streams.http.server", r"HTTP listens on http://127\.0\.0\.1:\d+"),
        ("streams.engine.engine", "assigned partitions: 0, 1"),
        ("streams.engine.partition", f"partition 0: owned, at offset 0, 0 changelog records restored in {seconds}"),
        ("streams.engine.partition", f"partition 1: owned, at offset 0, 0 changelog records restored in {seconds}"),
        ("streams.app", "stopping"),
        ("streams.app", f"stopped in {seconds}"),
    ]
    assert [line["logger"] for line in ours] == [logger for logger, _ in expected], worker.log()
    for line, (_, pattern) in zip(ours, expected, strict=True):
        assert re.fullmatch(pattern, line["message"]), line
        assert line["level"] == "INFO", line
    assert ours[3]["partitions"] == [0, 1]
    assert ours[4]["partition"] == 0
    assert ours[4]["offset"] == ours[4]["records"] == 0
    assert {line["level"] for line in said} <= {"INFO", "WARNING"}, worker.log()


def test_a_worker_that_does_not_start_says_so_as_json_too(tmp_path: Path) -> None:
    environment = {
        "NPS_LOG_FORMAT": "json",
        "NPS_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
        "NPS_BROKER_WAIT_S": "0",
        "NPS_STATE_DIR": str(tmp_path / "state"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "worker"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    started, refused = objects(done.stderr)
    assert started["message"].startswith("nps-streams ")
    assert refused["level"] == "CRITICAL"
    assert "no Kafka broker answers at 127.0.0.1:" in refused["message"]
