"""What a follow-up does to a journey, and when a case is overdue.

Which case a follow-up is about is read from what it names (`_target`). Then, by whether its id is known, it is new, a
repeat or an edit; a repeat changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from schemas.events import FOLLOW_UP_OVERDUE, event_id
from schemas.follow_up import CONTACTS
from streams.rules import cases, event_data
from streams.rules.case import FOLLOW_UPS_MAX, CaseChange, EndedCase, KeptFollowUp, Past
from streams.rules.event_data import Event
from streams.rules.journey import ANSWERED, OF_ENDED_CASE, Answer, Journey, with_marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.follow_up import FollowUp
    from streams.rules.decisions import RulesConfig

MATCHED: Final = "matched"
DUPLICATE: Final = "duplicate"
AMENDED: Final = "amended"
LATE: Final = "late"
FEEDBACK: Final = "feedback"
UNKNOWN_CASE: Final = "unknown_case"
CASE_FULL: Final = "case_full"
OUTCOMES: Final = (MATCHED, DUPLICATE, AMENDED, LATE, FEEDBACK, UNKNOWN_CASE, CASE_FULL)


class FollowUpDecision(msgspec.Struct, frozen=True, gc=False):
    """What a follow-up does."""

    outcome: str
    """One of `OUTCOMES`; `unknown_case` is a dead letter."""
    journey: Journey | None = None
    """The state to store; None: unchanged."""
    case: CaseChange | None = None
    """What is new about the open case; None: it is as it was."""
    answered: Answer | None = None
    """Count this one, an answer of `journey`, as answered where its `counted_as` says."""
    contact_us: int | None = None
    """From the case's opening to its first contact, where this is the first."""


_DUPLICATE: Final = FollowUpDecision(DUPLICATE)
_UNKNOWN_CASE: Final = FollowUpDecision(UNKNOWN_CASE)
_CASE_FULL: Final = FollowUpDecision(CASE_FULL)


def decide_follow_up(journey: Journey | None, follow_up: FollowUp) -> FollowUpDecision:
    """What the follow-up does to the customer's journey in its survey (None: they have none)."""
    if journey is None:
        return _UNKNOWN_CASE
    case = journey.case
    names_open = case is not None and follow_up.detected_event_id in case.detections
    is_full = case is not None and len(case.follow_ups) >= FOLLOW_UPS_MAX
    named = _answer(journey.history, follow_up.response_id)
    target = MATCHED if names_open else _target(journey, follow_up, named)
    place, revision = _known(journey, follow_up.follow_up_id)
    if revision is None:
        if target == UNKNOWN_CASE:
            return _UNKNOWN_CASE
        if target == MATCHED and is_full:
            return _CASE_FULL
        return _apply(journey, follow_up, named, target, target, None)
    if follow_up.revision <= revision:
        return _DUPLICATE
    if place is None and target == MATCHED and (not names_open or is_full):
        # It was about something else before the case opened, and does not say that it is about this one now.
        target = LATE
    return _apply(journey, follow_up, named, target, AMENDED, place)


def _target(journey: Journey, follow_up: FollowUp, named: Answer | None) -> str:
    """Which case it is about that names no detection of the open one: the table, top down. Names decide: what names an
    ended case, or one of its responses, is never taken for the open one's. `named`: the response that it names, as far
    as it is in the history.
    """
    if _names_ended(journey, follow_up) is not None or (named is not None and named.marks & OF_ENDED_CASE):
        return LATE
    if journey.case is not None and follow_up.detected_event_id is None:
        return MATCHED
    return FEEDBACK if follow_up.response_id is None or named is not None else UNKNOWN_CASE


def _names_ended(journey: Journey, follow_up: FollowUp) -> EndedCase | None:
    """The case that has ended, by the detection that it names."""
    detection = follow_up.detected_event_id
    if detection is None or journey.past is None:
        return None
    return next((each for each in journey.past.ended if detection in each.detections), None)


