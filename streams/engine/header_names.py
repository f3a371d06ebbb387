"""Reads records whose header names are not UTF-8.

Kafka carries any bytes as the name of a header, and some clients (librdkafka, for one) send what they are given.
aiokafka's parser raises at such a record, each time that it is fetched: one record would end every worker that reads
its partition. So batches are read by that parser, and one at which it fails is read again by its twin in Python, with
the replacement character U+FFFD for what is no UTF-8. (Names play no part in deciding; a dead letter repeats them.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

LENGTH_AT, LENGTH_END = 8, 12
"""Of a batch: where its length stands, in bytes; the length counts from there on."""


class _Lenient(bytearray):
    """Bytes that decode whatever they hold."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Lenient(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002
        return bytes(self).decode(encoding, "replace")


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc, unused-ignore]
    """A batch in format 2 (the older ones have no headers)."""

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Lenient(self._buffer)  # type: ignore[has-type]


class _Batch:
    """A batch as the fetcher sees it. Its records are parsed together, when the first one is asked for."""

    def __init__(self, batch: Any, data: bytes) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            return iter(_LenientBatch(bytearray(self._data)))


class LenientRecords:
    """In place of aiokafka's `MemoryRecords`: the batches of one fetch of one partition."""

    def __init__(self, data: bytes) -> None:
        self._records = MemoryRecords(data)
        self._data = data
        self._at = 0
        self.has_next = self._records.has_next
        self.size_in_bytes = self._records.size_in_bytes

    def next_batch(self) -> Any:
        """Return the next batch, None at the end."""
        batch = self._records.next_batch()
        start = self._at
        length = int.from_bytes(self._data[start + LENGTH_AT : start + LENGTH_END], "big")
        self._at = start + LENGTH_END + length
        return None if batch is None else _Batch(batch, self._data[start : self._at])


def read_any_header_names() -> None:
    """Let every consumer of this process read such records."""
    fetcher.MemoryRecords = LenientRecords
