"""The three events that a CRM reads: CloudEvents 1.0 in Kafka's binary mode, each a flat object of scalars.

Every field is always there, null when unknown; the fields' order is the order on the wire. Beside them a detection
and a score change have `segment_<name>` for each segment of the response, and nothing else: what one version of an
event holds never changes, a new field makes a new version.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Annotated, ClassVar, Final, Literal, TypeAlias
from uuid import NAMESPACE_URL, uuid5

from pydantic import BaseModel, ConfigDict, Field

from schemas.fields import (
    SEGMENT_NAME,
    AccountId,
    Category,
    Comment,
    Csat,
    CustomerId,
    CustomerSince,
    EventId,
    Instant,
    Language,
    ReasonGiven,
    ResponseId,
    Revision,
    Score,
    SegmentValue,
    SurveyId,
)
from schemas.times import format_rfc3339

PASSIVE_DETECTED: Final = "nps.passive-detected.v1"
SCORE_CHANGED: Final = "nps.score-changed.v1"
PASSIVE_WITHDRAWN: Final = "nps.passive-withdrawn.v1"
EVENT_TYPES: Final = (PASSIVE_DETECTED, SCORE_CHANGED, PASSIVE_WITHDRAWN)

ERASED: Final = "erased"
"""Stands for the revision in the id of an event that an erasure causes."""

Trigger: TypeAlias = Literal["first_response", "from_detractor", "from_promoter", "still_passive", "corrected"]
Change: TypeAlias = Literal[
    "passive_to_promoter", "passive_to_detractor", "detractor_to_promoter", "promoter_to_detractor"
]
Cause: TypeAlias = Literal["corrected", "erased"]
NotPassive: TypeAlias = Literal["detractor", "promoter"]
SegmentField: TypeAlias = Annotated[str, Field(pattern=f"^segment_{SEGMENT_NAME}$")]


class _Event(BaseModel):
    """What all three begin with."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    type: ClassVar[str]

    event_id: EventId
    customer_id: CustomerId
    survey_id: SurveyId
    response_id: ResponseId
    revision: Revision


class _EventWithSegments(_Event):
    """An event of a response, which has the response's segments."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[SegmentField, SegmentValue] = Field(init=False)


class PassiveDetected(_EventWithSegments):
    """A customer's latest answer is a 7 or an 8: somebody to follow up."""

    model_config = ConfigDict(title="Passive detected")
    type: ClassVar[str] = PASSIVE_DETECTED

    account_id: AccountId | None
    score: Annotated[int, Field(ge=7, le=8)]
    near_promoter: bool
    trigger: Trigger
    previous_score: Score | None
    previous_response_id: ResponseId | None
    passive_since: Instant
    responded_at: Instant
    detected_at: Instant
    reason: ReasonGiven | None
    comment: Comment | None
    language: Language | None
    csat: Csat | None
    customer_since: CustomerSince | None


class ScoreChanged(_EventWithSegments):
    """A customer's latest answer is in another category than the one before it."""

    model_config = ConfigDict(title="Score changed")
    type: ClassVar[str] = SCORE_CHANGED

    account_id: AccountId | None
    change: Change
    previous_score: Score
    score: Score
    previous_category: Category
    category: NotPassive
    previous_response_id: ResponseId
    previous_responded_at: Instant
    responded_at: Instant
    passive_since: Instant | None
    days_passive: Annotated[float, Field(ge=0)] | None
    detected_event_id: EventId | None
    comment: Comment | None
    language: Language | None


class PassiveWithdrawn(_Event):
    """A detection no longer stands: its response was corrected, or the customer erased."""

    model_config = ConfigDict(title="Passive withdrawn")
    type: ClassVar[str] = PASSIVE_WITHDRAWN

    withdrawn_event_id: EventId
    cause: Cause
    category: NotPassive | None


EVENT_MODELS: Final[dict[str, type[PassiveDetected] | type[ScoreChanged] | type[PassiveWithdrawn]]] = {
    PASSIVE_DETECTED: PassiveDetected,
    SCORE_CHANGED: ScoreChanged,
    PASSIVE_WITHDRAWN: PassiveWithdrawn,
}

NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:nps-streams")
_NAMESPACE_BYTES: Final = NAMESPACE.bytes
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The hex digit that holds RFC 9562's variant: its two high bits are 10."""


def event_id(event_type: str, survey_id: str, customer_id: str, response_id: str, revision: int | str) -> str:
    """Return the id of what happened at one revision of one response: the same inputs, the same id, for ever.

    A UUID of version 5 of the five joined by U+001F, which no identifier can hold. `response_id` and `revision` are the
    arriving record's; of an erasure, the latest response's id and `ERASED`.
    """
    name = f"{event_type}\x1f{survey_id}\x1f{customer_id}\x1f{response_id}\x1f{revision}"
    digest = sha1(_NAMESPACE_BYTES + name.encode(), usedforsecurity=False).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{_VARIANT[digest[16]]}{digest[17:20]}-{digest[20:32]}"


def data_schema(event_type: str) -> str:
    """Return the `$id` of the JSON Schema of an event's data."""
    return f"urn:nps-streams:schema:{event_type}"


_DATA_SCHEMAS: Final = {event_type: data_schema(event_type).encode() for event_type in EVENT_TYPES}


def cloud_event_headers(
    event_type: str,
    id: str,  # noqa: A002
    source: str,
    time_us: int,
    subject: str,
) -> tuple[tuple[str, bytes], ...]:
    """Return the record headers of an event; `subject` is the customer, `time_us` µs since the epoch."""
    customer = subject.encode()
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", event_type.encode()),
        ("ce_time", format_rfc3339(time_us).encode()),
        ("ce_subject", customer),
        ("ce_partitionkey", customer),
        ("ce_dataschema", _DATA_SCHEMAS[event_type]),
        ("content-type", b"application/json"),
    )