def _apply(
    journey: Journey, follow_up: FollowUp, named: Answer | None, target: str, outcome: str, place: int | None
) -> FollowUpDecision:
    """Put it where its target says, in place of its older self (`place`, of the open case's follow-ups)."""
    case, past, history = journey.case, journey.past, journey.history
    before = () if case is None else case.follow_ups
    if target == MATCHED:
        past = _forgotten(past, follow_up.follow_up_id)
        kept = _kept(follow_up)
        follow_ups = (*before, kept) if place is None else (*before[:place], kept, *before[place + 1 :])
    else:
        past = _remembered(past, follow_up)
        follow_ups = before if place is None else (*before[:place], *before[place + 1 :])
    answered = _answered(journey, follow_up, named, target)
    if answered is not None:
        at = history.index(answered)
        answered = with_marks(answered, answered.marks | ANSWERED)
        history = history.copy()
        history[at] = answered
    change = contact_us = None
    if case is not None and follow_ups != before:
        after = cases.followed_up(case, follow_ups, history)
        change = CaseChange(case, after)
        if case.first_contact is None and after.first_contact is not None:
            contact_us = max(after.first_contact - case.opened_at, 0)
        case = after
    return FollowUpDecision(outcome, Journey(history, journey.detection, case, past), change, answered, contact_us)


def _answered(journey: Journey, follow_up: FollowUp, named: Answer | None, target: str) -> Answer | None:
    """The response that a contact answers; None: there is none, it is forgotten, or it is answered already."""
    if follow_up.status not in CONTACTS:
        return None
    answer = named
    if follow_up.response_id is None:
        if target == MATCHED:
            assert journey.case is not None, "only an open case is matched"
            answer = _answer(journey.history, journey.case.response_id)
        elif target == LATE:
            ended = _names_ended(journey, follow_up)
            answer = None if ended is None else _answer(journey.history, ended.response_id)
        else:
            answer = journey.history[-1]
    return None if answer is None or answer.marks & ANSWERED else answer


def _answer(history: Sequence[Answer], response_id: str | None) -> Answer | None:
    if response_id is not None:
        for answer in history:
            if answer.response_id == response_id:
                return answer
    return None


def _known(journey: Journey, follow_up_id: str) -> tuple[int | None, int | None]:
    """Where among the open case's follow-ups one is known (None: elsewhere), and its revision (None: not known)."""
    if journey.case is not None:
        for place, each in enumerate(journey.case.follow_ups):
            if each.follow_up_id == follow_up_id:
                return place, each.revision
    return None, None if journey.past is None else journey.past.known.get(follow_up_id)


def _kept(follow_up: FollowUp) -> KeptFollowUp:
    return KeptFollowUp(
        follow_up.follow_up_id,
        follow_up.revision,
        follow_up.status,
        follow_up.action,
        follow_up.reason,
        follow_up.occurred_at,
    )


def _remembered(past: Past | None, follow_up: FollowUp) -> Past:
    ended, known = ((), {}) if past is None else (past.ended, past.known)
    others = {id_: revision for id_, revision in known.items() if id_ != follow_up.follow_up_id}
    return Past(ended, cases.newest_known({**others, follow_up.follow_up_id: follow_up.revision}))


def _forgotten(past: Past | None, follow_up_id: str) -> Past | None:
    if past is None or follow_up_id not in past.known:
        return past
    return Past(past.ended, {id_: revision for id_, revision in past.known.items() if id_ != follow_up_id})


class OverdueDecision(NamedTuple):
    """A case that nobody took up in time."""

    journey: Journey
    case: CaseChange
    event: Event


def decide_overdue(
    config: RulesConfig, customer_id: str, survey_id: str, journey: Journey, now_us: int
) -> OverdueDecision | None:
    """What is to be said when the wall clock (`now_us`) has passed the due time of a journey's case; None: nothing."""
    case = journey.case
    if case is None:
        return None
    due_us = case.awaits_contact_until
    if due_us is None or due_us >= now_us or config.follow_up_sla_us == cases.NO_SLA:
        return None
    after = msgspec.structs.replace(case, overdue=True)
    id_ = event_id(FOLLOW_UP_OVERDUE, survey_id, customer_id, case.first_response_id, case.first_revision)
    data = event_data.follow_up_overdue(id_, customer_id, survey_id, journey.history[-1], case, now_us, config.playbook)
    return OverdueDecision(
        Journey(journey.history, journey.detection, after, journey.past),
        CaseChange(case, after),
        Event(FOLLOW_UP_OVERDUE, customer_id, id_, due_us, data, "overdue"),
    )
