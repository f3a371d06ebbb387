"""A new id, newer than the latest: every row of the first table, and everything that keeps its event back."""

from __future__ import annotations

import pytest

from schemas.events import PASSIVE_DETECTED, PASSIVE_WITHDRAWN, SCORE_CHANGED, event_id
from schemas.response import SurveyResponse
from schemas.times import US_PER_DAY, format_rfc3339
from streams.rules.decisions import Decision, decide
from streams.rules.journey import HISTORY_LIMIT_ANSWERS, Journey
from tests.rules.build import ALL_CHANGES, CONFIG, CUSTOMER, NOW_MS, after, config, days_ago, feed, response

A_MICROSECOND = 1 / US_PER_DAY

# The latest before (None: this is the first), the new answer, what is published with every change configured.
ROWS = [
    (None, 7, PASSIVE_DETECTED, "first_response"),
    (None, 8, PASSIVE_DETECTED, "first_response"),
    (0, 7, PASSIVE_DETECTED, "from_detractor"),
    (6, 8, PASSIVE_DETECTED, "from_detractor"),
    (9, 8, PASSIVE_DETECTED, "from_promoter"),
    (10, 7, PASSIVE_DETECTED, "from_promoter"),
    (7, 8, PASSIVE_DETECTED, "still_passive"),
    (8, 7, PASSIVE_DETECTED, "still_passive"),
    (7, 9, SCORE_CHANGED, "passive_to_promoter"),
    (8, 10, SCORE_CHANGED, "passive_to_promoter"),
    (7, 6, SCORE_CHANGED, "passive_to_detractor"),
    (8, 0, SCORE_CHANGED, "passive_to_detractor"),
    (6, 9, SCORE_CHANGED, "detractor_to_promoter"),
    (0, 10, SCORE_CHANGED, "detractor_to_promoter"),
    (9, 6, SCORE_CHANGED, "promoter_to_detractor"),
    (10, 0, SCORE_CHANGED, "promoter_to_detractor"),
    (None, 0, None, None),
    (None, 6, None, None),
    (None, 9, None, None),
    (None, 10, None, None),
    (0, 6, None, None),
    (6, 0, None, None),
    (9, 10, None, None),
    (10, 9, None, None),
]


def step(before: int | None, score: int, *, days: float = 0, rules: object = None) -> tuple[Journey | None, Decision]:
    """The journey whose latest answer has the score `before`, 40 days before the new one, and what the new one does."""
    rules = rules or config(transitions=ALL_CHANGES)
    journey = None if before is None else after(response("r1", before, days + 40))
    return journey, decide(rules, CUSTOMER, journey, response("r2", score, days), NOW_MS)


@pytest.mark.parametrize(("before", "score", "publishes", "label"), ROWS)
def test_the_table(before: int | None, score: int, publishes: str | None, label: str | None) -> None:
    _, decision = step(before, score)
    assert decision.outcome == "accepted"
    assert decision.suppressed is None
    assert [(event.type, event.label) for event in decision.events] == ([(publishes, label)] if publishes else [])


@pytest.mark.parametrize(("before", "score", "publishes", "label"), ROWS)
def test_the_answer_is_added_and_counted(
    before: int | None, score: int, publishes: str | None, label: str | None
) -> None:
    _, decision = step(before, score)
    assert decision.journey is not None
    assert [each.response_id for each in decision.journey.history] == (["r2"] if before is None else ["r1", "r2"])
    assert decision.counted is decision.journey.history[-1]
    assert decision.retracted is None


@pytest.mark.parametrize(("before", "score", "publishes", "label"), ROWS)
def test_a_detection_is_open_exactly_after_a_published_passive(
    before: int | None, score: int, publishes: str | None, label: str | None
) -> None:
    _, decision = step(before, score)
    assert decision.journey is not None
    detection = decision.journey.detection
    if publishes == PASSIVE_DETECTED:
        assert detection is not None
        assert (detection.event_id, detection.responded_at) == (decision.events[0].id, days_ago(0))
    else:
        assert detection is None


@pytest.mark.parametrize(("before", "score", "publishes", "label"), ROWS)
def test_a_change_that_is_not_configured_is_no_event_and_not_suppressed(
    before: int | None, score: int, publishes: str | None, label: str | None
) -> None:
    for days in (0, 31):  # fresh and stale alike
        _, decision = step(before, score, days=days, rules=config(transitions=frozenset()))
        if publishes != PASSIVE_DETECTED:
            assert decision.events == ()
            assert decision.suppressed is None
            assert decision.journey is not None
            assert decision.journey.detection is None


