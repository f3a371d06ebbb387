"""Builds each event's data: one flat object of scalars, its fields in the order of the contract, null when unknown.

Times are RFC 3339 in UTC. `response_id` and `revision` are those of the journey's latest answer after the record (for
an erasure, before it); `event_id` is made from those of the record that arrived, by the caller.
"""

from __future__ import annotations

import msgspec

from schemas.playbook import UNKNOWN, Playbook
from schemas.times import MAX_US, MIN_US, US_PER_DAY, US_PER_HOUR, format_rfc3339
from streams.rules.case import NO_ACTION, Case
from streams.rules.category import CATEGORY_OF_SCORE
from streams.rules.journey import Answer, Detection


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event to publish."""

    type: str
    key: str
    """The customer."""
    id: str
    time_us: int
    """`ce_time`, µs: when the answer that the event is about was given; of a withdrawal, the latest answer; of an
    overdue case, its due time."""
    data: dict[str, object]
    """In field order, ready to encode."""
    label: str
    """Trigger, change or cause: the metric's label."""


def passive_detected(
    event_id: str,
    customer_id: str,
    survey_id: str,
    trigger: str,
    answer: Answer,
    previous: Answer | None,
    passive_since_us: int,
    detected_at_us: int,
    case: Case,
    playbook: Playbook,
) -> dict[str, object]:
    """Data of a `passive-detected` about `answer`, which opens or renews `case`; `previous` is the latest answer before
    the record.
    """
    responded_at = format_rfc3339(answer.responded_at)
    # A record time is the publisher's, and may be outside of the years that can be written.
    detected_at_us = min(max(detected_at_us, MIN_US), MAX_US)
    detected_at = format_rfc3339(detected_at_us)
    data: dict[str, object] = {
        "event_id": event_id,
        "customer_id": customer_id,
        "survey_id": survey_id,
        "response_id": answer.response_id,
        "revision": answer.revision,
        "account_id": answer.account_id,
        "score": answer.score,
        "near_promoter": answer.score == 8,
        "trigger": trigger,
        "previous_score": None if previous is None else previous.score,
        "previous_response_id": None if previous is None else previous.response_id,
        "passive_since": responded_at if passive_since_us == answer.responded_at else format_rfc3339(passive_since_us),
        "responded_at": responded_at,
        "detected_at": detected_at,
        "reason": answer.reason,
        "comment": answer.comment,
        "language": answer.language,
        "csat": answer.csat,
        "customer_since": answer.customer_since,
        "recommended_action": playbook.recommended_action(case.reason, answer.score),
        "follow_up_question": playbook.follow_up_question(case.reason, answer.language),
        "follow_up_due_at": _time(case.due_at),
        "case_opened_at": detected_at if case.opened_at == detected_at_us else format_rfc3339(case.opened_at),
    }
    for name, value in answer.segments.items():
        data["segment_" + name] = value
    return data


def score_changed(
    event_id: str,
    customer_id: str,
    survey_id: str,
    change: str,
    answer: Answer,
    previous: Answer,
    passive_since_us: int | None,
    closed: Detection | None,
    comment: str | None,
    case: Case | None,
) -> dict[str, object]:
    """Data of a `score-changed` from `previous` to `answer`, whose comment is given apart: histories keep none.

    `passive_since_us` is None when the previous answer was not passive; `closed` is the detection that this closes, and
    `case` the case that it ends.
    """
    data: dict[str, object] = {
        "event_id": event_id,
        "customer_id": customer_id,
        "survey_id": survey_id,
        "response_id": answer.response_id,
        "revision": answer.revision,
        "account_id": answer.account_id,
        "change": change,
        "previous_score": previous.score,
        "score": answer.score,
        "previous_category": CATEGORY_OF_SCORE[previous.score],
        "category": CATEGORY_OF_SCORE[answer.score],
        "previous_response_id": previous.response_id,
        "previous_responded_at": format_rfc3339(previous.responded_at),
        "responded_at": format_rfc3339(answer.responded_at),
        "passive_since": None if passive_since_us is None else format_rfc3339(passive_since_us),
        "days_passive": None if passive_since_us is None else (answer.responded_at - passive_since_us) / US_PER_DAY,
        "detected_event_id": None if closed is None else closed.event_id,
        "comment": comment,
        "language": answer.language,
        **_of_case(case, answer.responded_at),
    }
    for name, value in answer.segments.items():
        data["segment_" + name] = value
    return data


def _of_case(case: Case | None, responded_at: int) -> dict[str, object]:
    """What is told of the case that a change of category ends."""
    contact_us = last = None
    if case is not None:
        contact_us, last = case.first_contact, case.last_contact
    return {
        "case_opened_at": None if case is None else format_rfc3339(case.opened_at),
        "first_contacted_at": _time(contact_us),
        "days_from_contact": None if contact_us is None else (responded_at - contact_us) / US_PER_DAY,
        "follow_up_id": None if last is None else last.follow_up_id,
        "follow_up_action": None if case is None or case.action == NO_ACTION else case.action,
        "reason": None if case is None or case.reason == UNKNOWN else case.reason,
    }


def follow_up_overdue(
    event_id: str, customer_id: str, survey_id: str, latest: Answer, case: Case, now_us: int, playbook: Playbook
) -> dict[str, object]:
    """Data of a `follow-up-overdue` of `case`, found at `now_us` by the wall clock."""
    assert case.due_at is not None, "a case that has no due time is never overdue"
    data: dict[str, object] = {
        "event_id": event_id,
        "customer_id": customer_id,
        "survey_id": survey_id,
        "response_id": latest.response_id,
        "revision": latest.revision,
        "account_id": latest.account_id,
        "detected_event_id": case.detections[-1],
        "score": case.score,
        "near_promoter": case.score == 8,
        "opened_at": format_rfc3339(case.opened_at),
        "due_at": format_rfc3339(case.due_at),
        "hours_overdue": (now_us - case.due_at) / US_PER_HOUR,
        "reason": None if case.reason == UNKNOWN else case.reason,
        "recommended_action": playbook.recommended_action(case.reason, case.score),
    }
    for name, value in case.segments.items():
        data["segment_" + name] = value
    return data


def _time(us: int | None) -> str | None:
    return None if us is None else format_rfc3339(us)


def passive_withdrawn(
    event_id: str,
    customer_id: str,
    survey_id: str,
    cause: str,
    latest: Answer,
    withdrawn: Detection,
    category: str | None,
) -> dict[str, object]:
    """Data of a `passive-withdrawn`; `category` is the new one, None for an erasure."""
    return {
        "event_id": event_id,
        "customer_id": customer_id,
        "survey_id": survey_id,
        "response_id": latest.response_id,
        "revision": latest.revision,
        "withdrawn_event_id": withdrawn.event_id,
        "cause": cause,
        "category": category,
    }
