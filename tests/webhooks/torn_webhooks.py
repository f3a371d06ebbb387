"""`nps` that gets damaged records: `python -m tests.webhooks.torn_webhooks webhooks run`, with its environment.

Of the first partitions that bring records every second one's are damaged: their last byte is another.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from aiokafka.consumer import fetcher

from streams.cli import main

DAMAGED_UNTIL = 6
_MemoryRecords = fetcher.MemoryRecords
_came = count()


def torn(data: bytes) -> Any:
    """In place of aiokafka's `MemoryRecords`."""
    if data and (number := next(_came)) < DAMAGED_UNTIL and number % 2:
        data = data[:-1] + bytes([data[-1] ^ 1])
    return _MemoryRecords(data)


if __name__ == "__main__":
    fetcher.MemoryRecords = torn
    main()
