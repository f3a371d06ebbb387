"""Random logs through the rules and through the oracle, record by record: same outcomes, events, counts, histories.

The oracle is a second reading of the contract that shares no code with the product.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import pytest

from schemas.events import PASSIVE_DETECTED, PASSIVE_WITHDRAWN, SCORE_CHANGED, Cause, Change, Trigger
from schemas.times import US_PER_DAY, format_rfc3339, parse_rfc3339
from streams.rules.decisions import Event, RulesConfig
from tests.rules.build import ALL_CHANGES, NOW_MS, NOW_US
from tests.rules.driver import Driver
from tests.support.corpus import as_logs, corpus
from tests.support.oracle import OracleConfig, PartitionOracle
from tests.support.oracle_events import OracleEvent
from tests.support.oracle_reading import Record

DAY_MS = US_PER_DAY // 1000
CHANGES = (frozenset({"passive_to_promoter"}), ALL_CHANGES, frozenset())
CROSSES = ((), (("country", "industry"),), (("plan", "country"), ("country", "industry", "plan")))


def some_config(rng: random.Random) -> OracleConfig:
    return OracleConfig(
        cooldown_days=rng.choice((30, 30, 0, 7)),
        event_max_age_days=rng.choice((30, 30, 5)),
        retention_days=rng.choice((400, 40)),
        transitions=rng.choice(CHANGES),
        crosses=rng.choice(CROSSES),
        segment_limit=rng.choice((10_000, 1, 3, 6)),
    )


class Reached:
    """What the logs of these tests have come across, so that silence about a rule is no approval."""

    def __init__(self) -> None:
        self.outcomes: set[str] = set()
        self.labels: set[tuple[str, str]] = set()
        self.suppressed: set[str] = set()
        self.overflowed = False
        self.full_histories = False

    def note(self, oracle: PartitionOracle, driver: Driver) -> None:
        self.outcomes |= oracle.outcomes.keys()
        self.labels |= oracle.labels.keys()
        self.suppressed |= oracle.suppressed.keys()
        self.overflowed |= oracle.overflowed > 0
        self.full_histories |= any(len(history) == 32 for history in driver.histories().values())


def compare(log: Iterable[Record], config: OracleConfig, partition: int = 0, reached: Reached | None = None) -> None:
    """Feed both; the first difference fails, with the record that made it."""
    rules = RulesConfig(
        config.cooldown_days * US_PER_DAY,
        config.event_max_age_days * US_PER_DAY,
        config.retention_days * US_PER_DAY,
        config.transitions,
    )
    oracle = PartitionOracle(partition, config)
    driver = Driver(rules, config.crosses, config.segment_limit)
    for record in log:
        expected = oracle.process(record)
        outcome, events = driver.process(record.key, record.value, record.timestamp_ms)
        assert (outcome, [flat(event) for event in events]) == (
            expected.outcome,
            [flat_expected(event) for event in expected.events],
        ), record
        assert driver.suppressed == oracle.suppressed, record
        assert driver.overflowed == oracle.overflowed, record
    assert driver.by_hour() == {tuple(row): cell for row, cell in oracle.counts.items() if any(cell)}
    assert driver.histories() == {
        (customer, survey): [
            (kept.response.response_id, kept.response.revision, kept.response.score, kept.response.responded_us)
            for kept in journey.history
        ]
        for customer, journeys in oracle.customers.items()
        for survey, journey in journeys.items()
    }
    if reached is not None:
        reached.note(oracle, driver)


def flat(event: Event) -> tuple[Any, ...]:
    return event.type, event.key, event.id, event.time_us, event.label, event.data


def flat_expected(event: OracleEvent) -> tuple[Any, ...]:
    time_us = parse_rfc3339(event.headers["ce_time"])
    return event.type, event.key.decode(), event.headers["ce_id"], time_us, event.label, event.data


def dense_log(rng: random.Random, count: int) -> Iterator[Record]:
    """Few ids, few moments: ties, full histories, edits across one another, and the exact limits of every period."""
    ids = [f"r{number}" for number in range(rng.choice((3, 12, 60)))]
    days = (0, 0, 1, 2, 3, 5, 7, 10, 20, 29, 30, 31, 39, 40, 41, 60, 400, 401)
    now_us = NOW_US
    for offset in range(count):
        if rng.random() < 0.05:
            now_us += rng.choice((1, 7, 30, 60)) * US_PER_DAY
        customer = rng.choice(("c1", "c1", "c1", "c2", None))
        response_id = rng.choice(ids)
        record_time_ms = now_us // 1000 - rng.choice((0, 0, 0, DAY_MS))
        key = (customer or response_id).encode()
        if rng.random() < 0.02:
            yield Record(0, offset, key, None, record_time_ms)
            continue
        age_us = rng.choice(days) * US_PER_DAY + rng.choice((0, 0, 0, 1, -1, 3_600_000_000))
        value = {
            "response_id": response_id,
            "customer_id": customer,
            "survey_id": rng.choice(("s", "s", "s", "t")),
            "score": rng.choice((0, 6, 7, 7, 8, 8, 9, 10)),
            "responded_at": format_rfc3339(record_time_ms * 1000 - age_us),
            "revision": rng.choice((0, 0, 1, 2, 3)),
            "segments": {
                name: rng.choice(("NO", "SE", "DK", "1+1", "50%", "__other__"))
                for name in ("plan", "country", "industry")
                if rng.random() < 0.5
            },
            "csat": rng.choice((None, 1, 5)),
            "comment": rng.choice((None, "words")),
            "language": rng.choice((None, "en")),
            "reason": rng.choice((None, "indifferent")),
            "account_id": rng.choice((None, "a1")),
            "customer_since": rng.choice((None, "2020-02-29")),
        }
        yield Record(0, offset, key, json.dumps(value).encode(), record_time_ms)


@pytest.mark.parametrize("seeds", [range(first, first + 20) for first in range(0, 120, 20)], ids=str)
def test_dense_logs_are_as_the_oracle_says(seeds: range) -> None:
    reached = Reached()
    for seed in seeds:
        print(f"seed {seed}")
        rng = random.Random(seed)
        compare(dense_log(rng, 250), some_config(rng), reached=reached)
    assert reached.outcomes == {"accepted", "late", "too_old", "duplicate", "amended", "erased"}
    assert reached.labels == {
        *((PASSIVE_DETECTED, trigger) for trigger in get_args(Trigger)),
        *((SCORE_CHANGED, change) for change in get_args(Change)),
        *((PASSIVE_WITHDRAWN, cause) for cause in get_args(Cause)),
    }
    assert reached.suppressed == {"stale", "cooldown"}
    assert reached.overflowed
    assert reached.full_histories


@pytest.mark.parametrize("seed", range(4))
def test_the_corpus_is_as_the_oracle_says(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    for partition, log in as_logs(corpus(seed, 2_000, NOW_MS, partitions=2), 2).items():
        compare(log, some_config(rng), partition)


def test_the_corpus_with_default_settings_is_as_the_oracle_says() -> None:
    for partition, log in as_logs(corpus(7, 4_000, NOW_MS, partitions=1), 1).items():
        compare(log, OracleConfig(), partition)
