"""What the peers are compared with, on an example made by hand."""

from __future__ import annotations

import json
from collections import Counter

from tests.bench.peers.oracle import Outcome, outcome
from tests.bench.peers.reading import faust
from tests.bench.peers.rules import added, event_of
from tests.support.corpus import Produced
from tests.support.oracle_reading import Record

DAY = 20_000  # 2024-10-04


def response(number: int, score: object, at: str, customer: str = "ada", **changed: object) -> Produced:
    fields = {
        "response_id": f"r{number}",
        "customer_id": customer,
        "survey_id": "nps",
        "score": score,
        "responded_at": at,
        "segments": {"plan": "free"},
    }
    return Produced(0, customer.encode(), json.dumps({**fields, **changed}).encode(), 0)


JOURNEY = [
    response(1, 7, "2024-10-04T09:00:00Z"),  # passive, the first answer
    response(2, 8, "2024-10-04T09:59:59.999Z"),  # passive as before
    response(3, 9, "2024-10-04T10:00:00Z"),  # passive to promoter
    response(4, 8, "2024-10-04T08:00:00Z"),  # late: counts, changes nothing
    response(5, 10, "2024-10-04T12:30:00+02:00"),  # promoter as before, at 10:30 in UTC
    response(6, 7, "2024-10-04T10:30:00Z"),  # at the same time, so the newest: passive again
    response(7, 0, "2024-10-05T00:00:00Z"),  # detractor, on the next day
    response(8, 9, "2024-10-05T00:00:01Z"),  # detractor to promoter is not waited for
]
INVALID = [
    response(11, 11, "2024-10-04T09:00:00Z"),
    response(12, True, "2024-10-04T09:00:00Z"),
    response(13, 8.5, "2024-10-04T09:00:00Z"),
    response(14, 8, "2024-10-04T09:00:00Z", customer_id=None),
    Produced(0, b"ada", b"{", 0),
    Produced(0, b"ada", b"[]", 0),
    Produced(0, b"ada", None, 0),
]


def test_the_oracle_on_a_journey_made_by_hand() -> None:
    found = outcome([*INVALID, *JOURNEY])
    assert found.events == Counter(
        [("passive-detected", "r1"), ("score-changed", "r3"), ("passive-detected", "r6")],
    )
    assert found.counts == {
        ("nps", segment, size, number): counts
        for segment in ("all", "plan=free")
        for (size, number), counts in {
            ("hour", 24 * DAY + 8): (0, 1, 0),
            ("hour", 24 * DAY + 9): (0, 2, 0),
            ("hour", 24 * DAY + 10): (2, 1, 0),
            ("hour", 24 * DAY + 24): (1, 0, 1),
            ("day", DAY): (2, 4, 0),
            ("day", DAY + 1): (1, 0, 1),
        }.items()
    }


def test_surveys_and_customers_have_journeys_of_their_own() -> None:
    at = "2024-10-04T09:00:00Z"
    found = outcome([response(1, 7, at), response(2, 9, at, "bob"), response(3, 9, at, survey_id="other")])
    assert found.events == Counter([("passive-detected", "r1")])


def test_a_difference_is_said() -> None:
    right = outcome(JOURNEY)
    assert outcome(JOURNEY).difference(right) is None
    twice = Outcome(right.events + Counter([("score-changed", "r3")]), right.counts)
    assert "1 are too many, such as ('score-changed', 'r3')" in (twice.difference(right) or "")
    assert "2 of 3 events are missing" in (outcome(JOURNEY[:2]).difference(right) or "")
    miscounted = Outcome(right.events, {**right.counts, ("nps", "all", "day", DAY): (2, 4, 1)})
    assert "1 of 12 buckets are wrong" in (miscounted.difference(right) or "")


def test_the_parts_of_a_count_add_up_over_partitions_and_the_last_value_of_a_key_counts() -> None:
    def record(partition: int, offset: int, scores: list[int]) -> Record:
        counters = None
        for score in scores:
            counters = added(counters, hour=9, score=score)
        return Record(partition, offset, key, json.dumps(counters).encode(), 0, ())

    key = json.dumps(f"nps|plan=free|{DAY}").encode()
    log = [record(0, 0, [9]), record(0, 1, [9, 7]), record(3, 0, [9, 0])]
    assert faust(lambda ending: iter(log)) == {
        ("nps", "plan=free", "day", DAY): (2, 1, 1),
        ("nps", "plan=free", "hour", 24 * DAY + 9): (2, 1, 1),
    }


def test_the_python_peers_publish_what_the_oracle_expects() -> None:
    newest, published = None, []
    for record in JOURNEY:
        given = json.loads(record.value or b"")
        if given["response_id"] != "r4":  # late
            published.append(event_of(given, newest))
            newest = given["score"]
    assert Counter((event["type"], event["response_id"]) for event in published if event) == outcome(JOURNEY).events
