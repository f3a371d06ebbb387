"""A survey response as publishers write it, and the one door through which a record becomes one.

`accept` decides everything that can make a record a dead letter. It runs for every record; most are read without the
model: see `quick_reading`.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from schemas.dead_letters import Reason
from schemas.fields import (
    SEGMENT_NAME_RULE,
    AccountId,
    Comment,
    Csat,
    CustomerId,
    CustomerSince,
    Instant,
    Language,
    ReasonGiven,
    ResponseId,
    Revision,
    Score,
    Segments,
    SurveyId,
)
from schemas.quick_reading import QuickResponses
from schemas.reading import MAX_AHEAD_US, MAX_VALUE_BYTES, Reader, Rejected

__all__ = [
    "MAX_AHEAD_US",
    "MAX_VALUE_BYTES",
    "RULES",
    "Rejected",
    "SurveyResponse",
    "accept",
    "erased_id",
    "response_key",
]


class SurveyResponse(BaseModel):
    """One answer to "how likely are you to recommend us, 0 to 10". Unknown fields are ignored."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", title="Survey response", use_attribute_docstrings=True
    )

    response_id: ResponseId
    """The answer's own id. An edit keeps it and raises `revision`."""
    customer_id: CustomerId | None = None
    """Who answered, and the record's key. Null or absent: anonymous, and `response_id` is the key."""
    survey_id: SurveyId
    """The survey that was answered. A customer has one journey per survey."""
    score: Score
    """0 to 10: up to 6 a detractor, 7 and 8 passive, 9 and 10 a promoter. 8.0 and 8e0 are refused."""
    responded_at: Instant
    """When the customer answered; digits past microseconds are cut. At most 5 minutes after the record's timestamp, and
    in the years 1 to 9999 also after the offset is taken off."""
    revision: Revision = 0
    """0 when first sent, higher with each edit of the same answer. 1.0 is refused."""
    segments: Segments = Field(default_factory=dict, json_schema_extra={"default": {}})
    """What the answer is also counted under, such as country or plan. The name `all` is taken."""
    comment: Comment | None = None
    """What the customer wrote."""
    language: Language | None = None
    """The comment's language, a tag such as nb-NO."""
    reason: ReasonGiven | None = None
    """Why the customer is passive."""
    csat: Csat | None = None
    """Satisfaction, 1 to 5. 4.0 is refused."""
    account_id: AccountId | None = None
    """The account that the customer belongs to."""
    customer_since: CustomerSince | None = None
    """The date on which the customer became one."""


_PLAIN_TEXT: Final = "without control characters"
RULES: Final[dict[str, str]] = {
    "response_id": f"a string of 1 to 128 characters {_PLAIN_TEXT}",
    "customer_id": f"a string of 1 to 256 characters {_PLAIN_TEXT}, or null",
    "survey_id": f"a string of 1 to 128 characters {_PLAIN_TEXT}",
    "score": "an integer from 0 to 10, written without fraction, exponent or quotes",
    "responded_at": "an RFC 3339 date-time with seconds and an offset or Z, in the years 1 to 9999",
    "revision": "an integer from 0 to 9007199254740991",
    "segments": "an object of at most 8 entries",
    "comment": "a string of at most 4000 characters, or null",
    "language": "a language tag of at most 35 characters, such as nb-NO, or null",
    "reason": "one of expectations_met, no_major_problems, indifferent, needs_more_time, value_for_price, or null",
    "csat": "an integer from 1 to 5, or null",
    "account_id": f"a string of 1 to 128 characters {_PLAIN_TEXT}, or null",
    "customer_since": "a date YYYY-MM-DD, or null",
}
"""What each field must be, as dead letters say it."""
_SEGMENT_NAME_RULE: Final = f"a {SEGMENT_NAME_RULE}"
_SEGMENT_VALUE_RULE: Final = f"a value must be a string of 1 to 64 characters {_PLAIN_TEXT}"
_read_quickly: Final = QuickResponses(SurveyResponse).read
_read: Final = Reader(SurveyResponse, RULES, (_SEGMENT_NAME_RULE, _SEGMENT_VALUE_RULE)).read


def accept(key: bytes | None, value: bytes, record_time_ms: int) -> SurveyResponse:
    """Read a record of the responses topic whose value is not null; `Rejected` with the first reason that holds.

    What is returned has the attributes of a `SurveyResponse`; it need not be one, and its `segments` are shared.
    """
    response = _response(value)
    if key is None or key != _key(response):
        owner_field = "response_id" if response.customer_id is None else "customer_id"
        state = "is missing" if key is None else "is another"
        raise Rejected(Reason.KEY_MISMATCH, f"the record's key {state}: it must be the {owner_field} in UTF-8", "key")
    if response.responded_at > record_time_ms * 1000 + MAX_AHEAD_US:
        raise Rejected(
            Reason.FROM_FUTURE, "responded_at is more than 5 minutes after the record's timestamp", "responded_at"
        )
    return response


def response_key(value: bytes) -> bytes:
    """Return the one key under which `accept` takes a value; `Rejected` when it is no response under any."""
    return _key(_response(value))


def _response(value: bytes) -> SurveyResponse:
    if len(value) > MAX_VALUE_BYTES:
        raise Rejected(Reason.TOO_LARGE, f"the value has more than {MAX_VALUE_BYTES} bytes")
    response: SurveyResponse = _read_quickly(value) or _read(value)
    return response


def _key(response: SurveyResponse) -> bytes:
    owner = response.customer_id
    if owner is None:
        owner = response.response_id
    return owner.encode()


def erased_id(key: bytes | None) -> str | None:
    """Return whose data a null value erases; None when no id can equal the key, so that nothing is to be erased.

    `Rejected` (`key_mismatch`) when the record has no key at all.
    """
    if key is None:
        raise Rejected(Reason.KEY_MISMATCH, "the record's key is missing: it must be the id of whom to erase", "key")
    try:
        return key.decode() or None
    except UnicodeDecodeError:
        return None
