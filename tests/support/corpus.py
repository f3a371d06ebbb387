"""Seeded logs of responses to feed the processor and the oracle.

`tables` is dense in corner cases: a few thousand records reach every row of every table of the rules, every outcome,
trigger, change, cause and dead-letter reason. `load` is like real life, and fast enough for millions (`corpus_load`).
The same arguments always give the same log; record times end shortly before `now_ms`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tests.support.corpus_load import load
from tests.support.corpus_tables import Tables
from tests.support.oracle_reading import Record


class Produced(NamedTuple):
    """A record to publish, to a partition that the corpus has chosen (murmur2 of the key, but for misplaced ones)."""

    partition: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Sequence[tuple[str, bytes | None]] = ()


def corpus(seed: int, count: int, now_ms: int, profile: str = "tables", partitions: int = 4) -> Iterator[Produced]:
    """Yield `count` records of a profile, `tables` or `load`, in the order to publish them."""
    if profile == "load":
        return (Produced(*record) for record in load(seed, count, now_ms, partitions))
    assert profile == "tables", profile
    return (Produced(*record) for record in Tables(seed, count, now_ms, partitions))


def as_logs(produced: Iterable[Produced], partitions: int) -> dict[int, list[Record]]:
    """What the log of each partition holds when these are published, in order, to an empty topic."""
    logs: dict[int, list[Record]] = {partition: [] for partition in range(partitions)}
    for record in produced:
        log = logs[record.partition]
        log.append(Record(record.partition, len(log), record.key, record.value, record.timestamp_ms, record.headers))
    return logs
