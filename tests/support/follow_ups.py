"""Customers to follow up, and what a CRM might send, well and badly: drawn from what an oracle knows at the moment."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from tests.support.corpus import Produced
from tests.support.oracle import PartitionOracle
from tests.support.oracle_reading import partition_of, time_text

HOUR_US = 3_600_000_000
BAD = (b"", b"{}", b"[]", b"\xff", None)
STATUSES = ("opened", "contacted", "contacted", "resolved", "declined")
ACTIONS = ("incentive", "tailored_offer", "personal_follow_up", "other")


def some_follow_ups(
    rng: random.Random, oracle: PartitionOracle, count: int, now_ms: int, partitions: int
) -> Iterator[Produced]:
    """Yield follow-ups of customers of this partition, and a few of nobody."""
    known = [
        (customer, survey, journey)
        for customer, journeys in oracle.customers.items()
        for survey, journey in journeys.items()
    ]
    placed = [each for each in known if partition_of(each[0].encode(), partitions) == oracle.partition]
    sent: list[dict[str, Any]] = []
    for number in range(count):
        if sent and rng.random() < 0.2:  # sent again, as it was or otherwise
            again = rng.choice(sent) | {"revision": rng.choice((0, 1, 2, 3))}
            if rng.random() < 0.7:
                again |= {"status": rng.choice(STATUSES), "action": rng.choice(ACTIONS)}
            yield _produced(oracle, again, again["customer_id"].encode(), now_ms)
            continue
        if rng.random() < 0.05 or not placed:
            yield Produced(oracle.partition, b"c" if rng.random() < 0.5 else None, rng.choice(BAD), now_ms)
            continue
        customer, survey, journey = rng.choice(placed)
        cases = [*journey.ended, *([journey.case] if journey.case else [])]
        detections = [None, "no-such-event", *(each for case in cases for each in case.detections)]
        responses = [None, None, "no-such-response", *(kept.response.response_id for kept in journey.history)]
        value = {
            "follow_up_id": f"f{number % 40 if rng.random() < 0.3 else number}",
            "customer_id": customer,
            "survey_id": survey if rng.random() < 0.97 else "no-such-survey",
            "response_id": rng.choice(responses),
            "detected_event_id": rng.choice(detections),
            "status": rng.choice(STATUSES),
            "action": rng.choice(ACTIONS),
            "reason": rng.choice((None, None, "value_for_price", "indifferent")),
            "occurred_at": time_text(now_ms * 1000 - rng.choice((0, 1, 24, 90, 2000)) * HOUR_US),
            "revision": rng.choice((0, 0, 0, 1, 2)),
            "agent": rng.choice((None, "Kari")),
            "note": rng.choice((None, "words")),
        }
        key = customer.encode() if rng.random() < 0.98 else b"somebody-else"
        sent.append(value)
        yield _produced(oracle, value, key, now_ms)


def _produced(oracle: PartitionOracle, value: dict[str, Any], key: bytes, now_ms: int) -> Produced:
    return Produced(oracle.partition, key, json.dumps(value, ensure_ascii=False).encode(), now_ms)


def passives(count: int, survey: str, now_ms: int, partitions: int) -> Iterator[Produced]:
    """Yield the one answer each of customers in Norway who are passive: half of them 80 hours ago, half 1 hour ago."""
    for number in range(count):
        customer = f"passive-{number}"
        at_ms = now_ms - (80, 1)[number % 2] * HOUR_US // 1000
        value = {
            "response_id": f"answer-of-{number}",
            "customer_id": customer,
            "survey_id": survey,
            "score": (7, 7, 8, 8)[number % 4],
            "responded_at": time_text(at_ms * 1000),
            "segments": {"country": "NO"},
        }
        key = customer.encode()
        yield Produced(partition_of(key, partitions), key, json.dumps(value).encode(), at_ms)
