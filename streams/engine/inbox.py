"""Records that were fetched and wait to be decided."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from aiokafka.structs import ConsumerRecord

from streams.engine.sizes import size_bytes

INBOX_RECORDS_MAX = 4_000
"""A partition with as many records waiting is not fetched."""
INBOX_BYTES_MAX = 8 << 20
"""Nor is one with as many bytes waiting. What one fetch brings comes on top."""


class Inbox:
    """The records of one partition, in order and without a gap from the position that was taken last."""

    def __init__(self) -> None:
        self._batches: deque[Sequence[ConsumerRecord[bytes, bytes]]] = deque()
        self._records = 0
        self._bytes = 0
        self._expected = 0
        """Next offset to be put in."""

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def has_room(self) -> bool:
        """May more be fetched?"""
        return self._records < INBOX_RECORDS_MAX and self._bytes < INBOX_BYTES_MAX

    @property
    def oldest_record_time_ms(self) -> int | None:
        """Record time of the first one waiting."""
        return self._batches[0][0].timestamp if self._batches else None

    def begin_at(self, offset: int) -> None:
        """Empty it, and take records from this offset on."""
        self.clear()
        self._expected = offset

    def clear(self) -> None:
        """Empty it."""
        self._batches.clear()
        self._records = 0
        self._bytes = 0

    def put(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Take fetched records in; those before the expected offset are dropped."""
        if records[0].offset < self._expected:
            records = [record for record in records if record.offset >= self._expected]
            if not records:
                return
        self._expected = records[-1].offset + 1
        self._batches.append(records)
        self._records += len(records)
        self._bytes += _bytes(records)

    def take(self, count: int) -> Sequence[ConsumerRecord[bytes, bytes]]:
        """Take out the first ones, `count` at most; there must be one."""
        records = self._batches.popleft()
        if len(records) > count:
            self._batches.appendleft(records[count:])
            records = records[:count]
        self._records -= len(records)
        self._bytes -= _bytes(records)
        return records


def _bytes(records: Sequence[ConsumerRecord[bytes, bytes]]) -> int:
    return sum([size_bytes(record.key, record.value, record.headers) for record in records])