@pytest.mark.parametrize("configured", sorted(ALL_CHANGES))
def test_only_configured_changes_are_published(configured: str) -> None:
    published = {
        event.label
        for before, score, publishes, _ in ROWS
        if publishes == SCORE_CHANGED
        for event in step(before, score, rules=config(transitions=frozenset({configured})))[1].events
    }
    assert published == {configured}


# Age


@pytest.mark.parametrize(("before", "score", "publishes", "label"), ROWS)
def test_an_answer_of_thirty_days_is_published_and_an_older_one_is_stale(
    before: int | None, score: int, publishes: str | None, label: str | None
) -> None:
    _, decision = step(before, score, days=30)
    assert len(decision.events) == (1 if publishes else 0)

    _, decision = step(before, score, days=30 + A_MICROSECOND)
    assert decision.outcome == "accepted"
    assert decision.events == ()
    assert decision.suppressed == ("stale" if publishes else None)
    assert decision.journey is not None
    assert decision.journey.history[-1].response_id == "r2"  # the journey moves on
    assert decision.counted is decision.journey.history[-1]


@pytest.mark.parametrize("before", [None, 3, 9])
def test_a_stale_passive_opens_no_detection(before: int | None) -> None:
    _, decision = step(before, 8, days=31)
    assert decision.journey is not None
    assert decision.journey.detection is None


@pytest.mark.parametrize("score", [3, 9])
@pytest.mark.parametrize("transitions", [ALL_CHANGES, frozenset()])
def test_leaving_passive_closes_the_detection_also_when_stale(score: int, transitions: frozenset[str]) -> None:
    rules = config(transitions=transitions, event_max_age_us=0)
    passive = after(response("r1", 8))
    assert passive.detection is not None
    decision = decide(rules, CUSTOMER, passive, response("r2", score, 0), NOW_MS + 1)
    assert decision.suppressed == ("stale" if transitions else None)
    assert decision.journey is not None
    assert decision.journey.detection is None


