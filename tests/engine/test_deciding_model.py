"""Deciding equals the oracle, however the log is cut into slices and units, whenever a unit commits or is lost.

No Kafka: units are written to a real store and to lists that stand for the topics, and now and then the decider is
thrown away, with what it had not committed, and built again from the store, as after a crash.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from schemas.topics import Topics
from streams.engine.decider import DecidingConfig
from streams.engine.store import Store
from streams.rules.decisions import RulesConfig
from tests.support.comparing import assert_all_topics
from tests.support.corpus import as_logs, corpus
from tests.support.deciding import DecidedPartition
from tests.support.oracle import OracleConfig, run
from tests.support.oracle_events import DAY_US

TOPICS = Topics()
CROSSES = (("country", "industry"), ("tier", "channel", "country"))
TRANSITIONS = frozenset(
    {"passive_to_promoter", "passive_to_detractor", "detractor_to_promoter", "promoter_to_detractor"}
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
        partition = DecidedPartition(number, config, Store(tmp_path / str(number)))
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
