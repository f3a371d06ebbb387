"""Cases: what opens, renews and ends them, what is kept, and what the events say of them. One test a row."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.events import FOLLOW_UP_OVERDUE, PASSIVE_DETECTED, SCORE_CHANGED, event_id
from schemas.follow_up import FollowUp
from schemas.playbook import default_playbook
from schemas.times import US_PER_DAY, US_PER_HOUR, format_rfc3339
from streams.rules.case import Case, CaseChange
from streams.rules.case_counts import amounts, opening_amounts
from streams.rules.cases import CASES, Becomes, Happening, ended
from streams.rules.decisions import Decision, RulesConfig, decide
from streams.rules.follow_ups import FollowUpDecision, decide_follow_up, decide_overdue
from streams.rules.journey import ANSWERED, OF_ENDED_CASE, Journey
from tests.rules.build import CONFIG, CUSTOMER, NOW_MS, NOW_US, after, config, feed, response
from tests.support import case_cells

PLAYBOOK = default_playbook()


def case_of(journey: Journey | None) -> Case:
    assert journey is not None
    assert journey.case is not None
    return journey.case


def follow_up(id_: str = "f1", days: float = 0, **fields: Any) -> FollowUp:
    """A follow-up of `CUSTOMER` in the survey `relational`, `days` before now: a contact unless told otherwise."""
    given = {
        "customer_id": CUSTOMER,
        "survey_id": "relational",
        "status": "contacted",
        "action": "tailored_offer",
        "occurred_at": NOW_US - round(days * US_PER_DAY),
        **fields,
    }
    return FollowUp(follow_up_id=id_, **given)


def follow(journey: Journey, *follow_ups: FollowUp) -> tuple[Journey, list[FollowUpDecision]]:
    decisions = []
    for each in follow_ups:
        decisions.append(decide_follow_up(journey, each))
        journey = decisions[-1].journey or journey
    return journey, decisions


def one(journey: Journey | None, answer: Any, rules: RulesConfig = CONFIG) -> Decision:
    return decide(rules, CUSTOMER, journey, answer, NOW_MS)


# --- the table ---

PASSIVE = after(response("r1", 8, 2))
PROMOTER = after(response("r1", 9, 2))
STALE = after(response("r1", 8, 40))
"""Passive, and nothing was published of it: there is no case."""

HAPPENS: dict[tuple[bool, Happening], tuple[Journey | None, Any]] = {
    (False, Happening.DETECTED): (PROMOTER, response("r2", 7, 1)),
    (False, Happening.STAYED): (STALE, response("r2", 8, 35)),
    (False, Happening.PROMOTED): (STALE, response("r2", 9, 1)),
    (False, Happening.DROPPED): (STALE, response("r2", 3, 1)),
    (False, Happening.CORRECTED): (STALE, response("r1", 3, 40, revision=1)),
    (True, Happening.DETECTED): (
        after(response("r1", 8, 35), rules=config(event_max_age_us=99 * US_PER_DAY)),
        response("r2", 7, 1),
    ),
    (True, Happening.STAYED): (PASSIVE, response("r2", 7, 1)),
    (True, Happening.PROMOTED): (PASSIVE, response("r2", 9, 1)),
    (True, Happening.DROPPED): (PASSIVE, response("r2", 3, 1)),
    (True, Happening.CORRECTED): (PASSIVE, response("r1", 9, 2, revision=1)),
}


def test_the_table_is_complete() -> None:
    assert {(row.open, row.happening) for row in CASES} == {
        (is_open, each) for is_open in (False, True) for each in Happening
    }
    assert len(CASES) == 2 * len(Happening)


@pytest.mark.parametrize("row", [row for row in CASES if row.happening is not Happening.ERASED], ids=str)
def test_what_becomes_of_a_case(row: Any) -> None:
    before, arriving = HAPPENS[row.open, row.happening]
    assert before is not None
    assert (before.case is not None) is row.open
    decision = one(before, arriving)
    assert decision.journey is not None
    case, change = decision.journey.case, decision.case
    match row.becomes:
        case Becomes.NONE:
            assert case is change is None
        case Becomes.OPENS:
            assert change == CaseChange(None, case)
            assert case_of(decision.journey).detections == (decision.events[0].id,)
        case Becomes.RENEWED:
            assert change == CaseChange(before.case, case)
            assert case_of(decision.journey).detections == (*case_of(before).detections, decision.events[0].id)
            assert case_of(decision.journey).response_id == "r2"
            assert case_of(decision.journey).opened_at == case_of(before).opened_at
        case Becomes.STAYS:
            assert case is before.case
            assert change is None
        case Becomes.ENDS:
            assert case is None
            assert change is not None
            assert (change.before, change.after, change.end) == (before.case, None, row.end)


def test_an_erasure_ends_it() -> None:
    change = ended(case_of(PASSIVE), Happening.ERASED, NOW_US)
    assert (change.before, change.after, change.end) == (PASSIVE.case, None, "erased")


def test_what_a_case_keeps() -> None:
    given = response("r1", 8, 2, segments={"country": "NO"}, reason="indifferent", revision=3)
    case = case_of(after(given))
    id_ = event_id(PASSIVE_DETECTED, "relational", CUSTOMER, "r1", 3)
    assert case == Case(
        8,
        NOW_US,
        NOW_US + 72 * US_PER_HOUR,
        "r1",
        3,
        (id_,),
        "r1",
        {"country": "NO"},
        "indifferent",
    )


def test_no_time_is_set_where_the_setting_is_0() -> None:
    [decision] = feed(None, response("r1", 8, 2), rules=config(follow_up_sla_us=0))
    assert case_of(decision.journey).due_at is None
    assert decision.events[0].data["follow_up_due_at"] is None


def test_only_the_newest_eight_detections_are_kept() -> None:
    rules = config(cooldown_us=0)
    journey = after(*(response(f"r{number}", 8, 20 - number) for number in range(10)), rules=rules)
    ids = [event_id(PASSIVE_DETECTED, "relational", CUSTOMER, f"r{number}", 0) for number in range(10)]
    assert list(case_of(journey).detections) == ids[2:]
    assert case_of(journey).first_response_id == "r0"


# --- reason ---


@pytest.mark.parametrize(
    ("answers", "learned", "reason"),
    [
        ([None], [], "unknown"),
        (["indifferent"], [], "indifferent"),
        (["indifferent", None], [], "indifferent"),
        (["indifferent", "value_for_price"], [], "value_for_price"),
        ([None], ["needs_more_time"], "needs_more_time"),
        ([None], ["needs_more_time", "indifferent"], "indifferent"),
        ([None], ["needs_more_time", None], "needs_more_time"),
        (["indifferent"], ["needs_more_time"], "indifferent"),
    ],
)
def test_the_reason_is_given_else_learned_else_unknown(
    answers: list[str | None], learned: list[str | None], reason: str
) -> None:
    journey = after(*(response(f"r{at}", 8, 9 - at, reason=each) for at, each in enumerate(answers)))
    journey, _ = follow(
        journey, *(follow_up(f"f{at}", 2 - at, reason=each, status="opened") for at, each in enumerate(learned))
    )
    assert case_of(journey).reason == reason


def test_a_reason_of_before_the_run_does_not_count() -> None:
    journey = after(response("r1", 3, 9, reason="indifferent"), response("r2", 8, 2))
    assert case_of(journey).reason == "unknown"


def test_an_edit_or_a_late_answer_moves_the_case_to_another_reason() -> None:
    for moving in (response("r1", 8, 2, reason="indifferent", revision=1), response("r0", 7, 3, reason="indifferent")):
        decision = one(PASSIVE, moving)
        assert case_of(decision.journey).reason == "indifferent"
        assert decision.case == CaseChange(PASSIVE.case, case_of(decision.journey))
        names = counters(amounts(decision.case))
        assert names == {(8, "unknown", "none", "cases"): -1, (8, "indifferent", "none", "cases"): 1}


def counters(pairs: Any) -> dict[tuple[Any, ...], int]:
    told = case_cells.told(dict(pairs))
    return {(*group, name): amount for group, counters in told.items() for name, amount in counters.items()}


# --- follow-ups ---

DETECTION = case_of(PASSIVE).detections[0]
ENDED = after(response("r1", 8, 4), response("r2", 9, 3))
"""The case of r1 has ended; r2 is the latest."""
AGAIN = after(response("r1", 8, 4), response("r2", 9, 3), response("r3", 7, 2))
"""The same, and a case of r3 is open."""
CUT_OFF = after(response("r1", 7, 20), response("r3", 7, 12), response("r2", 3, 15), response("r4", 9, 8))
"""The case of r1 has ended; r2 came late, and parted r1 from r3 in the history."""
CUT_OFF_AGAIN = after(
    response("r1", 7, 20),
    response("r3", 7, 12),
    response("r1", 3, 20, revision=1),
    response("r4", 9, 8),
    response("r5", 8, 1),
)
"""It has ended, and that of r5 is open; r1 was edited, and is no passive any more."""
OLD_DETECTION = event_id(PASSIVE_DETECTED, "relational", CUSTOMER, "r1", 0)
NEW_DETECTION = event_id(PASSIVE_DETECTED, "relational", CUSTOMER, "r3", 0)

OUTCOMES: list[tuple[Journey | None, dict[str, Any], str, str | None]] = [
    # journey, what the follow-up names, outcome, the response that it answers
    (PASSIVE, {}, "matched", "r1"),
    (PASSIVE, {"detected_event_id": DETECTION}, "matched", "r1"),
    (PASSIVE, {"response_id": "r1"}, "matched", "r1"),
    (PASSIVE, {"response_id": "nowhere"}, "matched", None),
    (PASSIVE, {"detected_event_id": DETECTION, "response_id": "nowhere"}, "matched", None),
    (PASSIVE, {"detected_event_id": "nowhere"}, "feedback", "r1"),
    (PASSIVE, {"detected_event_id": "nowhere", "response_id": "nowhere"}, "unknown_case", None),
    (ENDED, {}, "feedback", "r2"),
    (ENDED, {"detected_event_id": OLD_DETECTION}, "late", "r1"),
    (ENDED, {"response_id": "r1"}, "late", "r1"),
    (ENDED, {"detected_event_id": OLD_DETECTION, "response_id": "nowhere"}, "late", None),
    (ENDED, {"response_id": "r2"}, "feedback", "r2"),
    (ENDED, {"response_id": "nowhere"}, "unknown_case", None),
    (AGAIN, {}, "matched", "r3"),
    (AGAIN, {"detected_event_id": NEW_DETECTION}, "matched", "r3"),
    (AGAIN, {"detected_event_id": OLD_DETECTION}, "late", "r1"),
    (AGAIN, {"response_id": "r1"}, "late", "r1"),
    (AGAIN, {"response_id": "r2"}, "matched", "r2"),
    (AGAIN, {"detected_event_id": NEW_DETECTION, "response_id": "r1"}, "matched", "r1"),
    (CUT_OFF, {"response_id": "r1"}, "late", "r1"),
    (CUT_OFF, {"response_id": "r2"}, "feedback", "r2"),
    (CUT_OFF, {"response_id": "r3"}, "late", "r3"),
    (CUT_OFF_AGAIN, {"response_id": "r1"}, "late", "r1"),
    (CUT_OFF_AGAIN, {"response_id": "r3"}, "late", "r3"),
    (CUT_OFF_AGAIN, {"response_id": "r5"}, "matched", "r5"),
    (PROMOTER, {}, "feedback", "r1"),
    (STALE, {"response_id": "r1"}, "feedback", "r1"),
    (None, {}, "unknown_case", None),
]


@pytest.mark.parametrize(("journey", "named", "outcome", "answered"), OUTCOMES)
def test_what_a_follow_up_is_about(
    journey: Journey | None, named: dict[str, Any], outcome: str, answered: str | None
) -> None:
    decision = decide_follow_up(journey, follow_up(**named))
    assert decision.outcome == outcome
    assert (decision.answered and decision.answered.response_id) == answered
    assert (decision.case is not None) is (outcome == "matched")
    assert (decision.journey is None) is (outcome == "unknown_case")
    if decision.journey is not None:
        assert [each.response_id for each in decision.journey.history if each.marks & ANSWERED] == (
            [answered] if answered else []
        )
        again = decide_follow_up(decision.journey, follow_up(**named))
        assert (again.outcome, again.journey) == ("duplicate", None), "a repeat changes nothing"


@pytest.mark.parametrize("status", ["opened", "declined"])
def test_only_a_contact_answers(status: str) -> None:
    journey, [decision] = follow(PASSIVE, follow_up(status=status))
    assert decision.outcome == "matched"
    assert decision.answered is decision.contact_us is None
    assert case_of(journey).first_contact is None
    assert case_of(journey).action == "tailored_offer"


def test_a_response_is_answered_once() -> None:
    _, decisions = follow(PASSIVE, follow_up("f1"), follow_up("f2"))
    assert [each.answered is not None for each in decisions] == [True, False]


def test_the_first_contact_is_the_earliest_and_the_last_action_the_newest() -> None:
    journey, decisions = follow(
        PASSIVE,
        follow_up("f2", 0.5, action="incentive"),
        follow_up("f1", 1.0, status="resolved"),
        follow_up("f3", 0.5, action="other"),
        follow_up("f0", 2.0, status="opened"),
    )
    case = case_of(journey)
    assert case.first_contact == NOW_US - US_PER_DAY
    assert case.action == "other", "of two at once the one with the higher id"
    assert [each.contact_us for each in decisions] == [0, None, None, None]


def test_the_time_to_the_first_contact() -> None:
    _, [decision] = follow(PASSIVE, follow_up(days=-0.25))
    assert decision.contact_us == 6 * US_PER_HOUR


def test_an_edit_counts_as_if_only_the_newer_had_come() -> None:
    journey, _ = follow(PASSIVE, follow_up("f1", 1, action="incentive", reason="indifferent"), follow_up("f2", 0.5))
    journey, [decision] = follow(journey, follow_up("f1", 0.1, status="opened", action="other", revision=1))
    assert decision.outcome == "amended"
    expected, _ = follow(
        PASSIVE, follow_up("f1", 0.1, status="opened", action="other", revision=1), follow_up("f2", 0.5)
    )
    assert case_of(journey) == case_of(expected)
    for revision in (0, 1):
        assert follow(journey, follow_up("f1", 3, revision=revision))[1][0].outcome == "duplicate"


def test_an_edit_can_take_a_follow_up_out_of_the_case() -> None:
    journey, _ = follow(AGAIN, follow_up("f1", 0.5))
    journey, [decision] = follow(journey, follow_up("f1", 0.5, detected_event_id=OLD_DETECTION, revision=1))
    assert decision.outcome == "amended"
    assert case_of(journey).follow_ups == ()
    assert case_of(journey).first_contact is None
    assert counters(amounts(decision.case)) == {  # type: ignore[arg-type]
        (7, "unknown", "tailored_offer", "cases"): -1,
        (7, "unknown", "tailored_offer", "contacted"): -1,
        (7, "unknown", "tailored_offer", "contacted_in_time"): -1,
        (7, "unknown", "none", "cases"): 1,
    }


def test_follow_ups_of_an_ended_case_are_remembered() -> None:
    journey, _ = follow(PASSIVE, follow_up("f1", 1))
    for answer in (response("r2", 9, 0.5), response("r3", 8, 0.2)):
        journey = one(journey, answer).journey or journey
        assert follow(journey, follow_up("f1", 1))[1][0].outcome == "duplicate"
    journey, [decision] = follow(journey, follow_up("f1", 1, revision=1))
    assert decision.outcome == "amended"
    assert case_of(journey).follow_ups == (), "it does not say that it is about the new case"
    journey, [decision] = follow(
        journey, follow_up("f1", 1, revision=2, detected_event_id=case_of(journey).detections[0])
    )
    assert decision.outcome == "amended"
    assert [each.revision for each in case_of(journey).follow_ups] == [2]


def test_a_case_takes_32_follow_ups() -> None:
    journey, decisions = follow(PASSIVE, *(follow_up(f"f{number}", 1) for number in range(33)))
    assert [each.outcome for each in decisions] == ["matched"] * 32 + ["case_full"]
    assert decisions[-1].journey is decisions[-1].answered is None
    assert len(case_of(journey).follow_ups) == 32
    assert follow(journey, follow_up("f5", 1, revision=1))[1][0].outcome == "amended"


def test_an_amended_answer_stays_answered() -> None:
    journey, _ = follow(PASSIVE, follow_up())
    decision = one(journey, response("r1", 7, 2, revision=1))
    assert decision.counted is not None
    assert decision.counted.marks == ANSWERED


def test_answers_of_a_case_that_opens_again_are_its_own() -> None:
    """Withdrawn by an edit, and detected again by the next."""
    withdrawn = one(PASSIVE, response("r1", 9, 2, revision=1)).journey
    assert withdrawn is not None
    assert withdrawn.history[0].marks == OF_ENDED_CASE
    assert decide_follow_up(withdrawn, follow_up(response_id="r1")).outcome == "late"
    again = one(withdrawn, response("r1", 8, 2, revision=2))
    assert again.journey is not None
    assert again.counted is again.journey.history[0]
    assert again.counted.marks == 0
    assert decide_follow_up(again.journey, follow_up(response_id="r1")).outcome == "matched"


# --- counts ---


def test_what_opens_and_what_ends_is_counted() -> None:
    assert counters(opening_amounts(case_of(PASSIVE))) == {(8, "unknown", "none", "cases"): 1}
    for score, end in ((3, "left"), (9, "converted")):
        change = one(PASSIVE, response("r2", score, 1)).case
        assert change is not None
        found = counters(amounts(change))
        within = {(8, "unknown", "none", "converted_7d"): 1}
        assert found == {(8, "unknown", "none", end): 1, **(within if end == "converted" else {})}


@pytest.mark.parametrize(
    ("days", "within"), [(0.1, 7), (7, 7), (7.001, 30), (90, 90), (90.001, 180), (365, 365), (365.1, None)]
)
def test_a_conversion_counts_in_the_shortest_period_that_holds_it(days: float, within: int | None) -> None:
    took_us = round(days * US_PER_DAY)
    found = counters(amounts(CaseChange(case_of(PASSIVE), None, "converted", took_us)))
    assert [name[-1] for name in found if name[-1].endswith("d") and name[-1] != "converted"] == (
        [f"converted_{within}d"] if within else []
    )
    assert found[8, "unknown", "none", "ms_to_convert"] == took_us // 1000


# --- overdue ---


def test_overdue_is_said_once_and_only_of_whom_nobody_has_contacted() -> None:
    due_us = NOW_US + 72 * US_PER_HOUR
    journey = after(response("r1", 7, 2, segments={"country": "NO"}, account_id="a1", reason="value_for_price"))
    assert decide_overdue(CONFIG, CUSTOMER, "relational", journey, due_us) is None
    decision = decide_overdue(CONFIG, CUSTOMER, "relational", journey, due_us + US_PER_HOUR // 2)
    assert decision is not None
    event = decision.event
    assert (event.type, event.key, event.time_us) == (FOLLOW_UP_OVERDUE, CUSTOMER, due_us)
    assert event.data == {
        "event_id": event_id(FOLLOW_UP_OVERDUE, "relational", CUSTOMER, "r1", 0),
        "customer_id": CUSTOMER,
        "survey_id": "relational",
        "response_id": "r1",
        "revision": 0,
        "account_id": "a1",
        "detected_event_id": event_id(PASSIVE_DETECTED, "relational", CUSTOMER, "r1", 0),
        "score": 7,
        "near_promoter": False,
        "opened_at": format_rfc3339(NOW_US),
        "due_at": format_rfc3339(due_us),
        "hours_overdue": 0.5,
        "reason": "value_for_price",
        "recommended_action": "tailored_offer",
        "segment_country": "NO",
    }
    assert counters(amounts(decision.case)) == {(7, "value_for_price", "none", "overdue"): 1}
    assert decide_overdue(CONFIG, CUSTOMER, "relational", decision.journey, due_us + US_PER_DAY) is None

    off = msgspec.structs.replace(CONFIG, follow_up_sla_us=0)
    assert decide_overdue(off, CUSTOMER, "relational", journey, due_us + US_PER_DAY) is None, "not wanted any more"

    contacted, _ = follow(journey, follow_up())
    assert decide_overdue(CONFIG, CUSTOMER, "relational", contacted, due_us + US_PER_DAY) is None
    corrected, _ = follow(contacted, follow_up(status="opened", revision=1))
    assert decide_overdue(CONFIG, CUSTOMER, "relational", corrected, due_us + US_PER_DAY) is not None
    for ended_journey in (ENDED, PROMOTER):
        assert decide_overdue(CONFIG, CUSTOMER, "relational", ended_journey, due_us + US_PER_DAY) is None


# --- events ---


def test_a_detection_recommends_by_the_reason_of_the_case() -> None:
    journey, _ = follow(
        after(response("r1", 8, 40), rules=config(event_max_age_us=99 * US_PER_DAY)), follow_up(reason="indifferent")
    )
    [event] = one(journey, response("r2", 7, 1, language="nl-BE")).events
    assert event.data["reason"] is None
    assert event.data["recommended_action"] == PLAYBOOK.recommended_action("indifferent", 7)
    assert event.data["follow_up_question"] == PLAYBOOK.follow_up_question("indifferent", "nl")
    assert event.data["case_opened_at"] == format_rfc3339(NOW_US)


def test_a_change_tells_what_was_done() -> None:
    journey, _ = follow(
        PASSIVE,
        follow_up("f1", 1.5, reason="needs_more_time"),
        follow_up("f2", 1.0, status="resolved"),
        follow_up("f3", 0.9, status="opened", action="incentive"),
    )
    [event] = one(journey, response("r2", 9, 0.5)).events
    assert event.type == SCORE_CHANGED
    assert {name: event.data[name] for name in list(event.data)[-6:]} == {
        "case_opened_at": format_rfc3339(NOW_US),
        "first_contacted_at": format_rfc3339(NOW_US - round(1.5 * US_PER_DAY)),
        "days_from_contact": 1.0,
        "follow_up_id": "f2",
        "follow_up_action": "incentive",
        "reason": "needs_more_time",
    }
