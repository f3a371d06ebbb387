"""What is tried on an input, and what must come of it. Each raises AssertionError, or whatever went wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.keys import parse_score_key, score_key
from schemas.response import Rejected, accept, erased_id
from schemas.topics import Topics
from streams.engine.changelog_records import JourneyRows, count_rows
from streams.engine.decider import DecidingConfig
from streams.engine.formats import COUNTS, Unreadable
from streams.engine.header_names import LenientRecords
from streams.engine.store import Checkpoint
from streams.engine.transaction import OffsetNote
from streams.rules.counts import COUNTERS
from streams.rules.decisions import RulesConfig
from streams.rules.windows import Window
from streams.scoreboard.published import has_responses, left_by_another, messages
from streams.scoreboard.snapshot import Snapshot
from streams.scoreboard.table import CountsTable, Ints
from tests.fuzz.mutations import NOW_MS
from tests.simulation.disk import MemoryDisks
from tests.support.comparing import assert_all_topics
from tests.support.deciding import DecidedPartition
from tests.support.oracle import OracleConfig, run
from tests.support.oracle_events import DAY_US
from tests.support.oracle_reading import DeadLetter, Record, nesting, read_response
from tests.support.raw_batches import raw_batch

TOPICS = Topics()
CROSSES = (("country", "industry"),)
TRANSITIONS = frozenset({"passive_to_promoter", "passive_to_detractor", "promoter_to_detractor"})
LIMITS = (10_000, 3)
WINDOWS = (Window("1d", 24), Window("90d", 2160))
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


def read_erasure(key: bytes | None) -> str:
    """Returns `no key`, `nobody` or `somebody`."""
    try:
        erased = erased_id(key)
    except Rejected:
        assert key is None
        return "no key"
    assert (erased or "").encode() == key or erased is None
    return "nobody" if erased is None else "somebody"


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
        reader = JourneyRows(store, empty=len(journeys) % 2 == 0)
        rows = reader.of(at_journeys, [_consumed(record, at_journeys) for record in journeys])
        own = count_rows(at_counts, [_consumed(record, at_counts) for record in counts], COUNTS)
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
    while partition.decider.decide_overdue(NOW_MS * 1000):
        pass
    for _ in partition.decider.drop_days(NOW_MS * 1000 // DAY_US - 400):
        pass
    if partition.decider.unit.next_offset is not None:
        partition.begin_commit()
        partition.end_commit()
    table = CountsTable([window.hours for window in WINDOWS])
    table.put(own)
    table.cut()
    for _ in table.advance(NOW_MS // 3_600_000):
        pass
    assert (table.sums >= 0).all()
    series, places = table.series()
    snapshot = _snapshot(series, table.sums[places])
    for key, value in messages(snapshot, snapshot.places()):
        assert score_key(*parse_score_key(key)) == key
        assert value is not None
        json.loads(value)
    return "taken"


def scores(rows: Sequence[tuple[bytes, bytes | None]]) -> str:
    """Whatever the topic of scores holds, a publisher knows what to send. Returns what that is for the last key."""
    live: set[bytes] = set()
    for key, value in rows:
        (live.add if has_responses(value) else live.discard)(key)
    snapshot = _snapshot([("relational", "all")], np.ones((1, len(WINDOWS), COUNTERS), dtype=np.int64))
    before, gone = left_by_another(snapshot, live)
    assert before.shape == snapshot.totals.shape
    assert {key for key, _ in gone} <= live, "nothing is written under a key that was not there"
    for _, row in gone:
        assert row is None or json.loads(row)["responses"] == 0
    return {0: "published or let be", 1: "emptied or deleted"}[sum(key == rows[-1][0] for key, _ in gone)]


def offset_note(text: str) -> str:
    """The metadata of a committed offset, which any tool may set, is a note or tells nothing."""
    note = OffsetNote.decode(text)
    assert 0 <= note.stream_time_ms < 1 << 63
    assert OffsetNote.decode(note.encode()) == note
    return "note" if note.stream_time_ms else "nothing"


def header_names(key: bytes | None, value: bytes | None, headers: Sequence[tuple[bytes, bytes | None]]) -> str:
    """A record is read whole, whatever its headers are called."""
    (batch,) = [LenientRecords(raw_batch([(key, value, headers)], NOW_MS)).next_batch()]
    (found,) = batch
    assert (found.key, found.value, found.timestamp) == (key, value, NOW_MS)
    assert list(found.headers) == [(name.decode(errors="replace"), held) for name, held in headers]
    return "as sent" if [name.encode() for name, _ in found.headers] == [name for name, _ in headers] else "replaced"


def _snapshot(series: Sequence[tuple[str, str]], totals: Ints) -> Snapshot:
    nobody = np.zeros(len(series), dtype=np.bool_)
    return Snapshot(NOW_MS * 1000, True, WINDOWS, series, totals, totals, nobody)


def _consumed(record: Record, at: TopicPartition) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord(at.topic, 0, record.offset, 0, 0, record.key, record.value, None, -1, -1, ())
