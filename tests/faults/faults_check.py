"""Holds what a whole campaign left in Kafka against the oracle, one partition at a time, as a stream.

The input is read back from its topic and given to the oracle, and every event and dead letter that it names must be the
next one of its topic: same order, same content, none left over. Only the oracle's state is kept in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.support.comparing import assert_case_counts, assert_counts, assert_dead_letter, assert_event, assert_journeys
from tests.support.kafka_reading import read_records
from tests.support.oracle import PartitionOracle
from tests.support.oracle_events import CHANGED, DETECTED, OVERDUE, WITHDRAWN
from tests.support.oracle_reading import Record
from tests.support.stage import Stage, now_us

TIMEOUT_S = 900.0
PROCESSES = 2


@dataclass
class Checked:
    """What was found equal."""

    offsets: dict[int, int] = field(default_factory=dict)
    """Partition → next input offset."""
    follow_up_offsets: dict[int, int] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    follow_ups: Counter[str] = field(default_factory=Counter)
    """Their outcomes."""
    cases: int = 0
    events: Counter[str] = field(default_factory=Counter)
    """By type."""
    dead_letters: Counter[str] = field(default_factory=Counter)
    """By reason."""
    journeys: int = 0
    counted: int = 0
    """Sum of the counters of segment `all`, all surveys and days."""

    def add(self, other: Checked) -> None:
        self.offsets |= other.offsets
        self.follow_up_offsets |= other.follow_up_offsets
        self.outcomes += other.outcomes
        self.follow_ups += other.follow_ups
        self.cases += other.cases
        self.events += other.events
        self.dead_letters += other.dead_letters
        self.journeys += other.journeys
        self.counted += other.counted


def check_partition(stage: Stage, partition: int) -> Checked:
    """Raise AssertionError, with the first difference, unless the partition's topics equal the oracle."""
    topics = stage.topics
    event_topics = dict(zip((DETECTED, CHANGED, WITHDRAWN, OVERDUE), topics.events, strict=True))
    events = {event_type: _read(stage, topic, partition) for event_type, topic in event_topics.items()}
    dead_letters = _read(stage, topics.dead_letter, partition)
    oracle = PartitionOracle(partition, stage.oracle_config, keep=False)
    checked = Checked()
    for record in _read(stage, topics.responses, partition):
        processed = oracle.process(record)
        for event in processed.events:
            where = f"{event_topics[event.type]}-{partition}: event {checked.events[event.type]}"
            assert_event(_next(events[event.type], where), event, where)
            checked.events[event.type] += 1
        if processed.dead_letter is not None:
            where = f"{topics.dead_letter}-{partition}: dead letter {oracle.reasons.total()}"
            assert_dead_letter(_next(dead_letters, where), processed.dead_letter, topics.responses)
    for topic, rest in (*zip(topics.events, events.values(), strict=True), (topics.dead_letter, dead_letters)):
        assert next(rest, None) is None, f"{topic}-{partition} holds more than it should"
    checked.dead_letters = oracle.reasons
    check_state(stage, oracle, checked)
    return checked


def check_state(stage: Stage, oracle: PartitionOracle, checked: Checked) -> None:
    """Raise AssertionError unless a partition's changelogs equal the oracle, which has read all of its input. Adds to
    `checked` what the oracle holds.
    """
    topics, partition = stage.topics, oracle.partition
    assert_journeys({partition: _read(stage, topics.journeys, partition)}, {partition: oracle})
    assert_counts(
        {partition: _read(stage, topics.segment_counts, partition)},
        {partition: oracle},
        now_us(),
        stage.oracle_config.retention_days,
    )
    assert_case_counts({partition: _read(stage, topics.case_counts, partition)}, {partition: oracle})
    checked.offsets[partition] = oracle.next_offset
    checked.follow_up_offsets[partition] = oracle.next_follow_up
    checked.follow_ups = oracle.follow_up_outcomes
    checked.cases = len(oracle.cases)
    checked.outcomes = oracle.outcomes
    checked.journeys = sum(map(len, oracle.customers.values()))
    checked.counted = sum(sum(cells[:4]) for row, cells in oracle.counts.items() if row.segment == "all")


def check(stage: Stage) -> Checked:
    """Check every partition and the group's offsets; raises AssertionError."""
    total = Checked()
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as processes:
        partitions = range(stage.partitions)
        for checked in processes.map(check_partition, [stage] * stage.partitions, partitions):
            total.add(checked)
    assert stage.committed() == total.offsets, "the group's committed offsets"
    return total


def _read(stage: Stage, topic: str, partition: int) -> Iterator[Record]:
    return read_records(stage.bootstrap_servers, topic, TIMEOUT_S, only={partition})


def _next(records: Iterator[Record], where: str) -> Record:
    record = next(records, None)
    assert record is not None, f"{where} is missing"
    return record
