"""The events that a CRM reads: CloudEvents 1.0 in Kafka's binary mode, each a flat object of scalars.

Every field is always there, null when unknown; the fields' order is the order on the wire. Beside them all but a
withdrawal have `segment_<name>` for each segment of the response (of an overdue case, of when it opened), and nothing
else. A later release may add fields, which readers ignore; one that is there keeps its name, its type and its meaning.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Annotated, ClassVar, Final, Literal, TypeAlias
from uuid import NAMESPACE_URL, uuid5

from pydantic import BaseModel, ConfigDict, Field

from schemas.fields import (
    SEGMENT_NAME,
    AccountId,
    Action,
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
FOLLOW_UP_OVERDUE: Final = "nps.follow-up-overdue.v1"
EVENT_TYPES: Final = (PASSIVE_DETECTED, SCORE_CHANGED, PASSIVE_WITHDRAWN, FOLLOW_UP_OVERDUE)

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
    """What all begin with."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True)
    type: ClassVar[str]

    event_id: EventId
    """The same as the header `ce_id`. An event that is delivered again has the same id."""
    customer_id: CustomerId
    """The record's key."""
    survey_id: SurveyId
    """The survey whose journey this is about."""
    response_id: ResponseId
    """The customer's latest response in the survey; of an erasure, the latest before it."""
    revision: Revision
    """That response's revision."""


class _EventWithSegments(_Event):
    """An event of a response, which has the response's segments."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[SegmentField, SegmentValue] = Field(init=False)


class PassiveDetected(_EventWithSegments):
    """A customer's latest answer is a 7 or an 8: somebody to follow up."""

    model_config = ConfigDict(title="Passive detected")
    type: ClassVar[str] = PASSIVE_DETECTED

    account_id: AccountId | None
    """The account that the customer belongs to."""
    score: Annotated[int, Field(ge=7, le=8)]
    """The answer."""
    near_promoter: bool
    """Whether the score is 8."""
    trigger: Trigger
    """What made the customer passive: the first response, a change from detractor or promoter, still being so after the
    cooldown, or a corrected response."""
    previous_score: Score | None
    """The latest answer before; of a corrected one, the latest before the edit."""
    previous_response_id: ResponseId | None
    """The response of `previous_score`."""
    passive_since: Instant
    """When the customer answered the first of the unbroken run of 7s and 8s that this response ends."""
    responded_at: Instant
    """When the customer answered."""
    detected_at: Instant
    """The timestamp of the record that led to this event."""
    reason: ReasonGiven | None
    """Why the customer is passive, as given."""
    comment: Comment | None
    """What the customer wrote."""
    language: Language | None
    """The comment's language."""
    csat: Csat | None
    """Satisfaction, 1 to 5."""
    customer_since: CustomerSince | None
    """The date on which the customer became one."""
    recommended_action: Action | None
    """What to do, by the playbook: it goes by why the customer is passive, and by the score."""
    follow_up_question: Annotated[str, Field(max_length=500)] | None
    """What to ask, by the playbook, in the customer's language."""
    follow_up_due_at: Instant | None
    """Until when the customer is to be contacted; null when no time is set."""
    case_opened_at: Instant | None
    """The `detected_at` of the first detection of the case that this belongs to."""


class ScoreChanged(_EventWithSegments):
    """A customer's latest answer is in another category than the one before it."""

    model_config = ConfigDict(title="Score changed")
    type: ClassVar[str] = SCORE_CHANGED

    account_id: AccountId | None
    """The account that the customer belongs to."""
    change: Change
    """The categories before and after. All but `passive_to_promoter` are sent only where they are configured."""
    previous_score: Score
    """The latest answer before."""
    score: Score
    """The answer."""
    previous_category: Category
    """The category of `previous_score`."""
    category: NotPassive
    """The category of `score`."""
    previous_response_id: ResponseId
    """The response of `previous_score`."""
    previous_responded_at: Instant
    """When the customer answered before."""
    responded_at: Instant
    """When the customer answered."""
    passive_since: Instant | None
    """When the customer became passive; null when the previous answer was not passive."""
    days_passive: Annotated[float, Field(ge=0)] | None
    """Days, with fraction, from `passive_since` to `responded_at`; null when the previous answer was not passive."""
    detected_event_id: EventId | None
    """The detection that this closes, or null when none was open."""
    comment: Comment | None
    """What the customer wrote."""
    language: Language | None
    """The comment's language."""
    case_opened_at: Instant | None
    """When the case opened that this ends; null when there was none."""
    first_contacted_at: Instant | None
    """When somebody first spoke with the customer; null when nobody did."""
    days_from_contact: float | None
    """Days, with fraction, from `first_contacted_at` to `responded_at`; negative when the answer came first."""
    follow_up_id: ResponseId | None
    """The follow-up that was the last contact."""
    follow_up_action: Action | None
    """The action of the newest follow-up, whatever its status: it may be another one than `follow_up_id`."""
    reason: ReasonGiven | None
    """Why the customer was passive: as given, else as learned."""


