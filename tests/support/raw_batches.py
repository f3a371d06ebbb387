"""Records as no ordinary client sends them: header names of any bytes, batches as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

RawRecord = tuple[bytes | None, bytes | None, Sequence[tuple[bytes, bytes | None]]]
"""Key, value, headers."""
BATCH_BYTES = 1 << 20


class _Name(str):
    """A header's name that is sent as bytes of its own."""

    __slots__ = ("raw",)
    raw: bytes

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self.raw


class RawBatch(NamedTuple):
    """A batch and where it goes."""

    partition: int
    raw: bytes
    records: int


def raw_batch(records: Sequence[RawRecord], timestamp_ms: int, codec: int = 0) -> bytes:
    """One batch in format 2, at offset 0, all its records with one record time."""
    builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, -1, BATCH_BYTES)
    for number, (key, value, headers) in enumerate(records):
        named = [(_name(name), held) for name, held in headers]
        assert builder.append(number, timestamp_ms, key, value, named) is not None, "more than a batch takes"
    return bytes(builder.build())


def _name(raw: bytes) -> _Name:
    name = _Name("")
    name.raw = raw
    return name


async def send_raw(bootstrap_servers: str, topic: str, batches: Iterable[RawBatch]) -> None:
    """Send batches as they are, one after another. Raises KafkaError when the broker refuses one."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await producer.start()
    try:
        for batch in batches:
            builder = producer.create_batch()
            builder.append(timestamp=None, key=None, value=None)
            builder.close()
            builder._buffer = bytearray(batch.raw)
            builder._build = lambda raw=batch.raw: bytearray(raw)
            builder._relative_offset = batch.records
            await (await producer.send_batch(builder, topic, partition=batch.partition))
    finally:
        await producer.stop()
