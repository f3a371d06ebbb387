"""A known id: repeats, and edits by the second table, from the latest before to the latest after."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.events import PASSIVE_DETECTED, PASSIVE_WITHDRAWN, event_id
from schemas.playbook import default_playbook
from schemas.times import US_PER_DAY, US_PER_HOUR, format_rfc3339
from streams.rules.decisions import Decision, decide
from streams.rules.journey import HISTORY_LIMIT_ANSWERS, Journey
from tests.rules.build import ALL_CHANGES, CONFIG, CUSTOMER, NOW_MS, after, config, days_ago, feed, response

A_MICROSECOND = 1 / US_PER_DAY


def stale_passive() -> Journey:
    """A latest answer that is passive, without an open detection."""
    journey = after(response("r1", 8, 31))
    assert journey.detection is None
    return journey


# The latest before, whether its detection is open, its score after the edit, what is published.
ROWS = [
    (8, True, 6, PASSIVE_WITHDRAWN, "detractor"),
    (7, True, 0, PASSIVE_WITHDRAWN, "detractor"),
    (8, True, 9, PASSIVE_WITHDRAWN, "promoter"),
    (7, True, 10, PASSIVE_WITHDRAWN, "promoter"),
    (0, False, 7, PASSIVE_DETECTED, None),
    (6, False, 8, PASSIVE_DETECTED, None),
    (9, False, 8, PASSIVE_DETECTED, None),
    (10, False, 7, PASSIVE_DETECTED, None),
    (8, True, 7, None, None),
    (7, True, 8, None, None),
    (8, False, 7, None, None),
    (8, False, 9, None, None),
    (7, False, 3, None, None),
    (3, False, 9, None, None),
    (9, False, 3, None, None),
    (3, False, 4, None, None),
    (9, False, 10, None, None),
]


@pytest.mark.parametrize("transitions", [ALL_CHANGES, frozenset()])
@pytest.mark.parametrize(("before", "is_open", "score", "publishes", "category"), ROWS)
def test_the_table(
    before: int, is_open: bool, score: int, publishes: str | None, category: str | None, transitions: frozenset[str]
) -> None:
    # What is no passive has no detection; a passive has none only when it was stale. The edit moves it to yesterday.
    rules = config(transitions=transitions)
    journey = after(response("r1", before, 2 if is_open or before not in (7, 8) else 31))
    assert (journey.detection is not None) == is_open
    decision = decide(rules, CUSTOMER, journey, response("r1", score, 1, revision=1), NOW_MS)
    assert decision.outcome == "amended"
    assert decision.suppressed is None
    assert [(event.type, event.label) for event in decision.events] == ([(publishes, "corrected")] if publishes else [])
    assert decision.journey is not None
    if publishes == PASSIVE_WITHDRAWN:
        assert journey.detection is not None
        assert decision.events[0].data["withdrawn_event_id"] == journey.detection.event_id
        assert decision.events[0].data["category"] == category
        assert decision.journey.detection is None
    elif publishes == PASSIVE_DETECTED:
        assert decision.journey.detection is not None
        assert decision.journey.detection.event_id == decision.events[0].id
        assert decision.journey.detection.responded_at == days_ago(1)
    else:
        assert decision.journey.detection == journey.detection


# Revisions


@pytest.mark.parametrize("revision", [0, 4, 5])
def test_a_revision_that_is_not_higher_is_a_duplicate_and_does_nothing(revision: int) -> None:
    journey = after(response("r1", 3, 9), response("r2", 8, 3, revision=5))
    decision = decide(CONFIG, CUSTOMER, journey, response("r2", 10, 0, revision=revision), NOW_MS)
    assert decision == Decision("duplicate", None, None, None, (), None)


def test_a_repeat_of_an_older_answer_is_a_duplicate() -> None:
    journey = after(response("r1", 3, 9), response("r2", 8, 3))
    assert decide(CONFIG, CUSTOMER, journey, response("r1", 3, 9), NOW_MS).outcome == "duplicate"


def test_revisions_may_skip() -> None:
    journey = after(response("r1", 3, 9))
    decision = decide(CONFIG, CUSTOMER, journey, response("r1", 3, 9, revision=2**53 - 1), NOW_MS)
    assert decision.outcome == "amended"


# History and counts


def test_everything_of_the_answer_is_replaced() -> None:
    journey = after(response("r1", 8, 2, segments={"country": "NO"}, csat=2, comment="old", account_id="a"))
    edit = response(
        "r1",
        7,
        1,
        revision=1,
        segments={"plan": "gold"},
        csat=5,
        comment="new",
        account_id="b",
        reason="indifferent",
        language="nb",
        customer_since="2020-01-01",
    )
    state = decide(CONFIG, CUSTOMER, journey, edit, NOW_MS).journey
    assert state is not None
    [answer] = state.history
    for field in ("response_id", "revision", "score", "responded_at", "segments", "csat", "comment", "account_id"):
        assert getattr(answer, field) == getattr(edit, field)
    for field in ("reason", "language", "customer_since"):
        assert getattr(answer, field) == getattr(edit, field)


def test_the_old_answer_is_taken_back_and_the_new_one_counted() -> None:
    journey = after(response("r1", 8, 2), response("r2", 3, 1))
    decision = decide(CONFIG, CUSTOMER, journey, response("r1", 9, 2, revision=1), NOW_MS)
    assert decision.retracted is journey.history[0]
    assert decision.journey is not None
    assert decision.counted is decision.journey.history[0]
    assert decision.counted.counted_as is False  # until whoever counts it says how


def test_only_what_was_counted_is_taken_back() -> None:
    journey = after(response("r1", 8, 401), response("r2", 8, 400))
    assert [answer.counted_as for answer in journey.history] == [False, True]
    decision = decide(CONFIG, CUSTOMER, journey, response("r1", 9, 399, revision=1), NOW_MS)
    assert decision.retracted is None
    assert decision.counted is not None
    decision = decide(CONFIG, CUSTOMER, journey, response("r2", 9, 400, revision=1), NOW_MS)
    assert decision.retracted is journey.history[1]


def test_what_was_counted_under_all_alone_is_taken_back_too() -> None:
    journey = after(response("r1", 8, 1))
    journey.history[0].counted_as = ()
    decision = decide(CONFIG, CUSTOMER, journey, response("r1", 9, 1, revision=1), NOW_MS)
    assert decision.retracted is journey.history[0]


def test_an_edit_to_a_time_too_old_to_be_counted_is_only_taken_back() -> None:
    journey = after(response("r1", 8, 1))
    decision = decide(CONFIG, CUSTOMER, journey, response("r1", 8, 400 + A_MICROSECOND, revision=1), NOW_MS)
    assert decision.outcome == "amended"
    assert decision.counted is None
    assert decision.retracted is journey.history[0]


@pytest.mark.parametrize(("days", "expected"), [(6, "bac"), (4.5, "abc"), (3.5, "abc"), (3, "abc"), (1, "acb")])
def test_an_edited_time_reorders_the_history(days: float, expected: str) -> None:
    journey = after(response("a", 3, 5), response("b", 3, 4), response("c", 3, 3))
    state = decide(CONFIG, CUSTOMER, journey, response("b", 3, days, revision=1), NOW_MS).journey
    assert state is not None
    assert "".join(answer.response_id for answer in state.history) == expected


def test_an_answer_of_a_full_history_may_move_before_its_oldest() -> None:
    journey = after(*(response(f"r{days:03}", 3, days) for days in range(HISTORY_LIMIT_ANSWERS, 0, -1)))
    decision = decide(CONFIG, CUSTOMER, journey, response("r001", 3, 90, revision=1), NOW_MS)
    assert decision.outcome == "amended"
    assert decision.journey is not None
    assert len(decision.journey.history) == HISTORY_LIMIT_ANSWERS
    assert decision.journey.history[0].response_id == "r001"


def test_an_id_that_left_a_full_history_is_forgotten() -> None:
    given = [response(f"r{days:03}", 3, days) for days in range(HISTORY_LIMIT_ANSWERS + 1, 0, -1)]
    journey = after(*given)
    assert decide(CONFIG, CUSTOMER, journey, given[0], NOW_MS).outcome == "too_old"
    assert decide(CONFIG, CUSTOMER, journey, given[1], NOW_MS).outcome == "duplicate"
    newer = response(given[0].response_id, 3, 0)
    assert decide(CONFIG, CUSTOMER, journey, newer, NOW_MS).outcome == "accepted"


# The latest before and after may be two answers


def test_an_edit_of_an_older_answer_publishes_nothing() -> None:
    journey = after(response("r1", 3, 5), response("r2", 8, 1))
    decision = decide(CONFIG, CUSTOMER, journey, response("r1", 8, 5, revision=1), NOW_MS)
    assert decision.outcome == "amended"
    assert decision.events == ()
    assert decision.journey is not None
    assert decision.journey.detection == journey.detection


def test_moving_the_passive_latest_behind_a_promoter_withdraws() -> None:
    journey = after(response("r1", 9, 5, revision=7), response("r2", 8, 1))
    decision = decide(CONFIG, CUSTOMER, journey, response("r2", 8, 6, revision=1), NOW_MS)
    [event] = decision.events
    assert event.type == PASSIVE_WITHDRAWN
    assert event.id == event_id(PASSIVE_WITHDRAWN, "relational", CUSTOMER, "r2", 1)  # the record that arrived
    assert (event.data["response_id"], event.data["revision"]) == ("r1", 7)  # the latest after it
    assert event.time_us == days_ago(5)
    assert event.data["category"] == "promoter"


def test_moving_a_promoter_off_an_older_passive_detects_from_what_was_stored() -> None:
    stored: dict[str, Any] = {
        "account_id": "account-7",
        "reason": "indifferent",
        "comment": "It works.",
        "language": "nb-NO",
        "csat": 3,
        "customer_since": "2019-05-01",
    }
    given = response("r1", 8, 5, revision=2, segments={"country": "NO"}, **stored)
    journey = after(given, response("r2", 9, 1, comment="Great!", segments={"country": "SE"}))
    decision = decide(CONFIG, CUSTOMER, journey, response("r2", 10, 6, revision=1, comment="Great!"), NOW_MS)
    [event] = decision.events
    assert event.label == "corrected"
    assert event.id == event_id(PASSIVE_DETECTED, "relational", CUSTOMER, "r2", 1)
    assert event.time_us == days_ago(5)
    assert event.data == {
        "event_id": event.id,
        "customer_id": CUSTOMER,
        "survey_id": "relational",
        "response_id": "r1",
        "revision": 2,
        "score": 8,
        "near_promoter": True,
        "trigger": "corrected",
        "previous_score": 9,  # the latest before the edit, as it was
        "previous_response_id": "r2",
        "passive_since": format_rfc3339(days_ago(5)),
        "responded_at": format_rfc3339(days_ago(5)),
        "detected_at": format_rfc3339(NOW_MS * 1000),
        "recommended_action": default_playbook().recommended_action("indifferent", 8),
        "follow_up_question": default_playbook().follow_up_question("indifferent", "nb-NO"),
        "follow_up_due_at": format_rfc3339(NOW_MS * 1000 + 72 * US_PER_HOUR),
        "case_opened_at": format_rfc3339(NOW_MS * 1000),
        "segment_country": "NO",
        **stored,
    }
    assert decision.journey is not None
    assert decision.journey.detection is not None
    assert decision.journey.detection.responded_at == days_ago(5)


def test_previous_of_a_corrected_answer_is_itself_before_the_edit() -> None:
    journey = after(response("r1", 9, 5), response("r2", 6, 1))
    [event] = decide(CONFIG, CUSTOMER, journey, response("r2", 7, 1, revision=1), NOW_MS).events
    assert (event.data["previous_response_id"], event.data["previous_score"]) == ("r2", 6)


def test_the_passive_run_is_that_of_the_edited_history() -> None:
    journey = after(response("r1", 7, 9), response("r2", 8, 5), response("r3", 3, 1))
    [event] = decide(CONFIG, CUSTOMER, journey, response("r3", 8, 1, revision=1), NOW_MS).events
    assert event.data["passive_since"] == format_rfc3339(days_ago(9))


def test_a_move_between_two_passives_keeps_the_detection_as_published() -> None:
    journey = after(response("r1", 7, 5), response("r2", 8, 1))
    opened = journey.detection
    assert opened is not None
    decision = decide(CONFIG, CUSTOMER, journey, response("r2", 8, 6, revision=1), NOW_MS)
    assert decision.events == ()
    assert decision.journey is not None
    assert decision.journey.detection == opened


# Age


def test_age_is_that_of_the_latest_after_the_edit() -> None:
    # The edit itself is fresh, but what is now the latest is not.
    journey = after(response("old", 8, 31), response("r2", 9, 1))
    decision = decide(CONFIG, CUSTOMER, journey, response("r2", 9, 32, revision=1), NOW_MS)
    assert (decision.outcome, decision.events, decision.suppressed) == ("amended", (), "stale")
    assert decision.journey is not None
    assert decision.journey.detection is None

    # The edit moves its own answer far back, what is now the latest is fresh.
    journey = after(response("r1", 8, 30), response("r2", 9, 1))
    decision = decide(CONFIG, CUSTOMER, journey, response("r2", 9, 300, revision=1), NOW_MS)
    assert [event.label for event in decision.events] == ["corrected"]
    assert decision.suppressed is None


@pytest.mark.parametrize(("days", "published"), [(30, True), (30 + A_MICROSECOND, False)])
def test_a_corrected_answer_is_published_up_to_thirty_days(days: float, published: bool) -> None:
    journey = after(response("r1", 3, days))
    decision = decide(CONFIG, CUSTOMER, journey, response("r1", 8, days, revision=1), NOW_MS)
    assert bool(decision.events) == published
    assert decision.suppressed == (None if published else "stale")
    assert decision.journey is not None
    assert bool(decision.journey.detection) == published


def test_a_withdrawal_is_never_stale() -> None:
    journey = after(response("r1", 8, 20))
    assert journey.detection is not None
    decision = decide(CONFIG, CUSTOMER, journey, response("r1", 3, 300, revision=1), NOW_MS)
    assert [event.type for event in decision.events] == [PASSIVE_WITHDRAWN]
    assert decision.suppressed is None


# Chains


def test_a_corrected_detection_opens_a_cooldown_of_its_own() -> None:
    decisions = feed(
        None,
        response("r1", 3, 20),
        response("r1", 8, 20, revision=1),
        response("r2", 8, 1),
        response("r2", 10, 1, revision=1),
        response("r2", 7, 1, revision=2),
        response("r3", 9, 0),
    )
    assert [[event.type for event in decision.events] for decision in decisions] == [
        [],
        [PASSIVE_DETECTED],
        [],
        [PASSIVE_WITHDRAWN],
        [PASSIVE_DETECTED],
        ["nps.score-changed.v1"],
    ]
    assert decisions[2].suppressed == "cooldown"
    assert decisions[3].events[0].data["withdrawn_event_id"] == decisions[1].events[0].id
    assert decisions[5].events[0].data["detected_event_id"] == decisions[4].events[0].id


def test_an_edited_stale_passive_withdraws_nothing() -> None:
    decision = decide(CONFIG, CUSTOMER, stale_passive(), response("r1", 3, 31, revision=1), NOW_MS)
    assert (decision.events, decision.suppressed) == ((), None)
