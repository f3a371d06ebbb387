"""A library that repeats itself is heard once, and how often it would have spoken is said later."""

from __future__ import annotations

import logging

import pytest

from streams.logs import REPEATED_EVERY_S, configure_logging


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


def test_a_repeating_library_is_heard_once_in_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("streams.logs.time.monotonic", lambda: now[0])
    configure_logging("info")
    for port in range(50):
        logging.getLogger("aiokafka").error("can't connect to port %d", port)
    assert lines(capsys) == ["ERROR aiokafka: can't connect to port 0"]
    now[0] += REPEATED_EVERY_S
    logging.getLogger("aiokafka").error("can't connect to port %d", 7)
    assert lines(capsys) == ["ERROR aiokafka: can't connect to port 7 (and 49 times more)"]


def test_our_own_lines_and_debugging_are_not_thinned(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    for _ in range(3):
        logging.getLogger("streams.engine").warning("again")
    assert len(lines(capsys)) == 3
    configure_logging("debug")
    for _ in range(3):
        logging.getLogger("aiokafka").info("again")
    assert len(lines(capsys)) == 3
