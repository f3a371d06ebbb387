"""Any bytes as a follow-up: a dead letter or a follow-up, as the oracle reads it; and a partition goes on."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.follow_up import accept_follow_up
from schemas.reading import Rejected
from schemas.times import format_rfc3339
from schemas.topics import Topics
from streams.engine.decider import DecidingConfig
from streams.rules.decisions import RulesConfig
from tests.fuzz.mutations import NOW_MS, TIMES_MS, Mutations
from tests.fuzz.targets import SURE_NESTING
from tests.simulation.disk import MemoryDisks
from tests.support.comparing import assert_all_topics
from tests.support.deciding import DecidedPartition
from tests.support.oracle import OracleConfig, PartitionOracle
from tests.support.oracle_cases import read_follow_up
from tests.support.oracle_events import DAY_US
from tests.support.oracle_reading import DeadLetter, Record

TOPICS = Topics()
MUTATIONS = Mutations(77)
CUSTOMERS = ("ann", "bob", "kunde-ø")


def good(rng: random.Random) -> tuple[bytes, bytes]:
    customer = rng.choice(CUSTOMERS)
    value = {
        "follow_up_id": f"f{rng.randrange(9)}",
        "customer_id": customer,
        "survey_id": rng.choice(("s", "t")),
        "response_id": rng.choice((None, f"r{rng.randrange(6)}")),
        "detected_event_id": rng.choice((None, "no-such-event")),
        "status": rng.choice(("opened", "contacted", "resolved", "declined")),
        "action": rng.choice(("incentive", "other")),
        "reason": rng.choice((None, "indifferent")),
        "occurred_at": format_rfc3339(NOW_MS * 1000 - rng.randrange(10**12)),
        "revision": rng.randrange(3),
        "agent": rng.choice((None, "Kari")),
        "note": rng.choice((None, "words \\ \n")),
    }
    return customer.encode(), json.dumps(value, ensure_ascii=rng.random() < 0.5).encode()


def nearly_good(rng: random.Random) -> tuple[bytes | None, bytes | None]:
    key, value = good(rng)
    how = rng.random()
    if how < 0.6:
        return key, value
    if how < 0.95:
        return key, MUTATIONS.mutated(value)
    return rng.choice((None, b"", b"\xff", b"else")), rng.choice((None, value))


def reading(key: bytes | None, value: bytes | None, time_ms: int) -> tuple[str, str]:
    """As the product and as the oracle read it."""
    try:
        accept_follow_up(key, value, time_ms)
        found = "accepted"
    except Rejected as rejected:
        found = str(rejected.reason)
    try:
        read_follow_up(key, value, time_ms)
        expected = "accepted"
    except DeadLetter as letter:
        expected = letter.reason
    return found, expected


@settings(max_examples=600, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(TIMES_MS) | st.just(NOW_MS))
def test_any_value_is_taken_or_refused_as_the_oracle_does(rng: random.Random, time_ms: int) -> None:
    key, value = nearly_good(rng)
    found, expected = reading(key, value, time_ms)
    text = (value or b"").decode(errors="replace")
    assert found == expected or text.count("[") + text.count("{") > SURE_NESTING, value


def responses(rng: random.Random) -> Iterator[Record]:
    for offset in range(rng.randrange(12)):
        customer = rng.choice(CUSTOMERS)
        value = {
            "response_id": f"r{rng.randrange(6)}",
            "customer_id": customer,
            "survey_id": rng.choice(("s", "t")),
            "score": rng.choice((3, 7, 8, 9)),
            "responded_at": format_rfc3339(NOW_MS * 1000 - rng.randrange(5 * DAY_US)),
            "revision": rng.randrange(3),
        }
        yield Record(0, offset, customer.encode(), None if rng.random() < 0.1 else json.dumps(value).encode(), NOW_MS)


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_log_of_them_is_decided_as_the_oracle_does(rng: random.Random) -> None:
    log = list(responses(rng))
    follow_ups = [Record(0, offset, *nearly_good(rng), NOW_MS) for offset in range(rng.randrange(1, 25))]
    rules = RulesConfig(30 * DAY_US, 30 * DAY_US, 400 * DAY_US, frozenset({"passive_to_promoter"}))
    config = DecidingConfig(TOPICS, 1, rules, 10_000, (), "/nps")
    partition = DecidedPartition(0, config, MemoryDisks(rng).open(Path("partition-0")))
    oracle = PartitionOracle(0, OracleConfig())
    for record in log:
        oracle.process(record)
    if log:
        partition.decide(log, len(log))
    for record in follow_ups:
        oracle.process_follow_up(record)
    partition.follow_up(follow_ups, len(follow_ups))
    partition.begin_commit()
    partition.end_commit()
    assert_all_topics(lambda topic: {0: partition.written[topic]}, TOPICS, {0: oracle}, 0, 400)
