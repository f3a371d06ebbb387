"""Random logs through the rules and through the oracle, record by record: same outcomes, events, counts, histories.

The oracle is a second reading of the contract that shares no code with the product.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest

from schemas.events import FOLLOW_UP_OVERDUE, PASSIVE_DETECTED, PASSIVE_WITHDRAWN, SCORE_CHANGED, Cause, Change, Trigger
from schemas.times import US_PER_DAY, US_PER_HOUR, format_rfc3339, parse_rfc3339
from streams.rules.case_counts import COUNTER_NAMES
from streams.rules.decisions import Event, RulesConfig
from streams.rules.follow_ups import OUTCOMES
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
        self.follow_ups: set[str] = set()
        self.ends: set[str | None] = set()
        self.case_counters: set[str] = set()
        self.answered = False

    def note(self, oracle: PartitionOracle, driver: Driver) -> None:
        self.outcomes |= oracle.outcomes.keys()
        self.labels |= oracle.labels.keys()
        self.suppressed |= oracle.suppressed.keys()
        self.overflowed |= oracle.overflowed > 0
        self.follow_ups |= oracle.follow_up_outcomes.keys()
        self.ends |= {case.end for case in oracle.cases}
        self.case_counters |= {name for counter in oracle.case_counts().values() for name in counter}
        self.answered |= any(cell[6] for cell in oracle.counts.values())
        self.full_histories |= any(len(history) == 32 for history in driver.histories().values())


def compare(
    log: Iterable[Record],
    config: OracleConfig,
    partition: int = 0,
    reached: Reached | None = None,
    crm: random.Random | None = None,
) -> None:
    """Feed both; the first difference fails, with the record that made it. With `crm`, follow-ups come in between, and
    the wall clock passes.
    """
    rules = RulesConfig(
        config.cooldown_days * US_PER_DAY,
        config.event_max_age_days * US_PER_DAY,
        config.retention_days * US_PER_DAY,
        config.transitions,
        config.sla_hours * US_PER_HOUR,
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
        if crm is not None:
            follow_up_some(crm, oracle, driver, record.timestamp_ms)
        assert driver.suppressed == oracle.suppressed, record
        assert driver.overflowed == oracle.overflowed, record
    assert driver.by_hour() == {tuple(row): cell for row, cell in oracle.counts.items() if any(cell)}
    assert driver.case_counts() == oracle.case_counts()
    assert driver.contacts_us == oracle.contacts_us
    assert {key: summary(case) for key, case in driver.open_cases().items()} == {
        (customer, survey): expected_summary(journey.case)
        for customer, journeys in oracle.customers.items()
        for survey, journey in journeys.items()
        if journey.case
    }
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


def summary(case: Any) -> tuple[Any, ...]:
    return (
        *(
            case.score,
            case.opened_at,
            case.due_at,
            list(case.detections),
            case.response_id,
            case.segments,
            case.overdue,
        ),
        *(case.reason, case.action, case.first_contact, [each.follow_up_id for each in case.follow_ups]),
    )


def expected_summary(case: Any) -> tuple[Any, ...]:
    return (
        *(case.score, case.opened_us, case.due_us, case.detections, case.response_id, case.segments, case.overdue),
        *(case.reason, case.action, case.first_contact_us, [each.follow_up_id for each in case.follow_ups]),
    )


def follow_up_some(rng: random.Random, oracle: PartitionOracle, driver: Driver, record_time_ms: int) -> None:
    """What a CRM sends now, well or badly, and what falls due."""
    for _ in range(rng.choice((0, 0, 1, 1, 3))):
        value = some_follow_up(rng, oracle, record_time_ms)
        key = str(value["customer_id"]).encode() if rng.random() < 0.97 else b"another"
        record = Record(oracle.partition, oracle.next_follow_up, key, json.dumps(value).encode(), record_time_ms)
        expected = oracle.process_follow_up(record)
        assert driver.follow_up(record.key, record.value, record.timestamp_ms) == expected, value
    if rng.random() < 0.1:
        now_us = record_time_ms * 1000 + rng.choice((0, 2, 72, 73, 1000)) * US_PER_HOUR + rng.choice((0, 1))
        due = oracle.due(now_us)
        for customer, journeys in oracle.customers.items():
            for survey in journeys:
                event = driver.overdue(customer, survey, now_us)
                assert (event is not None) is ((customer, survey) in due)
                if event is not None:
                    assert flat(event) == flat_expected(oracle.overdue(customer, survey, now_us))


def some_follow_up(rng: random.Random, oracle: PartitionOracle, record_time_ms: int) -> dict[str, Any]:
    detections = [None, None, "no-such-event", *(each for case in oracle.cases[-12:] for each in case.detections)]
    return {
        "follow_up_id": f"f{rng.randrange(rng.choice((4, 40, 400)))}",
        "customer_id": rng.choice(("c1", "c1", "c1", "c2", "nobody")),
        "survey_id": rng.choice(("s", "s", "s", "t")),
        "response_id": rng.choice((None, None, f"r{rng.randrange(12)}", "no-such-response")),
        "detected_event_id": rng.choice(detections),
        "status": rng.choice(("opened", "contacted", "resolved", "declined")),
        "action": rng.choice(("incentive", "tailored_offer", "other")),
        "reason": rng.choice((None, None, "value_for_price", "indifferent")),
        "occurred_at": format_rfc3339(record_time_ms * 1000 - rng.choice((0, 0, 1, 24, 90, 200)) * US_PER_HOUR),
        "revision": rng.choice((0, 0, 0, 1, 2)),
        "note": rng.choice((None, "words")),
    }


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
        crm = random.Random(f"crm {seed}")
        config = replace(some_config(rng), sla_hours=crm.choice((72, 72, 1, 0)))
        compare(dense_log(rng, 250), config, reached=reached, crm=crm if seed % 2 else None)
    assert reached.outcomes == {"accepted", "late", "too_old", "duplicate", "amended", "erased"}
    assert reached.labels == {
        *((PASSIVE_DETECTED, trigger) for trigger in get_args(Trigger)),
        *((SCORE_CHANGED, change) for change in get_args(Change)),
        *((PASSIVE_WITHDRAWN, cause) for cause in get_args(Cause)),
        (FOLLOW_UP_OVERDUE, "overdue"),
    }
    assert reached.follow_ups >= {*OUTCOMES, "dead_letter"} - {"case_full"}
    assert reached.ends == {None, "converted", "left", "withdrawn", "erased"}
    assert reached.case_counters >= set(COUNTER_NAMES) - {"converted_365d"}
    assert reached.answered
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
