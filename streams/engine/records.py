"""Records as the consumers of a worker hand them out.

aiokafka makes of each a dataclass instance with a dictionary of eleven, several of which nobody here looks at. That
took a microsecond a record, and the garbage collector walked them all.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiokafka.consumer import fetcher
from aiokafka.structs import TopicPartition

from streams.engine.header_names import read_any_header_names


class Record(msgspec.Struct, gc=False):
    """A record that was read. The attributes are those of aiokafka's `ConsumerRecord`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    """Record time, ms since the epoch."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one fetch of one partition, none of which are deserialized."""

    def _consumer_record(self, tp: TopicPartition, record: Any) -> Record:
        return Record(
            tp.topic, tp.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
        )


def read_as_bytes() -> None:
    """Let every consumer of this process hand out `Record`s, whatever the names of headers are."""
    read_any_header_names()
    fetcher.PartitionRecords = _PartitionRecords
