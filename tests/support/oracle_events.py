"""The oracle's journeys and events: what is remembered of a response, and the three event types, field by field."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.support.oracle_reading import Response, time_text

DAY_US = 86_400_000_000
DETECTED, CHANGED, WITHDRAWN = "nps.passive-detected.v1", "nps.score-changed.v1", "nps.passive-withdrawn.v1"
OVERDUE = "nps.follow-up-overdue.v1"

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:nps-streams")


class Row(NamedTuple):
    """Where a response is counted."""

    survey: str
    segment: str
    day: str  # YYYY-MM-DD, UTC
    hour: int


@dataclass(slots=True)
class Kept:
    """A response as remembered, with the rows it was counted in (none: it was too old to be counted)."""

    response: Response
    rows: list[Row]
    answered: bool = False
    of_ended_case: bool = False

    @property
    def place(self) -> tuple[int, str]:
        """Its place in the order of a history."""
        return self.response.responded_us, self.response.response_id


@dataclass(slots=True)
class Detection:
    """The open detection, as it was published."""

    event_id: str
    responded_us: int


@dataclass(slots=True)
class Journey:
    """One customer's responses to one survey, in order, and the open detection."""

    history: list[Kept] = field(default_factory=list)
    detection: Detection | None = None
    case: Any = None  # an oracle_cases.Case, while it is open
    ended: list[Any] = field(default_factory=list)  # the newest 8 that have ended
    known: dict[str, int] = field(default_factory=dict)  # the newest 32 follow-ups that belong to no open case

    def remember(self, follow_up_id: str, revision: int) -> None:
        self.known.pop(follow_up_id, None)
        self.known[follow_up_id] = revision
        self.known = dict(list(self.known.items())[-32:])

    def passive_run(self) -> list[Kept]:
        run: list[Kept] = []
        for kept in self.history:
            run = [*run, kept] if category(kept.response.score) == "passive" else []
        return run


class OracleEvent(NamedTuple):
    type: str
    key: bytes
    headers: dict[str, str]  # without ce_dataschema, which no rule fixes
    data: dict[str, Any]
    label: str  # trigger, change or cause


def category(score: int) -> str:
    if score <= 6:
        return "detractor"
    return "passive" if score <= 8 else "promoter"


def passive_since(history: list[Kept]) -> int:
    """When the unbroken passive run that ends this history began."""
    since = history[-1].response.responded_us
    for kept in reversed(history):
        if category(kept.response.score) != "passive":
            break
        since = kept.response.responded_us
    return since


def event_id(event_type: str, survey: str, customer: str, response_id: str, revision: int | str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join([event_type, survey, customer, response_id, str(revision)])))


def detected(
    source: str,
    journey: Journey,
    previous: Response | None,
    arriving: Response,
    trigger: str,
    record_time_us: int,
    of_case: dict[str, Any],
) -> OracleEvent:
    """`journey` is as it is after the record; `previous` is the latest response before it."""
    latest = journey.history[-1].response
    data = {
        "account_id": latest.account_id,
        "score": latest.score,
        "near_promoter": latest.score == 8,
        "trigger": trigger,
        "previous_score": previous.score if previous else None,
        "previous_response_id": previous.response_id if previous else None,
        "passive_since": time_text(passive_since(journey.history)),
        "responded_at": time_text(latest.responded_us),
        "detected_at": time_text(record_time_us),
        "reason": latest.reason,
        "comment": latest.comment,
        "language": latest.language,
        "csat": latest.csat,
        "customer_since": latest.customer_since,
        **of_case,
        **_segment_fields(latest),
    }
    return _event(source, DETECTED, latest, arriving.response_id, arriving.revision, data, trigger)


def changed(
    source: str,
    before: list[Kept],
    response: Response,
    change: str,
    closed: Detection | None,
    of_case: dict[str, Any],
) -> OracleEvent:
    """`before` is the history before this response came, its oldest still in it."""
    previous = before[-1].response
    since = passive_since(before) if category(previous.score) == "passive" else None
    data = {
        "account_id": response.account_id,
        "change": change,
        "previous_score": previous.score,
        "score": response.score,
        "previous_category": category(previous.score),
        "category": category(response.score),
        "previous_response_id": previous.response_id,
        "previous_responded_at": time_text(previous.responded_us),
        "responded_at": time_text(response.responded_us),
        "passive_since": None if since is None else time_text(since),
        "days_passive": None if since is None else (response.responded_us - since) / DAY_US,
        "detected_event_id": closed.event_id if closed else None,
        "comment": response.comment,
        "language": response.language,
        **of_case,
        **_segment_fields(response),
    }
    return _event(source, CHANGED, response, response.response_id, response.revision, data, change)


def corrected(source: str, latest: Response, arriving: Response, closed: Detection) -> OracleEvent:
    """The withdrawal by an amendment; `latest` is the latest response after it."""
    data = {"withdrawn_event_id": closed.event_id, "cause": "corrected", "category": category(latest.score)}
    return _event(source, WITHDRAWN, latest, arriving.response_id, arriving.revision, data, "corrected")


def erased(source: str, latest: Response, closed: Detection) -> OracleEvent:
    """The withdrawal by an erasure; `latest` is the latest response before it."""
    data = {"withdrawn_event_id": closed.event_id, "cause": "erased", "category": None}
    return _event(source, WITHDRAWN, latest, latest.response_id, "erased", data, "erased")


def overdue(source: str, latest: Response, case: Any, now_us: int, action: str) -> OracleEvent:
    """`latest` is the journey's latest response; the event tells the rest of the case, as of `now_us`."""
    data = {
        "account_id": latest.account_id,
        "detected_event_id": case.detections[-1],
        "score": case.score,
        "near_promoter": case.score == 8,
        "opened_at": time_text(case.opened_us),
        "due_at": time_text(case.due_us),
        "hours_overdue": (now_us - case.due_us) / 3_600_000_000,
        "reason": None if case.reason == "unknown" else case.reason,
        "recommended_action": action,
        **{f"segment_{name}": value for name, value in case.segments.items()},
    }
    event = _event(source, OVERDUE, latest, *case.first, data, "overdue")
    return event._replace(headers={**event.headers, "ce_time": time_text(case.due_us)})


def _segment_fields(response: Response) -> dict[str, str]:
    return {f"segment_{name}": value for name, value in response.segments.items()}


def in_order(event: OracleEvent, offset: int) -> OracleEvent:
    """With what tells its place among the events of the other topics: the offset of the record that made it."""
    return event._replace(headers={**event.headers, "ce_sequence": f"{offset:019d}"})


def _event(
    source: str,
    event_type: str,
    latest: Response,
    named_response_id: str,
    named_revision: int | str,
    data: dict[str, Any],
    label: str,
) -> OracleEvent:
    customer = str(latest.customer_id)
    identifier = event_id(event_type, latest.survey_id, customer, named_response_id, named_revision)
    headers = {
        "ce_specversion": "1.0",
        "ce_id": identifier,
        "ce_source": source,
        "ce_type": event_type,
        "ce_time": time_text(latest.responded_us),
        "ce_subject": customer,
        "ce_partitionkey": customer,
        "content-type": "application/json",
    }
    shared = {
        "event_id": identifier,
        "customer_id": customer,
        "survey_id": latest.survey_id,
        "response_id": latest.response_id,
        "revision": latest.revision,
    }
    return OracleEvent(event_type, customer.encode(), headers, {**shared, **data}, label)
