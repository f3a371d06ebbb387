"""What a worker logs: its own lines as they come, the libraries' warnings without their repetitions.

As text for people, or as one JSON object a line for programs (`NPS_LOG_FORMAT=json`): `timestamp` (RFC 3339, UTC),
`level`, `logger`, `message`, `exception` where there is a trace, `process` where several run under one parent, and what
else a line has of `FIELDS`.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
import time
from typing import Any, Final

from aiokafka.errors import KafkaError
from pythonjsonlogger.json import JsonFormatter

from schemas.times import format_rfc3339

REPEATED_EVERY_S: Final = 10.0
LIBRARIES: Final = ("aiokafka", "faust", "mode")
TELLTALES: Final = ("aiokafka.conn", "aiokafka.producer.producer")
"""At level debug they write what they send and what they get: what customers answered, and how we prove who we are."""
USUAL: Final = ("because it is rebalancing", "Missing sensor state for rebalance")
"""Warnings of libraries that every rebalance brings."""
FIELDS: Final = ("group", "partition", "partitions", "topic", "offset", "records", "seconds")
"""What our own lines say beside their sentence, by name (`extra` of logging). A line as JSON has no others: what a
library adds is its own business, and may be what a customer wrote."""


def configure_logging(level: str, form: str = "text") -> None:
    """Log to stderr, from `level` on (a name such as `info`), as `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    alone = multiprocessing.parent_process() is None  # one of several (`nps worker --processes`) says which
    handler.setFormatter(_JsonLines(alone) if form == "json" else logging.Formatter(_text(alone)))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    debugging = level.upper() == "DEBUG"
    if not debugging:
        handler.addFilter(_SeldomFromLibraries(logging.getLevelName(level.upper())))
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.NOTSET if debugging else logging.WARNING)
    for telltale in TELLTALES:
        logging.getLogger(telltale).setLevel(logging.INFO if debugging else logging.NOTSET)
    # Brokers since 4.0 answer the first batches of a transaction with a retriable error while they verify it.
    logging.getLogger("aiokafka.producer.sender").setLevel(logging.NOTSET if debugging else logging.ERROR)


def _text(alone: bool) -> str:
    return f"%(asctime)s %(levelname)s {'' if alone else '%(processName)s '}%(name)s: %(message)s"


class _JsonLines(JsonFormatter):
    """One JSON object a line."""

    def __init__(self, alone: bool) -> None:
        super().__init__(
            ["asctime", "levelname", "name", *([] if alone else ["processName"]), "message"],
            rename_fields={
                "asctime": "timestamp",
                "levelname": "level",
                "name": "logger",
                "processName": "process",
                "exc_info": "exception",
            },
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        return format_rfc3339(int(record.created * 1_000_000))

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        known = {"timestamp", "level", "logger", "process", "message", "exception", *FIELDS}
        return {name: value for name, value in log_data.items() if name in known}


class _SeldomFromLibraries(logging.Filter):
    """Lets a library say the same thing once in `REPEATED_EVERY_S`, and adds how often it was said since.

    Without it a broker that is away for ten seconds makes thousands of lines, one for every connection and attempt.
    What is usual is left out. What a library calls an error is a warning: it tries again, and when that is of no use it
    raises, which ends the worker in a line of our own.
    """

    def __init__(self, least_level: int) -> None:
        super().__init__()
        self._least_level = least_level
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        """(logger, message before its arguments) → when it was let through, how often it was held back since."""

    def filter(self, record: logging.LogRecord) -> bool:
        if any(usual in str(record.msg) for usual in USUAL):  # Faust says it in the name of our application's module
            return False
        if not record.name.startswith(LIBRARIES):
            return True
        said = record.name, str(record.msg)
        if record.exc_info and isinstance(error := record.exc_info[1], KafkaError | OSError):
            # The broker did not, or the network: a trace through the library tells no more than the error does.
            record.msg, record.args = f"{record.getMessage()}: {str(error) or type(error).__name__}", ()
            record.exc_info = None
        if record.levelno == logging.ERROR and not record.exc_info:
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            if record.levelno < self._least_level:
                return False
        now = time.monotonic()
        at, held_back = self._said.get(said, (float("-inf"), 0))
        if now - at < REPEATED_EVERY_S:
            self._said[said] = at, held_back + 1
            return False
        self._said[said] = now, 0
        if held_back:
            record.msg, record.args = f"{record.getMessage()} (and {held_back} times more)", ()
        return True
