"""Records that were fetched and wait to be decided."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from streams.engine.records import Record
from streams.engine.sizes import size_bytes

INBOX_RECORDS_MAX = 4_000
"""A partition with as many records waiting is not fetched."""
INBOX_BYTES_MAX = 8 << 20
"""Nor is one with as many bytes waiting. What one fetch brings comes on top."""
SLICE_RECORDS = 250
"""Records decided before other tasks get their turn (some milliseconds)."""


class Slice(NamedTuple):
    """Records to be decided together."""

    records: Sequence[Record]
    size_bytes: int
    """Of their keys, values and headers."""


class Inbox:
    """The records of one partition, in order and without a gap from the position that was taken last."""

    def __init__(self) -> None:
        self._slices: deque[Slice] = deque()
        self._records = 0
        self._bytes = 0
        self._expected = 0
        """Next offset to be put in."""

    def __bool__(self) -> bool:
        return bool(self._slices)

    @property
    def has_room(self) -> bool:
        """May more be fetched?"""
        return self._records < INBOX_RECORDS_MAX and self._bytes < INBOX_BYTES_MAX

    @property
    def expected(self) -> int:
        """The next offset to be put in: everything before it was put in, or is no record."""
        return self._expected

    @property
    def oldest_record_time_ms(self) -> int | None:
        """Record time of the first one waiting."""
        return self._slices[0].records[0].timestamp if self._slices else None

    def taken_to(self, position: int, fetched_to: int = 0) -> int:
        """Return the offset before which everything was taken out. Before `position` everything was fetched, marks of
        transactions included, which are no records; what was fetched, up to `fetched_to`, may be on its way here.
        """
        if self._slices:
            return self._slices[0].records[0].offset
        return max(self._expected, 0 if fetched_to > self._expected else position)

    def begin_at(self, offset: int) -> None:
        """Empty it, and take records from this offset on."""
        self.clear()
        self._expected = offset

    def clear(self) -> None:
        """Empty it."""
        self._slices.clear()
        self._records = 0
        self._bytes = 0

    def put(self, records: Sequence[Record]) -> None:
        """Take fetched records in; those before the expected offset are dropped."""
        if records[0].offset < self._expected:
            records = [record for record in records if record.offset >= self._expected]
            if not records:
                return
        self._expected = records[-1].offset + 1
        for first in range(0, len(records), SLICE_RECORDS):
            some = records[first : first + SLICE_RECORDS]
            size = _size_bytes(some)
            self._slices.append(Slice(some, size))
            self._bytes += size
        self._records += len(records)

    def take(self, until_ms: int | None = None) -> Slice | None:
        """Take out the first ones, up to the first of a later record time than this; None where there are none."""
        if not self._slices:
            return None
        taken = self._slices.popleft()
        if until_ms is not None and max([record.timestamp for record in taken.records]) > until_ms:
            count = next(at for at, record in enumerate(taken.records) if record.timestamp > until_ms)
            some, rest = taken.records[:count], taken.records[count:]
            # Of the shorter part: the other's follows from it.
            size = _size_bytes(some) if len(some) <= len(rest) else taken.size_bytes - _size_bytes(rest)
            self._slices.appendleft(Slice(rest, taken.size_bytes - size))
            if not some:
                return None
            taken = Slice(some, size)
        self._records -= len(taken.records)
        self._bytes -= taken.size_bytes
        return taken


def _size_bytes(records: Sequence[Record]) -> int:
    """As `size_bytes` of each, but quicker where all have a value and none has headers, as is usual."""
    plain = [len(record.value) for record in records if record.value is not None and not record.headers]
    if len(plain) == len(records):
        return sum(plain) + sum([len(record.key) for record in records if record.key is not None])
    return sum([size_bytes(record.key, record.value, record.headers) for record in records])
