"""Where a new answer takes its place: accepted, late, too old; and what is counted."""

from __future__ import annotations

import pytest

from schemas.times import US_PER_DAY
from streams.rules.decisions import Decision, decide
from streams.rules.journey import HISTORY_LIMIT_ANSWERS, Answer, Journey, passive_since
from tests.rules.build import CONFIG, CUSTOMER, NOW_MS, after, config, feed, response

A_MICROSECOND = 1 / US_PER_DAY


def ids(journey: Journey | None) -> list[str]:
    assert journey is not None
    return [answer.response_id for answer in journey.history]


def full() -> Journey:
    """Answers r032 (oldest, 32 days old) to r001."""
    return after(*(response(f"r{days:03}", 3, days) for days in range(HISTORY_LIMIT_ANSWERS, 0, -1)))


def test_a_late_answer_is_inserted_and_counted_and_publishes_nothing() -> None:
    journey = after(response("r1", 3, 9), response("r3", 9, 1))
    decision = decide(CONFIG, CUSTOMER, journey, response("r2", 8, 5), NOW_MS)
    assert decision.outcome == "late"
    assert ids(decision.journey) == ["r1", "r2", "r3"]
    assert decision.journey is not None
    assert decision.counted is decision.journey.history[1]
    assert (decision.retracted, decision.events, decision.suppressed) == (None, (), None)


def test_a_late_answer_leaves_the_open_detection() -> None:
    journey = after(response("r2", 8, 1))
    decision = decide(CONFIG, CUSTOMER, journey, response("r1", 3, 5), NOW_MS)
    assert decision.journey is not None
    assert journey.detection is not None
    assert decision.journey.detection == journey.detection


@pytest.mark.parametrize(("response_id", "outcome"), [("m", "duplicate"), ("l", "late"), ("n", "accepted")])
def test_answers_of_the_same_instant_are_ordered_by_id(response_id: str, outcome: str) -> None:
    journey = after(response("m", 3, 1))
    assert decide(CONFIG, CUSTOMER, journey, response(response_id, 3, 1), NOW_MS).outcome == outcome


def test_ids_are_ordered_by_code_point() -> None:
    journey = after(response("\uff5a", 3, 1))
    assert decide(CONFIG, CUSTOMER, journey, response("\U0001f600", 3, 1), NOW_MS).outcome == "accepted"


def test_a_full_history_loses_its_oldest_to_a_newer_answer() -> None:
    decision = decide(CONFIG, CUSTOMER, full(), response("new", 3, 0), NOW_MS)
    assert decision.outcome == "accepted"
    assert len(ids(decision.journey)) == HISTORY_LIMIT_ANSWERS
    assert (ids(decision.journey)[0], ids(decision.journey)[-1]) == ("r031", "new")
    assert decision.retracted is None  # its counts stay


def test_a_full_history_loses_its_oldest_to_a_late_answer() -> None:
    decision = decide(CONFIG, CUSTOMER, full(), response("late", 3, 31.5), NOW_MS)
    assert decision.outcome == "late"
    assert ids(decision.journey)[:2] == ["late", "r031"]
    assert len(ids(decision.journey)) == HISTORY_LIMIT_ANSWERS
    assert decision.retracted is None


@pytest.mark.parametrize(
    ("response_id", "days", "outcome"), [("r", 32, "too_old"), ("s", 32, "late"), ("a", 33, "too_old")]
)
def test_older_than_the_oldest_of_a_full_history_is_too_old(response_id: str, days: int, outcome: str) -> None:
    decision = decide(CONFIG, CUSTOMER, full(), response(response_id, 3, days), NOW_MS)
    assert decision.outcome == outcome
    if outcome == "too_old":
        assert decision == Decision("too_old", None, None, None, (), None)


def test_a_history_one_short_of_full_takes_any_older_answer() -> None:
    journey = full()
    journey.history.pop()
    decision = decide(CONFIG, CUSTOMER, journey, response("old", 3, 300), NOW_MS)
    assert decision.outcome == "late"
    assert len(ids(decision.journey)) == HISTORY_LIMIT_ANSWERS


@pytest.mark.parametrize("before", [[], [response("x", 3, 500)], [response("x", 3, 1)]])
def test_answers_of_more_than_400_days_move_the_journey_but_are_not_counted(before: list[object]) -> None:
    journey = after(*before) if before else None  # type: ignore[arg-type]
    exactly = decide(CONFIG, CUSTOMER, journey, response("r1", 3, 400), NOW_MS)
    over = decide(CONFIG, CUSTOMER, journey, response("r1", 3, 400 + A_MICROSECOND), NOW_MS)
    assert exactly.outcome == over.outcome
    assert exactly.counted is not None
    assert over.counted is None
    assert "r1" in ids(over.journey)
    assert over.journey is not None
    assert all(answer.counted_as is False for answer in over.journey.history if answer.response_id == "r1")


def test_a_shorter_retention_counts_less() -> None:
    rules = config(counts_retention_us=10 * US_PER_DAY)
    decisions = feed(None, response("r1", 3, 11), response("r2", 3, 10), rules=rules)
    assert [decision.counted is not None for decision in decisions] == [False, True]


@pytest.mark.parametrize("score", range(11))
def test_comments_are_kept_of_passives_only_and_all_else_of_all(score: int) -> None:
    given = response(
        "r1",
        score,
        comment="some words",
        account_id="a",
        reason="indifferent",
        language="en",
        csat=5,
        customer_since="2020-02-29",
        segments={"country": "NO"},
        revision=3,
    )
    [answer] = after(given).history
    assert answer.comment == ("some words" if score in (7, 8) else None)
    for field in ("account_id", "reason", "language", "csat", "customer_since", "segments", "revision", "responded_at"):
        assert getattr(answer, field) == getattr(given, field)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([9], None), ([8], 0), ([7, 8], 0), ([7, 9, 8], 2), ([8, 8, 6], None), ([3, 7, 8, 7], 1)],
)
def test_passive_since(scores: list[int], expected: int | None) -> None:
    history = [Answer(str(at), 0, score, at, {}, None) for at, score in enumerate(scores)]
    assert passive_since(history) == expected
