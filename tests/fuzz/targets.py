"""What is tried on an input, and what must come of it. Each raises AssertionError, or whatever went wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.response import Rejected, accept
from schemas.topics import Topics
from streams.engine.changelog_records import count_rows, journey_rows
from streams.engine.decider import DecidingConfig
from streams.engine.formats import Unreadable
from streams.engine.store import Checkpoint
from streams.rules.decisions import RulesConfig
from streams.scoreboard.table import CountsTable
from tests.fuzz.mutations import NOW_MS
from tests.simulation.disk import MemoryDisks
from tests.support.comparing import assert_all_topics
from tests.support.deciding import DecidedPartition
from tests.support.oracle import OracleConfig, run
from tests.support.oracle_events import DAY_US
from tests.support.oracle_reading import DeadLetter, Record, nesting, read_response

TOPICS = Topics()
CROSSES = (("country", "industry"),)
TRANSITIONS = frozenset({"passive_to_promoter", "passive_to_detractor", "promoter_to_detractor"})
LIMITS = (10_000, 3)
SURE_NESTING = 64
"""Up to here every parser must follow; beyond, each may stop at a depth of its own."""


def read(record: Record) -> str:
    """`accept` takes a value or rejects it, and nothing else; returns which: `accepted`, or the reason."""
    assert record.value is not None
    try:
        accept(record.key, record.value, record.timestamp_ms)
    except Rejected as rejected:
        return rejected.reason
    return "accepted"


def read_as_the_oracle(record: Record) -> str:
    """The two readings agree on every value, the reason included."""
    found = read(record)
    assert record.value is not None
    try:
        read_response(record.key, record.value, record.timestamp_ms)
        expected = "accepted"
    except DeadLetter as letter:
        expected = letter.reason
    if found != expected:
        text = record.value.decode(errors="replace")
        assert text.count("[") + text.count("{") > SURE_NESTING, f"{found}, not {expected}"
        assert nesting(text) != 0 or found == "invalid_json", f"{found}, not {expected}"
    return found


def decide(records: Sequence[Record], seed: int) -> None:
    """What a partition says of these records equals the oracle: no exception, nothing half counted."""
    log = [record._replace(offset=offset) for offset, record in enumerate(records)]
    limit = LIMITS[seed % len(LIMITS)]
    written = decided(log, seed)
    oracle = OracleConfig(crosses=CROSSES, transitions=TRANSITIONS, segment_limit=limit)
    # The clock of the comparison is at the beginning of time: nothing is dropped here, so all counts are compared.
    assert_all_topics(lambda topic: {0: written[topic]}, TOPICS, run({0: log}, oracle), 0, 400)


def decided(log: Sequence[Record], seed: int) -> dict[str, list[Record]]:
    """What a partition writes to each topic, cut into units by the seed."""
    rng = random.Random(seed)
    limit = LIMITS[seed % len(LIMITS)]
    rules = RulesConfig(30 * DAY_US, 30 * DAY_US, 400 * DAY_US, TRANSITIONS)
    config = DecidingConfig(TOPICS, 1, rules, limit, CROSSES, "/nps")
    partition = DecidedPartition(0, config, MemoryDisks(rng).open(Path("partition-0")))
    while partition.position < len(log):
        partition.decide(log, rng.choice((1, 10, 100)))
        if rng.random() < 0.5:
            partition.decider.forget_anonymous()
        if rng.random() < 0.5:
            partition.begin_commit()
            partition.end_commit()
    if partition.decider.unit.next_offset is not None:
        partition.begin_commit()
        partition.end_commit()
    return partition.written


def changelogs(journeys: Sequence[Record], counts: Sequence[Record], log: Sequence[Record]) -> str:
    """Internal records are refused in a sentence that says where, or everything that comes after works on them.

    Returns `refused` or `taken`. `log` are responses to be decided on what was taken.
    """
    disks = MemoryDisks(random.Random(0))
    store = disks.open(Path("partition-0"))
    at_journeys, at_counts = TopicPartition(TOPICS.journeys, 0), TopicPartition(TOPICS.segment_counts, 0)
    try:
        rows = journey_rows(store, at_journeys, [_consumed(record, at_journeys) for record in journeys])
        own = count_rows(at_counts, [_consumed(record, at_counts) for record in counts])
    except Unreadable as error:
        sentence = str(error)
        places = [
            f"{at.topic} [0] offset {r.offset}: "
            for at, rs in ((at_journeys, journeys), (at_counts, counts))
            for r in rs
        ]
        assert any(sentence.startswith(place) for place in places), sentence
        assert "\n" not in sentence, sentence
        return "refused"
    store.write([*rows, *((b"c" + key, value) for key, value in own)], Checkpoint(0, 0, 0))
    rules = RulesConfig(30 * DAY_US, 30 * DAY_US, 400 * DAY_US, TRANSITIONS)
    partition = DecidedPartition(0, DecidingConfig(TOPICS, 1, rules, 10, CROSSES, "/nps"), store)
    partition.decide([record._replace(offset=offset) for offset, record in enumerate(log)], len(log))
    while partition.decider.forget_anonymous():
        pass
    for _ in partition.decider.drop_days(NOW_MS * 1000 // DAY_US - 400):
        pass
    if partition.decider.unit.next_offset is not None:
        partition.begin_commit()
        partition.end_commit()
    table = CountsTable([24, 2160])
    table.put(own)
    table.cut()
    for _ in table.advance(NOW_MS // 3_600_000):
        pass
    assert (table.sums >= 0).all()
    return "taken"


def _consumed(record: Record, at: TopicPartition) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord(at.topic, 0, record.offset, 0, 0, record.key, record.value, None, -1, -1, ())
