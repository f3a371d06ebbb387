"""`nps` that gets damaged records: `python -m tests.webhooks.torn_webhooks webhooks run`, with its environment.

Of the first partitions that bring records every second one's are damaged: their last byte is another.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from streams.cli import main
from streams.engine import header_names

DAMAGED_UNTIL = 6
_whole = header_names.LenientRecords
_came = count()


def torn(data: bytes) -> Any:
    """In place of `LenientRecords`."""
    if data and (number := next(_came)) < DAMAGED_UNTIL and number % 2:
        data = data[:-1] + bytes([data[-1] ^ 1])
    return _whole(data)


if __name__ == "__main__":
    header_names.LenientRecords = torn  # type: ignore[assignment, misc]
    main()
