"""The counters as each peer keeps them, read back `read_committed` from its changelogs, and the events it published."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from tests.bench.peers.oracle import Counts, Outcome
from tests.support.kafka_reading import read_records
from tests.support.oracle_reading import Record

TIMEOUT_S = 300.0
HOUR_MS = 3_600_000
LENGTHS_MS = {"hour": HOUR_MS, "day": 24 * HOUR_MS}

Read = Callable[[str], Iterator[Record]]
"""Reads the one topic of the run that ends so."""


def outcome_of(servers: str, topics: Sequence[str], output: str, counts: Callable[[Read], Counts]) -> Outcome:
    """What a peer published to `output` and counted, `topics` being all of its run."""

    def read(ending: str) -> Iterator[Record]:
        found = [topic for topic in topics if topic.endswith(ending)]
        assert len(found) == 1, f"no or several topics end in {ending}: {topics}"
        [topic] = found
        return read_records(servers, topic, TIMEOUT_S)

    events: Counter[tuple[str, str]] = Counter()
    for record in read_records(servers, output, TIMEOUT_S):
        event = json.loads(record.value or b"")
        events[event["type"], event["response_id"]] += 1
    return Outcome(events, counts(read))


def kstreams_dsl(read: Read) -> Counts:
    """Window stores: the key is the segment, the window's start and a number that is not used; three longs."""
    counts: Counts = {}
    for size, length_ms in LENGTHS_MS.items():
        for (_, key), value in _latest(read(f"-{size}-changelog")).items():
            survey, segment = key[:-12].decode().split("|", 1)
            start_ms: int = struct.unpack(">q", key[-12:-4])[0]
            counts[survey, segment, size, start_ms // length_ms] = struct.unpack(">3q", value)
    return counts


def kstreams_packed(read: Read) -> Counts:
    """The key is the day and the segment; a day's three counters and those of its 24 hours, as ints."""
    days = (
        (key[4:].decode(), int.from_bytes(key[:4], "big"), struct.unpack(">75i", value))
        for (_, key), value in _latest(read("-counts-changelog")).items()
    )
    return _unpacked(days)


def quix(read: Read) -> Counts:
    """The key is the segment and the day, each as JSON; a day's counters and those of its hours, as JSON.

    The topic also has entries of other column families, which are the client's own.
    """
    latest = _latest(record for record in read(".segments--default") if (b"default" in dict(record.headers).values()))
    days = []
    for (_, key), value in latest.items():
        segment, day = key.decode().rsplit("|", 1)
        days.append((segment.strip('"'), int(day), json.loads(value)))
    return _unpacked(days)


def faust(read: Read) -> Counts:
    """The key is the segment and the day, as JSON; a day's counters and those of its hours, as JSON."""
    days = []
    for (_, key), value in _latest(read("-counts-changelog")).items():
        segment, day = json.loads(key).rsplit("|", 1)
        days.append((segment, int(day), json.loads(value)))
    return _unpacked(days)


def _latest(records: Iterable[Record]) -> dict[tuple[int, bytes], bytes]:
    """(Partition, key) → its last value."""
    return {(record.partition, record.key or b""): record.value for record in records if record.value is not None}


def _unpacked(days: Iterable[tuple[str, int, Sequence[int]]]) -> Counts:
    """Add up the partitions' parts of (survey|segment, day, its counters and those of its hours)."""
    counts: Counts = {}
    for key, day, values in days:
        survey, segment = key.split("|", 1)
        places = [("day", day), *(("hour", 24 * day + hour) for hour in range(24))]
        for number, (size, bucket) in enumerate(places):
            promoters, passives, detractors = values[3 * number : 3 * number + 3]
            if promoters or passives or detractors:
                before = counts.get((survey, segment, size, bucket), (0, 0, 0))
                counts[survey, segment, size, bucket] = (
                    before[0] + promoters,
                    before[1] + passives,
                    before[2] + detractors,
                )
    return counts