class PassiveWithdrawn(_Event):
    """A detection no longer stands: its response was corrected, or the customer erased."""

    model_config = ConfigDict(title="Passive withdrawn")
    type: ClassVar[str] = PASSIVE_WITHDRAWN

    withdrawn_event_id: EventId
    """The detection that no longer stands."""
    cause: Cause
    """Whether a response was corrected or the customer erased."""
    category: NotPassive | None
    """The customer's category now; null after an erasure."""


class FollowUpOverdue(_EventWithSegments):
    """Nobody has contacted a passive customer in time."""

    model_config = ConfigDict(title="Follow-up overdue")
    type: ClassVar[str] = FOLLOW_UP_OVERDUE

    account_id: AccountId | None
    """The account that the customer belongs to."""
    detected_event_id: EventId
    """The case's newest detection."""
    score: Annotated[int, Field(ge=7, le=8)]
    """The answer with which the case opened."""
    near_promoter: bool
    """Whether that is an 8."""
    opened_at: Instant
    """When the case opened: the `detected_at` of its first detection."""
    due_at: Instant
    """Until when the customer was to be contacted."""
    hours_overdue: Annotated[float, Field(ge=0)]
    """Hours, with fraction, from `due_at` to when this was found."""
    reason: ReasonGiven | None
    """Why the customer is passive: as given, else as learned."""
    recommended_action: Action
    """What to do, by the playbook."""


EVENT_MODELS: Final[
    dict[str, type[PassiveDetected] | type[ScoreChanged] | type[PassiveWithdrawn] | type[FollowUpOverdue]]
] = {
    PASSIVE_DETECTED: PassiveDetected,
    SCORE_CHANGED: ScoreChanged,
    PASSIVE_WITHDRAWN: PassiveWithdrawn,
    FOLLOW_UP_OVERDUE: FollowUpOverdue,
}

NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:nps-streams")
_NAMESPACE_BYTES: Final = NAMESPACE.bytes
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The hex digit that holds RFC 9562's variant: its two high bits are 10."""


def event_id(event_type: str, survey_id: str, customer_id: str, response_id: str, revision: int | str) -> str:
    """Return the id of what happened at one revision of one response: the same inputs, the same id, for ever.

    A UUID of version 5 of the five joined by U+001F, which no identifier can hold. `response_id` and `revision` are the
    arriving record's; of an erasure, the latest response's id and `ERASED`; of a follow-up that is overdue, those that
    the case's first detection was made of.
    """
    name = f"{event_type}\x1f{survey_id}\x1f{customer_id}\x1f{response_id}\x1f{revision}"
    digest = sha1(_NAMESPACE_BYTES + name.encode(), usedforsecurity=False).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{_VARIANT[digest[16]]}{digest[17:20]}-{digest[20:32]}"


def schema_id(name: str) -> str:
    """Return the `$id` of a JSON Schema by its name, which is an event's type."""
    return f"urn:nps-streams:schema:{name}"


SEQUENCE_DIGITS: Final = 19
"""Of the highest offset: as text they sort as they count, as CloudEvents' extension Sequence wants it."""
_DATA_SCHEMAS: Final = {event_type: schema_id(event_type).encode() for event_type in EVENT_TYPES}
_ENCODED: Final = {event_type: event_type.encode() for event_type in EVENT_TYPES}


def cloud_event_headers(
    event_type: str,
    id: str,  # noqa: A002
    source: str,
    time_us: int,
    subject: str,
    sequence: int,
) -> tuple[tuple[str, bytes], ...]:
    """Return the record headers of an event; `subject` is the customer, `time_us` µs since the epoch, `sequence` the
    offset of the response that made it. Topics are written independently: only that tells the order across them.
    """
    customer = subject.encode()
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", _ENCODED[event_type]),
        ("ce_time", format_rfc3339(time_us).encode()),
        ("ce_subject", customer),
        ("ce_partitionkey", customer),
        ("ce_sequence", b"%0*d" % (SEQUENCE_DIGITS, sequence)),
        ("ce_dataschema", _DATA_SCHEMAS[event_type]),
        ("content-type", b"application/json"),
    )
