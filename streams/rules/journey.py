"""The state of one customer in one survey: the newest answers in order, the open detection, the case.

These structs are what the changelog stores (as arrays, so the order of the fields is part of the stored format; their
limits are checked when they are read back).
They hold no reference cycles, which lets them live outside the garbage collector (`gc=False`): it would walk all those
of a slice of records again and again.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from streams.rules.case import Case, Instant, Past
from streams.rules.category import CATEGORY_OF_SCORE, PASSIVE

if TYPE_CHECKING:
    from schemas.response import SurveyResponse

HISTORY_LIMIT_ANSWERS: Final = 32

ANSWERED: Final = 1
"""Mark of an answer about which somebody has contacted the customer."""
OF_ENDED_CASE: Final = 2
"""Mark of an answer of a passive run whose case has ended."""


class Answer(msgspec.Struct, array_like=True, gc=False):
    """One response as the history keeps it. Never changed once stored, except `counted_as` by whoever counts it."""

    response_id: str
    revision: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    score: Annotated[int, msgspec.Meta(ge=0, le=10)]
    responded_at: Instant
    segments: dict[str, str]
    csat: Annotated[int, msgspec.Meta(ge=1, le=5)] | None
    counted_as: bool | tuple[str, ...] = False
    """False: not counted. True: counted under exactly its own `name=value` segments. A tuple: counted under these."""
    account_id: str | None = None
    reason: str | None = None
    comment: str | None = None
    """Kept of passives only: an event about an older answer can only be a `passive-detected`."""
    language: str | None = None
    customer_since: str | None = None
    marks: Annotated[int, msgspec.Meta(ge=0, le=ANSWERED | OF_ENDED_CASE)] = 0
    """ANSWERED, OF_ENDED_CASE, or both. An edit keeps them."""


class Detection(msgspec.Struct, array_like=True, gc=False):
    """The open detection, as it was published; later edits of its response do not touch it."""

    event_id: str
    responded_at: Instant


class Journey(msgspec.Struct, array_like=True, gc=False):
    """One customer in one survey. A detection is open only while the latest answer is passive."""

    history: Annotated[list[Answer], msgspec.Meta(min_length=1, max_length=HISTORY_LIMIT_ANSWERS)]
    """Oldest first by (`responded_at`, `response_id`), 1 to 32."""
    detection: Detection | None = None
    case: Case | None = None
    """Open while the detection is; a journey of an older release may have a detection without it."""
    past: Past | None = None


class Remembered(msgspec.Struct, array_like=True, gc=False):
    """An anonymous response, kept for a while to recognise its repeats and amendments."""

    answer: Answer
    first_seen_ms: int
    """Record time of its first delivery."""


def answer_of(response: SurveyResponse) -> Answer:
    """The response as a history keeps it, not counted yet. Shares the response's `segments`."""
    score = response.score
    return Answer(
        response.response_id,
        response.revision,
        score,
        response.responded_at,
        response.segments,
        response.csat,
        False,
        response.account_id,
        response.reason,
        response.comment if CATEGORY_OF_SCORE[score] is PASSIVE else None,
        response.language,
        response.customer_since,
    )


def order(answer: Answer) -> tuple[int, str]:
    """The order of a history. Total: no two answers of a history have the same id."""
    return answer.responded_at, answer.response_id


def appended(history: Sequence[Answer], answer: Answer) -> list[Answer]:
    """A new history that ends with `answer`, newer than all. The oldest leaves when there would be more than 32."""
    result = [*history, answer]
    if len(result) > HISTORY_LIMIT_ANSWERS:
        del result[0]
    return result


def inserted(history: Sequence[Answer], answer: Answer) -> list[Answer]:
    """A new history with `answer` at its place. The oldest leaves when there would be more than 32."""
    result = list(history)
    insort(result, answer, key=order)
    if len(result) > HISTORY_LIMIT_ANSWERS:
        del result[0]
    return result


def replaced(history: Sequence[Answer], place: int, answer: Answer) -> list[Answer]:
    """A new history with `answer` instead of the one at index `place`, put where its own time belongs."""
    result = list(history)
    del result[place]
    insort(result, answer, key=order)
    return result


def passive_since(history: Sequence[Answer]) -> int | None:
    """`responded_at` (µs) of the first answer of the unbroken passive run that ends the history; None without one."""
    since = None
    for answer in reversed(history):
        if CATEGORY_OF_SCORE[answer.score] is not PASSIVE:
            break
        since = answer.responded_at
    return since


def passive_run(history: Sequence[Answer]) -> int:
    """How many answers the unbroken passive run has that ends the history."""
    length = 0
    for answer in reversed(history):
        if CATEGORY_OF_SCORE[answer.score] is not PASSIVE:
            break
        length += 1
    return length


def with_marks(answer: Answer, marks: int) -> Answer:
    """A copy with these marks."""
    return msgspec.structs.replace(answer, marks=marks)
