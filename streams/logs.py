"""What a worker logs: its own lines as they come, the libraries' warnings without their repetitions."""

from __future__ import annotations

import logging
import sys
import time
from typing import Final

REPEATED_EVERY_S: Final = 10.0
LIBRARIES: Final = ("aiokafka", "faust", "mode")
TELLTALES: Final = ("aiokafka.conn", "aiokafka.producer.producer")
"""At level debug they write what they send and what they get: what customers answered, and how we prove who we are."""


def configure_logging(level: str) -> None:
    """Log to stderr, from `level` on (a name such as `info`)."""
    handler = logging.StreamHandler(sys.stderr)
    logging.basicConfig(
        level=level.upper(), handlers=[handler], format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    debugging = level.upper() == "DEBUG"
    if not debugging:
        handler.addFilter(_SeldomFromLibraries())
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.NOTSET if debugging else logging.WARNING)
    for telltale in TELLTALES:
        logging.getLogger(telltale).setLevel(logging.INFO if debugging else logging.NOTSET)
    # Brokers since 4.0 answer the first batches of a transaction with a retriable error while they verify it.
    logging.getLogger("aiokafka.producer.sender").setLevel(logging.NOTSET if debugging else logging.ERROR)


class _SeldomFromLibraries(logging.Filter):
    """Lets a library say the same thing once in `REPEATED_EVERY_S`, and adds how often it was said since.

    Without it a broker that is away for ten seconds makes thousands of lines, one for every connection and attempt.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        """(logger, message before its arguments) → when it was let through, how often it was held back since."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(LIBRARIES):
            return True
        said = record.name, str(record.msg)
        now = time.monotonic()
        at, held_back = self._said.get(said, (float("-inf"), 0))
        if now - at < REPEATED_EVERY_S:
            self._said[said] = at, held_back + 1
            return False
        self._said[said] = now, 0
        if held_back:
            record.msg = f"{record.getMessage()} (and {held_back} times more)"
            record.args = ()
        return True
