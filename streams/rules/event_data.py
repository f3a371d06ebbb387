"""Builds each event's data: one flat object of scalars, its fields in the order of the contract, null when unknown.

Times are RFC 3339 in UTC. `response_id` and `revision` are those of the journey's latest answer after the record (for
an erasure, before it); `event_id` is made from those of the record that arrived, by the caller.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.times import MAX_US, MIN_US, US_PER_DAY, format_rfc3339
from streams.rules.category import CATEGORY_OF_SCORE
from streams.rules.journey import Answer, Detection


class Event(NamedTuple):
    """One event to publish."""

    type: str
    key: str
    """The customer."""
    id: str
    time_us: int
    """`ce_time`, µs: when the answer that the event is about was given; of a withdrawal, the latest answer."""
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
) -> dict[str, object]:
    """Data of a `passive-detected` about `answer`; `previous` is the latest answer before the record."""
    responded_at = format_rfc3339(answer.responded_at)
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
        # A record time is the publisher's, and may be outside of the years that can be written.
        "detected_at": format_rfc3339(min(max(detected_at_us, MIN_US), MAX_US)),
        "reason": answer.reason,
        "comment": answer.comment,
        "language": answer.language,
        "csat": answer.csat,
        "customer_since": answer.customer_since,
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
) -> dict[str, object]:
    """Data of a `score-changed` from `previous` to `answer`, whose comment is given apart: histories keep none.

    `passive_since_us` is None when the previous answer was not passive; `closed` is the detection that this closes.
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
    }
    for name, value in answer.segments.items():
        data["segment_" + name] = value
    return data


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
