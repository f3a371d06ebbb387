"""Deciding equals the oracle, however the log is cut into slices and units, whenever a unit commits or is lost.

No Kafka: units are written to a real store and to lists that stand for the topics, and now and then the decider is
thrown away, with what it had not committed, and built again from the store, as after a crash.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka.structs import ConsumerRecord

from schemas.topics import Topics
from streams.engine.decider import Decider, DecidingConfig
from streams.engine.formats import JOURNEY, REMEMBERED
from streams.engine.store import Checkpoint, Store
from streams.engine.unit import Unit
from streams.rules.decisions import RulesConfig
from streams.rules.journey import Journey
from tests.support.comparing import assert_all_topics
from tests.support.corpus import as_logs, corpus
from tests.support.oracle import OracleConfig, run
from tests.support.oracle_events import DAY_US
from tests.support.oracle_reading import Record

TOPICS = Topics()
CROSSES = (("country", "industry"), ("tier", "channel", "country"))
TRANSITIONS = frozenset(
    {"passive_to_promoter", "passive_to_detractor", "detractor_to_promoter", "promoter_to_detractor"}
)


class Partition:
    """One partition's store and topics, without Kafka and without a clock."""

    def __init__(self, number: int, config: DecidingConfig, path: Path) -> None:
        self.number = number
        self.config = config
        self.store = Store(path)
        self.written: dict[str, list[Record]] = defaultdict(list)
        self.position = 0
        self.committed = (0, 0)  # next offset, stream time
        self.restart()

    def restart(self) -> None:
        """Begin again from what is committed."""
        self.position = self.committed[0]
        self.committing: Unit | None = None
        self.decider = Decider(self.config, self.number, self.store, self.committed[1])
        self.decider.ledger.know(key[1:] for key, _ in self.store.scan(b"c"))

    def decide(self, log: Sequence[Record], count: int) -> None:
        records = [_consumed(record) for record in log[self.position : self.position + count]]
        self.decider.decide(records)
        self.position += len(records)

    def begin_commit(self) -> None:
        self.committing = self.decider.close_unit()

    def end_commit(self) -> None:
        unit, self.committing = self.committing, None
        assert unit is not None
        assert unit.next_offset is not None
        states = [(key, None if state is None else _encoded(state)) for key, state in unit.states.items()]
        for topic, rows in ((TOPICS.journeys, states), (TOPICS.segment_counts, list(unit.counts.items()))):
            for key, value in rows:
                self._append(topic, key, value, ())
        for produced in unit.produced:
            self._append(produced.topic, produced.key, produced.value, produced.headers)
        rows = [(b"j" + key, value) for key, value in states] + [
            (b"c" + key, value) for key, value in unit.counts.items()
        ]
        self.store.write([*rows, *unit.index_entries.items()], Checkpoint(0, 0, 0))
        self.committed = (unit.next_offset, unit.stream_time_ms)
        self.decider.unit_committed()

    def _append(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
    ) -> None:
        log = self.written[topic]
        log.append(Record(self.number, len(log), key, value, 0, tuple(headers)))


def _encoded(state: object) -> bytes:
    return JOURNEY.encode(state) if isinstance(state, Journey) else REMEMBERED.encode(state)  # type: ignore[arg-type]


def _consumed(record: Record) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord(
        topic=TOPICS.responses,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp_ms,
        timestamp_type=0,
        key=record.key,
        value=record.value,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
        headers=record.headers,
    )


@pytest.mark.parametrize(("seed", "segment_limit"), [(11, 10_000), (12, 5), (13, 40), (14, 10_000)])
def test_deciding_equals_the_oracle(tmp_path: Path, seed: int, segment_limit: int) -> None:
    rng = random.Random(seed)
    now_ms = time.time_ns() // 1_000_000
    logs = as_logs(corpus(seed, 2000, now_ms, "tables", 2), 2)
    rules = RulesConfig(30 * DAY_US, 30 * DAY_US, 400 * DAY_US, TRANSITIONS)
    config = DecidingConfig(TOPICS, 2, rules, segment_limit, CROSSES, "/nps")
    written = {}
    for number, log in logs.items():
        partition = Partition(number, config, tmp_path / str(number))
        while partition.committed[0] < len(log):
            step = rng.random()
            if step < 0.5 and partition.position < len(log):
                partition.decide(log, rng.choice((1, 1, 10, 100)))
            elif step < 0.6:
                partition.decider.forget_anonymous()
            elif step < 0.65:
                partition.restart()
            elif partition.committing is not None:
                partition.end_commit()
            elif partition.decider.unit.next_offset is not None:
                partition.begin_commit()
        partition.store.close()
        written[number] = partition.written
    oracle_config = OracleConfig(partitions=2, crosses=CROSSES, transitions=TRANSITIONS, segment_limit=segment_limit)
    assert_all_topics(
        lambda topic: {number: topics[topic] for number, topics in written.items()},
        TOPICS,
        run(logs, oracle_config),
        now_us=0,  # nothing is dropped here, so all counts are compared
        retention_days=400,
    )
