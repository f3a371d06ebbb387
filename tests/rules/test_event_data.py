"""The data of each event: exactly the fields of its schema, in that order, as a CRM would read them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.events import EVENT_MODELS, PASSIVE_DETECTED, PASSIVE_WITHDRAWN, SCORE_CHANGED
from schemas.playbook import default_playbook
from schemas.times import parse_rfc3339
from streams.rules.decisions import Event, decide, erase
from tests.rules.build import ALL_CHANGES, CONFIG, CUSTOMER, NOW_MS, after, config, days_ago, feed, response

FULL: dict[str, Any] = {
    "account_id": "account-7",
    "reason": "value_for_price",
    "comment": "Ça va.",
    "language": "fr-CH",
    "csat": 4,
    "customer_since": "2015-10-01",
    "segments": {"country": "50%+", "all_plans": "yes", "customer": "x"},
    "revision": 2,
}
SEGMENT_FIELDS = {"segment_country": "50%+", "segment_all_plans": "yes", "segment_customer": "x"}


def published(**fields: Any) -> dict[str, Event]:
    """One event of each type, by type; the answers have these fields."""
    _, changed = feed(None, response("r1", 8, 2.5, **fields), response("r2", 9, 1, **fields))
    [detected] = feed(None, response("r1", 7, 2, **fields))
    assert detected.journey is not None
    [withdrawn] = erase(CUSTOMER, {"relational": detected.journey})
    return {event.type: event for event in (*detected.events, *changed.events, withdrawn)}


@pytest.mark.parametrize("fields", [{}, FULL])
@pytest.mark.parametrize("event_type", [PASSIVE_DETECTED, SCORE_CHANGED, PASSIVE_WITHDRAWN])
def test_fields_are_those_of_the_schema_in_its_order(event_type: str, fields: dict[str, Any]) -> None:
    event = published(**fields)[event_type]
    segments = SEGMENT_FIELDS if fields and event_type != PASSIVE_WITHDRAWN else {}
    assert list(event.data) == [*EVENT_MODELS[event_type].model_fields, *segments]
    assert segments.items() <= event.data.items()
    EVENT_MODELS[event_type].model_validate_json(msgspec.json.encode(event.data))


def test_a_detection_says_everything_of_the_answer() -> None:
    event = published(**FULL)[PASSIVE_DETECTED]
    assert event.data == {
        "event_id": event.id,
        "customer_id": CUSTOMER,
        "survey_id": "relational",
        "response_id": "r1",
        "revision": 2,
        "account_id": "account-7",
        "score": 7,
        "near_promoter": False,
        "trigger": "first_response",
        "previous_score": None,
        "previous_response_id": None,
        "passive_since": "2026-11-20T12:00:00Z",
        "responded_at": "2026-11-20T12:00:00Z",
        "detected_at": "2026-11-22T12:00:00Z",
        "reason": "value_for_price",
        "comment": "Ça va.",
        "language": "fr-CH",
        "csat": 4,
        "customer_since": "2015-10-01",
        "recommended_action": "tailored_offer",
        "follow_up_question": default_playbook().questions["value_for_price"]["en"],
        "follow_up_due_at": "2026-11-25T12:00:00Z",
        "case_opened_at": "2026-11-22T12:00:00Z",
        **SEGMENT_FIELDS,
    }


def test_a_change_says_both_ends() -> None:
    events = published(**FULL)
    event = events[SCORE_CHANGED]
    assert event.data == {
        "event_id": event.id,
        "customer_id": CUSTOMER,
        "survey_id": "relational",
        "response_id": "r2",
        "revision": 2,
        "account_id": "account-7",
        "change": "passive_to_promoter",
        "previous_score": 8,
        "score": 9,
        "previous_category": "passive",
        "category": "promoter",
        "previous_response_id": "r1",
        "previous_responded_at": "2026-11-20T00:00:00Z",
        "responded_at": "2026-11-21T12:00:00Z",
        "passive_since": "2026-11-20T00:00:00Z",
        "days_passive": 1.5,
        "detected_event_id": events[PASSIVE_DETECTED].id,  # the same record: the same id
        "comment": "Ça va.",  # its own, though the history keeps none of a promoter
        "language": "fr-CH",
        "case_opened_at": "2026-11-22T12:00:00Z",
        "first_contacted_at": None,
        "days_from_contact": None,
        "follow_up_id": None,
        "follow_up_action": None,
        "reason": "value_for_price",
        **SEGMENT_FIELDS,
    }


@pytest.mark.parametrize(("before", "score"), [(3, 9), (9, 3)])
def test_a_change_not_from_passive_has_no_passive_time(before: int, score: int) -> None:
    journey = after(response("r1", before, 2))
    [event] = decide(config(transitions=ALL_CHANGES), CUSTOMER, journey, response("r2", score), NOW_MS).events
    assert event.data["passive_since"] is event.data["days_passive"] is event.data["detected_event_id"] is None


@pytest.mark.parametrize("score", [7, 8])
def test_only_an_eight_is_near_promoter(score: int) -> None:
    [event] = decide(CONFIG, CUSTOMER, None, response("r1", score), NOW_MS).events
    assert event.data["near_promoter"] is (score == 8)


def test_times_keep_microseconds() -> None:
    at = days_ago(1) + 123_456
    [event] = decide(CONFIG, CUSTOMER, None, response("r1", 8, responded_at=at), NOW_MS + 7).events
    assert event.data["responded_at"] == "2026-11-21T12:00:00.123456Z"
    assert parse_rfc3339(str(event.data["detected_at"])) == (NOW_MS + 7) * 1000


def test_days_passive_are_a_fraction_never_rounded() -> None:
    first = response("r1", 8, responded_at=days_ago(2))
    [_, changed] = feed(None, first, response("r2", 9, responded_at=days_ago(2) + 1))
    assert changed.events[0].data["days_passive"] == 1 / 86_400_000_000


def test_conversion_in_the_same_instant_took_no_time() -> None:
    [_, changed] = feed(None, response("r1", 8, 1), response("r2", 9, 1))
    assert changed.events[0].data["days_passive"] == 0.0