def test_staleness_is_by_record_time_whenever_the_record_is_decided() -> None:
    old = response("r1", 8, days=100)
    assert decide(CONFIG, CUSTOMER, None, old, days_ago(80) // 1000).events != ()
    assert decide(CONFIG, CUSTOMER, None, old, NOW_MS).events == ()


def test_a_new_answer_ahead_of_record_time_is_fresh() -> None:
    assert decide(CONFIG, CUSTOMER, None, response("r1", 8, days=-5 / 1440), NOW_MS).events != ()


# Cooldown


def repeat(days_after: float, *, days: float = 0) -> tuple[Journey, Decision]:
    """A passive answer, detected, and another one so many days after it, `days` before now."""
    first = response("r1", 8, days + days_after)
    journey = decide(CONFIG, CUSTOMER, None, first, first.responded_at // 1000).journey
    assert journey is not None
    assert journey.detection is not None
    return journey, decide(CONFIG, CUSTOMER, journey, response("r2", 7, days), NOW_MS)


def test_a_repeat_within_the_cooldown_is_suppressed_and_keeps_the_open_detection() -> None:
    journey, decision = repeat(30 - A_MICROSECOND)
    assert decision.events == ()
    assert decision.suppressed == "cooldown"
    assert decision.journey is not None
    assert decision.journey.detection == journey.detection
    assert len(decision.journey.history) == 2
    assert decision.counted is decision.journey.history[-1]


def test_a_repeat_at_the_end_of_the_cooldown_is_published_and_renews_the_detection() -> None:
    journey, decision = repeat(30)
    assert [event.label for event in decision.events] == ["still_passive"]
    assert decision.suppressed is None
    assert decision.journey is not None
    assert decision.journey.detection is not None
    assert decision.journey.detection != journey.detection
    assert decision.journey.detection.responded_at == days_ago(0)


def test_a_repeat_without_an_open_detection_is_published_however_soon() -> None:
    stale = after(response("r1", 8, 31))
    assert stale.detection is None
    decision = decide(CONFIG, CUSTOMER, stale, response("r2", 8, 29), NOW_MS)
    assert [event.label for event in decision.events] == ["still_passive"]


def test_a_repeat_both_stale_and_within_cooldown_counts_as_cooldown() -> None:
    _, decision = repeat(10, days=40)
    assert decision.suppressed == "cooldown"


def test_a_stale_repeat_after_the_cooldown_leaves_the_open_detection_as_it_was() -> None:
    journey, decision = repeat(50, days=40)
    assert decision.suppressed == "stale"
    assert decision.journey is not None
    assert decision.journey.detection == journey.detection


def test_the_cooldown_runs_from_the_published_detection_not_from_suppressed_repeats() -> None:
    rules = config(event_max_age_us=400 * US_PER_DAY)
    decisions = feed(None, *(response(f"r{days}", 8, days) for days in (60, 45, 31, 30, 1)), rules=rules)
    assert [decision.suppressed for decision in decisions] == [None, "cooldown", "cooldown", None, "cooldown"]


def test_the_cooldown_compares_with_the_detection_as_published_whatever_is_edited_later() -> None:
    rules = config(event_max_age_us=400 * US_PER_DAY)
    moved_back = response("r1", 8, 45, revision=1)  # published as of 20 days ago
    journey = after(response("r1", 8, 20), moved_back, rules=rules)
    assert journey.detection is not None
    assert journey.detection.responded_at == days_ago(20)
    assert decide(rules, CUSTOMER, journey, response("r2", 8, 0), NOW_MS).suppressed == "cooldown"

    moved_on = response("r1", 8, 5, revision=1)  # published as of 40 days ago
    journey = after(response("r1", 8, 40), moved_on, rules=rules)
    assert decide(rules, CUSTOMER, journey, response("r2", 8, 0), NOW_MS).suppressed is None


def test_a_passive_not_from_passive_knows_no_cooldown() -> None:
    decisions = feed(None, response("r1", 8, 4), response("r2", 9, 3), response("r3", 8, 2), response("r4", 2, 1))
    decisions += feed(decisions[-1].journey, response("r5", 8, 0))
    assert [event.label for decision in decisions for event in decision.events] == [
        "first_response",
        "passive_to_promoter",
        "from_promoter",
        "from_detractor",
    ]


# Ids and times of events


def test_the_id_is_that_of_the_arriving_record() -> None:
    given = response("r2", 8, revision=3)
    [event] = decide(CONFIG, CUSTOMER, None, given, NOW_MS).events
    assert event.id == event_id(PASSIVE_DETECTED, "relational", CUSTOMER, "r2", 3) == event.data["event_id"]
    assert event.key == CUSTOMER
    assert event.time_us == given.responded_at


def test_an_erased_and_redelivered_response_gives_the_same_id() -> None:
    first, again = (decide(CONFIG, CUSTOMER, None, response("r1", 8), NOW_MS + late).events[0] for late in (0, 1))
    assert first.id == again.id
    assert first.data["detected_at"] != again.data["detected_at"]


def test_a_change_names_the_detection_that_it_closes() -> None:
    detected, changed = feed(None, response("r1", 8, 3), response("r2", 10, 1))
    [event] = changed.events
    assert event.data["detected_event_id"] == detected.events[0].id
    assert event.id == event_id(SCORE_CHANGED, "relational", CUSTOMER, "r2", 0)
    assert event.type != PASSIVE_WITHDRAWN


def test_a_change_that_closes_nothing_says_null() -> None:
    _, changed = feed(None, response("r1", 8, 31), response("r2", 10, 1))
    assert changed.events[0].data["detected_event_id"] is None


# passive_since


def test_passive_since_is_the_first_of_the_unbroken_run() -> None:
    rules = config(cooldown_us=0)
    given = [response("a", 7, 9), response("b", 9, 8), response("c", 7, 7), response("d", 8, 6), response("e", 7, 5)]
    *_, last = feed(None, *given, rules=rules)
    assert last.events[0].data["passive_since"] == format_rfc3339(days_ago(7))


def full_of_passives() -> tuple[SurveyResponse, ...]:
    return tuple(response(f"r{days:03}", 7, days) for days in range(HISTORY_LIMIT_ANSWERS, 0, -1))


def test_passive_since_of_a_conversion_is_taken_before_the_oldest_of_a_full_history_leaves() -> None:
    journey = after(*full_of_passives())
    assert len(journey.history) == HISTORY_LIMIT_ANSWERS
    decision = decide(CONFIG, CUSTOMER, journey, response("last", 9, 0), NOW_MS)
    assert decision.events[0].data["passive_since"] == format_rfc3339(days_ago(32))
    assert decision.events[0].data["days_passive"] == 32.0
    assert decision.journey is not None
    assert decision.journey.history[0].responded_at == days_ago(31)


def test_passive_since_of_a_detection_is_computed_from_the_history_as_it_is_after() -> None:
    journey = after(*full_of_passives())
    decision = decide(config(cooldown_us=0), CUSTOMER, journey, response("last", 8, 0), NOW_MS)
    assert decision.events[0].data["passive_since"] == format_rfc3339(days_ago(31))


def test_a_late_passive_moves_passive_since_of_what_follows() -> None:
    *_, changed = feed(None, response("a", 8, 3), response("late", 7, 5), response("b", 10, 0))
    assert changed.events[0].data["passive_since"] == format_rfc3339(days_ago(5))
    *_, changed = feed(None, response("a", 8, 9), response("b", 8, 3), response("late", 2, 5), response("c", 10, 0))
    assert changed.events[0].data["passive_since"] == format_rfc3339(days_ago(3))
