"""The oracle's cases and follow-ups: every case that ever was is kept whole, and what is counted is counted from them.

Like the rest of the oracle written from the contract alone. Where the contract leaves a choice, it is that of
docs/decisions/0130-cases.md.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.oracle_events import Journey, Kept, category
from tests.support.oracle_reading import REASONS, DeadLetter, read_json, read_time, time_text
from tests.support.oracle_reading import _field as read_field
from tests.support.oracle_reading import _is_identifier as is_identifier
from tests.support.oracle_reading import _is_integer as is_integer

PLAYBOOK = tomllib.loads((Path(__file__).parents[2] / "schemas" / "playbook.toml").read_text("utf-8"))
ACTIONS = (
    *("personal_follow_up", "tailored_offer", "product_improvement"),
    *("incentive", "follow_up_question", "other"),
)
STATUSES = ("opened", "contacted", "resolved", "declined")
MAX_BYTES = 65_536
FUTURE_US = 300_000_000
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
WITHIN = (7, 30, 90, 180, 365)

CaseGroup = tuple[str, str, str, int, str, str]
"""Survey, segment, day (YYYY-MM-DD), score, reason, action."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A valid follow-up."""

    follow_up_id: str
    customer_id: str
    survey_id: str
    response_id: str | None
    detected_event_id: str | None
    status: str
    action: str
    reason: str | None
    occurred_us: int
    revision: int

    @property
    def is_contact(self) -> bool:
        return self.status in ("contacted", "resolved")


def read_follow_up(key: bytes | None, value: bytes | None, record_time_ms: int) -> FollowUp:
    """Apply the checks in their order of precedence; raise DeadLetter at the first that fails."""
    if value is None:
        raise DeadLetter("invalid_json")
    if len(value) > MAX_BYTES:
        raise DeadLetter("too_large")
    found = read_json(value)
    if not isinstance(found, dict):
        raise DeadLetter("invalid_response")
    follow_up = _fields(found)
    if key is None or key != follow_up.customer_id.encode():
        raise DeadLetter("key_mismatch")
    if follow_up.occurred_us - record_time_ms * 1000 > FUTURE_US:
        raise DeadLetter("from_future", "occurred_at")
    return follow_up


def _fields(found: dict[str, Any]) -> FollowUp:
    def text(longest: int) -> Any:
        return lambda value: isinstance(value, str) and len(value) <= longest

    follow_up = FollowUp(
        follow_up_id=read_field(found, "follow_up_id", lambda v: is_identifier(v, 128)),
        customer_id=read_field(found, "customer_id", lambda v: is_identifier(v, 256)),
        survey_id=read_field(found, "survey_id", lambda v: is_identifier(v, 128)),
        response_id=read_field(found, "response_id", lambda v: is_identifier(v, 128), default=None),
        detected_event_id=read_field(found, "detected_event_id", lambda v: is_identifier(v, 128), default=None),
        status=read_field(found, "status", lambda v: isinstance(v, str) and v in STATUSES),
        action=read_field(found, "action", lambda v: isinstance(v, str) and v in ACTIONS),
        reason=read_field(found, "reason", lambda v: isinstance(v, str) and v in REASONS, default=None),
        occurred_us=_occurred(found),
        revision=read_field(found, "revision", lambda v: is_integer(v, 0, 2**53 - 1), default=0),
    )
    read_field(found, "agent", text(128), default=None)
    read_field(found, "note", text(4000), default=None)
    return follow_up


def _occurred(found: dict[str, Any]) -> int:
    try:
        return read_time(found.get("occurred_at"))
    except DeadLetter:
        raise DeadLetter("invalid_response", "occurred_at") from None


@dataclass(slots=True)
class Case:
    """One case, open or ended."""

    survey: str
    score: int
    opened_us: int
    due_us: int | None
    first: tuple[str, int]
    segments: dict[str, str]
    rows: list[str]
    """Segment names that it is counted under; none: the day is not kept."""
    detections: list[str]
    response_id: str
    follow_ups: list[FollowUp] = field(default_factory=list)
    overdue: bool = False
    end: str | None = None
    took_us: int = 0
    given: str | None = None
    """The reason given in the newest answer of the run that has one."""

    def look_at(self, history: list[Kept]) -> None:
        """Take over the reason given, as the history is now."""
        self.given = None
        for kept in history:
            if category(kept.response.score) != "passive":
                self.given = None
            elif kept.response.reason is not None:
                self.given = kept.response.reason

    @property
    def _by_time(self) -> list[FollowUp]:
        return sorted(self.follow_ups, key=lambda each: (each.occurred_us, each.follow_up_id))

    @property
    def reason(self) -> str:
        if self.given is not None:
            return self.given
        learned = [each.reason for each in self._by_time if each.reason is not None]
        return learned[-1] if learned else "unknown"

    @property
    def action(self) -> str:
        return self._by_time[-1].action if self.follow_ups else "none"

    @property
    def first_contact_us(self) -> int | None:
        contacts = [each.occurred_us for each in self.follow_ups if each.is_contact]
        return min(contacts) if contacts else None

    @property
    def last_contact_id(self) -> str | None:
        contacts = [each.follow_up_id for each in self._by_time if each.is_contact]
        return contacts[-1] if contacts else None

    def is_due(self, now_us: int) -> bool:
        return (
            self.end is None
            and self.due_us is not None
            and self.due_us < now_us
            and not self.overdue
            and self.first_contact_us is None
        )


