"""The life of a case: a small state machine beside that of the journey.

Its state is whether a case is open. What happens to a journey moves it as `CASES` says; a follow-up never opens or ends
one. While it is open, its reason, action and first contact always follow from the history and from its follow-ups, and
are computed anew when either changes.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from schemas.follow_up import CONTACTS
from schemas.playbook import UNKNOWN
from schemas.times import MAX_US, MIN_US, US_PER_HOUR
from streams.rules.case import (
    DETECTIONS_MAX,
    ENDED_CASES_MAX,
    FOLLOW_UPS_MAX,
    NO_ACTION,
    Case,
    CaseChange,
    EndedCase,
    KeptFollowUp,
    Past,
    newest,
)
from streams.rules.case_counts import CONVERTED, ERASED, LEFT, WITHDRAWN
from streams.rules.category import CATEGORY_OF_SCORE, PASSIVE
from streams.rules.journey import OF_ENDED_CASE, Answer, passive_run, with_marks

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_SLA: Final = 0
DEFAULT_SLA_US: Final = 72 * US_PER_HOUR
NO_TIME_IS_TOO_LATE_US: Final = MAX_US - 87_600 * US_PER_HOUR
"""A case that opens by then is due in a year that can be written, whatever the setting is."""


class Happening(Enum):
    """What happens to a journey, as far as its case is concerned."""

    DETECTED = auto()
    """A passive-detected is published."""
    STAYED = auto()
    """The latest answer was and is passive, and nothing is published."""
    PROMOTED = auto()
    """The latest answer is a promoter's, and was not edited into it."""
    DROPPED = auto()
    """The latest answer is a detractor's, and was not edited into it."""
    CORRECTED = auto()
    """An edit made the latest answer not passive."""
    ERASED = auto()


class Becomes(Enum):
    """What becomes of the case."""

    OPENS = auto()
    RENEWED = auto()
    """It has one more detection."""
    STAYS = auto()
    ENDS = auto()
    NONE = auto()
    """There is none, and there will be none."""


class Row(NamedTuple):
    """A row of the table: is a case open, what happens, what becomes of it, and how it ends."""

    open: bool
    happening: Happening
    becomes: Becomes
    end: str | None = None


# fmt: off
CASES: Final[tuple[Row, ...]] = (
    Row(False, Happening.DETECTED,  Becomes.OPENS),
    Row(False, Happening.STAYED,    Becomes.NONE),
    Row(False, Happening.PROMOTED,  Becomes.NONE),
    Row(False, Happening.DROPPED,   Becomes.NONE),
    Row(False, Happening.CORRECTED, Becomes.NONE),
    Row(False, Happening.ERASED,    Becomes.NONE),

    Row(True,  Happening.DETECTED,  Becomes.RENEWED),
    Row(True,  Happening.STAYED,    Becomes.STAYS),
    Row(True,  Happening.PROMOTED,  Becomes.ENDS,    CONVERTED),
    Row(True,  Happening.DROPPED,   Becomes.ENDS,    LEFT),
    Row(True,  Happening.CORRECTED, Becomes.ENDS,    WITHDRAWN),
    Row(True,  Happening.ERASED,    Becomes.ENDS,    ERASED),
)
# fmt: on

_ENDS: Final = {row.happening: row.end for row in CASES if row.becomes is Becomes.ENDS}


def opened(
    sla_us: int, event_id: str, response_id: str, revision: int, latest: Answer, history: Sequence[Answer], now_us: int
) -> Case:
    """A new case. `response_id` and `revision` are the arriving record's, `latest` is what is detected."""
    due_at = now_us + sla_us
    if not MIN_US <= now_us <= NO_TIME_IS_TOO_LATE_US:  # a record time is the publisher's
        now_us = min(max(now_us, MIN_US), MAX_US)
        due_at = min(now_us + sla_us, MAX_US)
    return Case(
        latest.score,
        now_us,
        due_at if sla_us != NO_SLA else None,
        response_id,
        revision,
        (event_id,),
        latest.response_id,
        latest.segments,
        reason_of(history, ()),  # type: ignore[arg-type]
    )


