"""The state of cases: what a journey keeps of being followed up.

A case is open from the first published detection of a passive run until the customer is passive no more. These structs
are stored as part of a journey (as arrays, so the order of the fields is part of the stored format), outside of the
garbage collector like it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec

from schemas.fields import Action, ReasonGiven
from schemas.follow_up import CONTACTS, Status
from schemas.times import MAX_US, MIN_US

FOLLOW_UPS_MAX: Final = 32
"""Follow-ups of one case; and, of those that belong to no open case, how many are remembered by their ids."""
DETECTIONS_MAX: Final = 8
"""Detections that a case is known by, the newest."""
ENDED_CASES_MAX: Final = 8
"""Cases that a journey remembers after their end, the newest."""

Instant = Annotated[int, msgspec.Meta(ge=MIN_US, le=MAX_US)]
"""µs since the epoch, in the years 1 to 9999."""
StoredRevision = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
CaseReason = ReasonGiven | Literal["unknown"]
CaseAction = Action | Literal["none"]

NO_ACTION: Final = "none"


class KeptFollowUp(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A follow-up of the open case: what is needed to compute the case anew without it."""

    follow_up_id: str
    revision: StoredRevision
    status: Status
    action: Action
    reason: ReasonGiven | None
    occurred_at: Instant


class Case(msgspec.Struct, array_like=True, gc=False):
    """The open case. Never changed once stored, except `counted_as` by whoever counts it when it opens."""

    score: Annotated[int, msgspec.Meta(ge=7, le=8)]
    """At opening."""
    opened_at: Instant
    """Record time of the first detection."""
    due_at: Instant | None
    """Until when somebody is to contact the customer; None: no time was set when it opened."""
    first_response_id: str
    """Of the record that the first detection's id is made of …"""
    first_revision: StoredRevision
    """… and its revision."""
    detections: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=DETECTIONS_MAX)]
    """Their event ids, the newest last."""
    response_id: str
    """What the newest detection is about."""
    segments: dict[str, str]
    """At opening."""
    reason: CaseReason
    """As counted; it follows from the history and the follow-ups, as do the next two."""
    counted_as: bool | tuple[str, ...] = False
    """As of an `Answer`."""
    action: CaseAction = NO_ACTION
    first_contact: Instant | None = None
    overdue: bool = False
    """It has been said that nobody was in time."""
    follow_ups: Annotated[tuple[KeptFollowUp, ...], msgspec.Meta(max_length=FOLLOW_UPS_MAX)] = ()

    @property
    def awaits_contact_until(self) -> int | None:
        """When it will be overdue if nothing happens, µs; None: never."""
        return None if self.first_contact is not None or self.overdue else self.due_at

    @property
    def last_contact(self) -> KeptFollowUp | None:
        """The newest follow-up that is a contact."""
        return newest([each for each in self.follow_ups if each.status in CONTACTS])


class EndedCase(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is remembered of a case after its end, to know follow-ups that come too late."""

    detections: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=DETECTIONS_MAX)]
    response_id: str
    """What its newest detection was about."""


class Past(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a journey remembers beside the open case."""

    ended: Annotated[tuple[EndedCase, ...], msgspec.Meta(max_length=ENDED_CASES_MAX)]
    """Oldest first."""
    known: Annotated[dict[str, StoredRevision], msgspec.Meta(max_length=FOLLOW_UPS_MAX)]
    """Follow-ups of ended cases, or of none: id → revision, in the order in which they came."""


class CaseChange(msgspec.Struct, frozen=True, gc=False):
    """What a record did to a case: opened it (`before` is None), changed it, or ended it (`after` is None)."""

    before: Case | None
    after: Case | None
    end: str | None = None
    """How it ended: `converted`, `left`, `withdrawn` or `erased`."""
    took_us: int = 0
    """From its opening to its end, of one that converted."""


def newest(follow_ups: Sequence[KeptFollowUp]) -> KeptFollowUp | None:
    """The one that happened last; of several at once, the one with the highest id."""
    if len(follow_ups) == 1:  # as is usual
        return follow_ups[0]
    return max(follow_ups, key=lambda each: (each.occurred_at, each.follow_up_id), default=None)
