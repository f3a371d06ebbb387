from __future__ import annotations

import pytest

from schemas.response import SurveyResponse
from schemas.times import US_PER_DAY
from streams.rules.decisions import ANONYMOUS_FORGET_AFTER_MS, AnonymousDecision, decide_anonymous, forgotten
from streams.rules.journey import Remembered
from tests.rules.build import CONFIG, NOW_MS, response

A_MICROSECOND = 1 / US_PER_DAY


def anonymous(score: int = 8, days: float = 0, revision: int = 0, **fields: object) -> SurveyResponse:
    return response("r1", score, days, customer_id=None, revision=revision, **fields)


def decided(
    remembered: Remembered | None, given: SurveyResponse, record_time_ms: int = NOW_MS, stream_time_ms: int = 0
) -> AnonymousDecision:
    decision = decide_anonymous(CONFIG, remembered, given, record_time_ms, stream_time_ms)
    if decision.counted is not None:
        decision.counted.counted_as = True
    return decision


def first(given: SurveyResponse | None = None, record_time_ms: int = NOW_MS) -> Remembered:
    remembered = decided(None, given or anonymous(), record_time_ms).remembered
    assert remembered is not None
    return remembered


def test_a_new_one_is_accepted_counted_and_remembered() -> None:
    decision = decided(None, anonymous())
    assert (decision.outcome, decision.retracted) == ("accepted", None)
    assert decision.remembered is not None
    assert decision.counted is decision.remembered.answer
    assert decision.remembered.first_seen_ms == NOW_MS


def test_only_what_counting_needs_is_remembered() -> None:
    given = anonymous(
        segments={"country": "NO"},
        csat=4,
        comment="words",
        account_id="a",
        reason="indifferent",
        language="en",
        customer_since="2020-01-01",
    )
    answer = first(given).answer
    assert (answer.score, answer.responded_at, answer.segments, answer.csat) == (
        8,
        given.responded_at,
        {"country": "NO"},
        4,
    )
    assert answer.comment is answer.account_id is answer.reason is answer.language is answer.customer_since is None


@pytest.mark.parametrize("revision", [0, 2, 3])
def test_a_revision_that_is_not_higher_is_a_duplicate(revision: int) -> None:
    remembered = first(anonymous(revision=3))
    assert decided(remembered, anonymous(9, revision=revision)) == AnonymousDecision("duplicate", None, None, None)


def test_a_higher_revision_amends_and_keeps_the_time_of_the_first_delivery() -> None:
    remembered = first(record_time_ms=NOW_MS - 5)
    decision = decided(remembered, anonymous(3, 2, revision=1))
    assert decision.outcome == "amended"
    assert decision.retracted is remembered.answer
    assert decision.remembered is not None
    assert decision.counted is decision.remembered.answer
    assert decision.remembered.first_seen_ms == NOW_MS - 5
    assert decision.remembered.answer.score == 3


def test_too_old_to_be_counted() -> None:
    assert decided(None, anonymous(days=400)).counted is not None
    decision = decided(None, anonymous(days=400 + A_MICROSECOND))
    assert (decision.outcome, decision.counted) == ("accepted", None)
    assert decision.remembered is not None
    amended = decided(decision.remembered, anonymous(days=1, revision=1))
    assert amended.retracted is None
    assert amended.counted is not None


@pytest.mark.parametrize("revision", [0, 1])
@pytest.mark.parametrize("ahead", ["record", "stream"])
def test_it_is_forgotten_after_100_days_of_record_time_or_stream_time(ahead: str, revision: int) -> None:
    remembered = first()
    given = anonymous(revision=revision)
    kept, over = NOW_MS + ANONYMOUS_FORGET_AFTER_MS, NOW_MS + ANONYMOUS_FORGET_AFTER_MS + 1
    times = [(time, 0) if ahead == "record" else (NOW_MS, time) for time in (kept, over)]
    still, gone = (decided(remembered, given, *pair) for pair in times)
    assert still.outcome == ("amended" if revision else "duplicate")
    assert gone.outcome == "accepted"
    assert gone.retracted is None
    assert gone.remembered is not None
    assert gone.remembered.first_seen_ms == times[1][0]


def test_an_amendment_does_not_prolong_the_memory() -> None:
    day_ms = US_PER_DAY // 1000
    amended = decided(first(), anonymous(revision=1), NOW_MS + 99 * day_ms).remembered
    assert amended is not None
    assert decided(amended, anonymous(), NOW_MS + 101 * day_ms).outcome == "accepted"


def test_pruning_and_deciding_forget_at_the_same_time() -> None:
    remembered = first()
    assert not forgotten(remembered, NOW_MS + 100 * 86_400_000)
    assert forgotten(remembered, NOW_MS + 100 * 86_400_000 + 1)