def renewed(case: Case, event_id: str, latest: Answer, history: Sequence[Answer]) -> Case:
    """The case after one more detection."""
    return msgspec.structs.replace(
        case,
        detections=(*case.detections, event_id)[-DETECTIONS_MAX:],
        response_id=latest.response_id,
        reason=reason_of(history, case.follow_ups),
    )


def stayed(case: Case, history: Sequence[Answer]) -> Case:
    """The case after its history changed; the same object where that makes no difference."""
    reason = reason_of(history, case.follow_ups)
    return case if reason == case.reason else msgspec.structs.replace(case, reason=reason)


def followed_up(case: Case, follow_ups: tuple[KeptFollowUp, ...], history: Sequence[Answer]) -> Case:
    """The case with these follow-ups, and what follows from them."""
    last = newest(follow_ups)
    first_contact = None
    for each in follow_ups:
        if each.status in CONTACTS and (first_contact is None or each.occurred_at < first_contact):
            first_contact = each.occurred_at
    return msgspec.structs.replace(
        case,
        follow_ups=follow_ups,
        action=NO_ACTION if last is None else last.action,
        first_contact=first_contact,
        reason=reason_of(history, follow_ups),
    )


def ended(case: Case, happening: Happening, now_us: int) -> CaseChange:
    """What ends it, and how."""
    end = _ENDS[happening]
    took_us = max(min(now_us, MAX_US) - case.opened_at, 0)  # a record time is the publisher's: sums must stay sums
    return CaseChange(case, None, end, took_us if end == CONVERTED else 0)


def after_the_end(case: Case, past: Past | None) -> Past:
    """What a journey remembers once the case has ended."""
    if past is None and not case.follow_ups:
        return Past((EndedCase(case.detections, case.response_id),), {})
    ended_before, known = ((), {}) if past is None else (past.ended, past.known)
    return Past(
        (*ended_before, EndedCase(case.detections, case.response_id))[-ENDED_CASES_MAX:],
        newest_known({**known, **{each.follow_up_id: each.revision for each in case.follow_ups}}),
    )


def newest_known(known: dict[str, int]) -> dict[str, int]:
    """Those that are remembered of these follow-ups."""
    return dict(list(known.items())[-FOLLOW_UPS_MAX:])


def mark_ended(history: list[Answer], before: Sequence[Answer], case: Case, own: Answer) -> None:
    """Mark, in a history that is being made, the answers of a case that has ended: of the passive run that ends the
    history `before`, and the one that the newest detection was about, which a late answer or an edit may have parted
    from it. `own` is the arriving answer, which stays the object that it is.
    """
    ids = {answer.response_id for answer in before[-passive_run(before) :]}
    ids.add(case.response_id)
    for place, answer in enumerate(history):
        if answer is own:
            if answer.response_id in ids:
                answer.marks |= OF_ENDED_CASE
        elif answer.response_id in ids:
            history[place] = with_marks(answer, answer.marks | OF_ENDED_CASE)


def unmark_run(history: list[Answer], own: Answer) -> None:
    """Take that mark, in a history that is being made, from the passive run that ends it: it has an open case now.
    `own` is the arriving answer, which stays the object that it is.
    """
    for place in range(len(history) - 1, -1, -1):
        answer = history[place]
        if CATEGORY_OF_SCORE[answer.score] is not PASSIVE:
            return
        if answer is own:
            answer.marks &= ~OF_ENDED_CASE
        elif answer.marks & OF_ENDED_CASE:
            history[place] = with_marks(answer, answer.marks & ~OF_ENDED_CASE)


def reason_of(history: Sequence[Answer], follow_ups: Sequence[KeptFollowUp]) -> str:
    """Why the customer is passive: as given in the newest answer of the run that has a reason, else as learned."""
    for answer in reversed(history):
        if CATEGORY_OF_SCORE[answer.score] is not PASSIVE:
            break
        if answer.reason is not None:
            return answer.reason
    if len(follow_ups) == 1:  # as is usual
        return follow_ups[0].reason or UNKNOWN
    learned = newest([each for each in follow_ups if each.reason is not None])
    return UNKNOWN if learned is None or learned.reason is None else learned.reason