def case_counts(cases: Iterable[Case]) -> dict[CaseGroup, Counter[str]]:
    """Count every case anew."""
    counts: dict[CaseGroup, Counter[str]] = {}
    for case in cases:
        counted = Counter(cases=1)
        if case.first_contact_us is not None:
            counted["contacted"] += 1
            if case.due_us is not None and case.first_contact_us <= case.due_us:
                counted["contacted_in_time"] += 1
        if case.overdue:
            counted["overdue"] += 1
        if case.end is not None:
            counted[case.end] += 1
        if case.end == "converted":
            counted["ms_to_convert"] += case.took_us // 1000
            for days in WITHIN:
                if case.took_us <= days * DAY_US:
                    counted[f"converted_{days}d"] += 1  # the first that holds it
                    break
        day = time_text(case.opened_us)[:10]
        for segment in case.rows:
            group = (case.survey, segment, day, case.score, case.reason, case.action)
            counts.setdefault(group, Counter()).update(counted)
    return {group: +counter for group, counter in counts.items()}


def recommended_action(case: Case, score: int) -> str:
    return str(PLAYBOOK["actions"][case.reason][str(score)])


def follow_up_question(case: Case, language: str | None) -> str:
    questions = PLAYBOOK["questions"][case.reason]
    tag = (language or "en").lower()
    first = tag.split("-")[0]
    for each in (tag, first, "nb" if first in ("no", "nn") else "en"):
        if each in questions:
            return str(questions[each])
    return str(questions["en"])


def of_detection(case: Case, score: int, language: str | None) -> dict[str, Any]:
    """What a passive-detected says of its case."""
    return {
        "recommended_action": recommended_action(case, score),
        "follow_up_question": follow_up_question(case, language),
        "follow_up_due_at": None if case.due_us is None else time_text(case.due_us),
        "case_opened_at": time_text(case.opened_us),
    }


def of_change(case: Case | None, responded_us: int) -> dict[str, Any]:
    """What a score-changed says of the case that it ends."""
    contact_us = case.first_contact_us if case else None
    return {
        "case_opened_at": time_text(case.opened_us) if case else None,
        "first_contacted_at": None if contact_us is None else time_text(contact_us),
        "days_from_contact": None if contact_us is None else (responded_us - contact_us) / DAY_US,
        "follow_up_id": case.last_contact_id if case else None,
        "follow_up_action": case.action if case and case.action != "none" else None,
        "reason": case.reason if case and case.reason != "unknown" else None,
    }


def follow(journey: Journey, follow_up: FollowUp) -> tuple[str, Kept | None]:
    """The outcome of a follow-up on a journey that there is, and the response that is answered by it, if any."""
    case, ended = journey.case, [each for each in journey.ended if follow_up.detected_event_id in each.detections]
    by_id = {kept.response.response_id: kept for kept in journey.history}
    answer = by_id.get(follow_up.response_id or "")
    own = bool(case) and follow_up.detected_event_id in case.detections
    if own:
        target = "matched"
    elif (follow_up.detected_event_id is not None and ended) or (answer and answer.of_ended_case):
        target = "late"
    elif case and follow_up.detected_event_id is None:
        target = "matched"
    elif follow_up.response_id is None or answer:
        target = "feedback"
    else:
        target = "unknown_case"
    before = [each for each in case.follow_ups if each.follow_up_id == follow_up.follow_up_id] if case else []
    known = before[0].revision if before else journey.known.get(follow_up.follow_up_id)
    full = bool(case) and len(case.follow_ups) == 32
    if known is not None and follow_up.revision <= known:
        return "duplicate", None
    if known is None and target == "unknown_case":
        return target, None
    if known is None and target == "matched" and full:
        return "case_full", None
    forced = known is not None and not before and target == "matched" and (not own or full)
    if forced:
        target = "late"
    journey.known.pop(follow_up.follow_up_id, None)
    if before:
        place = case.follow_ups.index(before[0])
        case.follow_ups.remove(before[0])
        if target == "matched":
            case.follow_ups.insert(place, follow_up)
    elif target == "matched":
        case.follow_ups.append(follow_up)
    if target != "matched":
        journey.remember(follow_up.follow_up_id, follow_up.revision)
    if follow_up.response_id is not None:
        answered = answer
    elif target == "matched":
        answered = by_id.get(case.response_id)
    elif target == "late":
        answered = by_id.get(ended[0].response_id) if ended and not forced else None
    else:
        answered = journey.history[-1] if target == "feedback" else None
    if not follow_up.is_contact or (answered and answered.answered):
        answered = None
    return ("amended" if known is not None else target), answered
