"""A follow-up as a CRM reports it, and the one door through which a record becomes one.

`accept_follow_up` decides everything that can be seen of the record alone; whether there is a case that it is about is
for the rules to say.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from schemas.dead_letters import Reason
from schemas.fields import (
    Action,
    CustomerId,
    EventIdGiven,
    Instant,
    ReasonGiven,
    ResponseId,
    Revision,
    SurveyId,
)
from schemas.quick_reading import QuickFollowUps
from schemas.reading import MAX_AHEAD_US, MAX_VALUE_BYTES, Reader, Rejected

Status: TypeAlias = Literal["opened", "contacted", "resolved", "declined"]
CONTACTS: Final = ("contacted", "resolved")
"""Statuses that say that somebody spoke with the customer."""


class FollowUp(BaseModel):
    """What was done about a passive customer. Unknown fields are ignored."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", title="Follow-up", use_attribute_docstrings=True
    )

    follow_up_id: ResponseId
    """The follow-up's own id. An edit keeps it and raises `revision`."""
    customer_id: CustomerId
    """Who was followed up, and the record's key."""
    survey_id: SurveyId
    """The survey of the detection that was followed up."""
    response_id: ResponseId | None = None
    """The response that it answers."""
    detected_event_id: EventIdGiven | None = None
    """The detection that it answers: the `event_id` of a passive-detected."""
    status: Status
    """Opened (a task is there), contacted, resolved, or declined (the customer did not want it)."""
    action: Action
    """What is done, or was."""
    reason: ReasonGiven | None = None
    """Why the customer is passive, as the customer said when asked."""
    occurred_at: Instant
    """When it happened; digits past microseconds are cut. At most 5 minutes after the record's timestamp, and in the
    years 1 to 9999 also after the offset is taken off."""
    revision: Revision = 0
    """0 when first sent, higher with each edit of the same follow-up. 1.0 is refused."""
    agent: Annotated[str, Field(max_length=128)] | None = None
    """Who followed up. Neither stored nor published."""
    note: Annotated[str, Field(max_length=4000)] | None = None
    """What was said. Neither stored nor published."""


_PLAIN_TEXT: Final = "without control characters"
RULES: Final[dict[str, str]] = {
    "follow_up_id": f"a string of 1 to 128 characters {_PLAIN_TEXT}",
    "customer_id": f"a string of 1 to 256 characters {_PLAIN_TEXT}",
    "survey_id": f"a string of 1 to 128 characters {_PLAIN_TEXT}",
    "response_id": f"a string of 1 to 128 characters {_PLAIN_TEXT}, or null",
    "detected_event_id": f"a string of 1 to 128 characters {_PLAIN_TEXT}, or null",
    "status": "one of opened, contacted, resolved, declined",
    "action": "one of personal_follow_up, tailored_offer, product_improvement, incentive, follow_up_question, other",
    "reason": "one of expectations_met, no_major_problems, indifferent, needs_more_time, value_for_price, or null",
    "occurred_at": "an RFC 3339 date-time with seconds and an offset or Z, in the years 1 to 9999",
    "revision": "an integer from 0 to 9007199254740991",
    "agent": "a string of at most 128 characters, or null",
    "note": "a string of at most 4000 characters, or null",
}
"""What each field must be, as dead letters say it."""
_read_quickly: Final = QuickFollowUps(FollowUp).read
_read: Final = Reader(FollowUp, RULES).read


def accept_follow_up(key: bytes | None, value: bytes | None, record_time_ms: int) -> FollowUp:
    """Read a record of the follow-ups topic; `Rejected` with the first reason that holds.

    What is returned has the attributes of a `FollowUp`; it need not be one.
    """
    if value is None:
        raise Rejected(Reason.INVALID_JSON, "the value is null: a customer is erased on the responses topic")
    follow_up = _follow_up(value)
    if key is None or key != follow_up.customer_id.encode():
        state = "is missing" if key is None else "is another"
        raise Rejected(Reason.KEY_MISMATCH, f"the record's key {state}: it must be the customer_id in UTF-8", "key")
    if follow_up.occurred_at > record_time_ms * 1000 + MAX_AHEAD_US:
        raise Rejected(
            Reason.FROM_FUTURE, "occurred_at is more than 5 minutes after the record's timestamp", "occurred_at"
        )
    return follow_up


def follow_up_key(value: bytes) -> bytes:
    """Return the one key under which `accept_follow_up` takes a value; `Rejected` when it is none under any."""
    return _follow_up(value).customer_id.encode()


def _follow_up(value: bytes) -> FollowUp:
    if len(value) > MAX_VALUE_BYTES:
        raise Rejected(Reason.TOO_LARGE, f"the value has more than {MAX_VALUE_BYTES} bytes")
    follow_up: FollowUp = _read_quickly(value) or _read(value)
    return follow_up
