"""The events: exactly these fields in this order, ids that everybody can recompute, and CloudEvents headers."""

from __future__ import annotations

import json
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.events import (
    ERASED,
    EVENT_MODELS,
    EVENT_TYPES,
    FOLLOW_UP_OVERDUE,
    PASSIVE_DETECTED,
    PASSIVE_WITHDRAWN,
    SCORE_CHANGED,
    PassiveDetected,
    PassiveWithdrawn,
    ScoreChanged,
    cloud_event_headers,
    event_id,
)
from schemas.json_schema import json_schemas
from schemas.times import parse_rfc3339
from tests.contracts.responses import text

ID = "ae94a44c-8c11-5425-9b99-db58157377c7"
COMMON: dict[str, Any] = {
    "event_id": ID,
    "customer_id": "c-1",
    "survey_id": "relationship",
    "response_id": "r-2",
    "revision": 0,
}
DETECTED: dict[str, Any] = {
    **COMMON,
    "account_id": "a-1",
    "score": 8,
    "near_promoter": True,
    "trigger": "from_detractor",
    "previous_score": 3,
    "previous_response_id": "r-1",
    "passive_since": "2026-11-22T09:30:00Z",
    "responded_at": "2026-11-22T09:30:00Z",
    "detected_at": "2026-11-22T09:30:01.500000Z",
    "reason": "indifferent",
    "comment": "Fine.\n",
    "language": "en",
    "csat": 4,
    "customer_since": "2019-02-28",
    "recommended_action": "incentive",
    "follow_up_question": "What would you miss?",
    "follow_up_due_at": "2026-11-25T09:30:01.500000Z",
    "case_opened_at": "2026-11-22T09:30:01.500000Z",
    "segment_country": "NO",
}
CHANGED: dict[str, Any] = {
    **COMMON,
    "account_id": None,
    "change": "passive_to_promoter",
    "previous_score": 8,
    "score": 9,
    "previous_category": "passive",
    "category": "promoter",
    "previous_response_id": "r-1",
    "previous_responded_at": "2026-10-22T09:30:00Z",
    "responded_at": "2026-11-22T09:30:00Z",
    "passive_since": "2026-10-22T09:30:00Z",
    "days_passive": 31.25,
    "detected_event_id": ID,
    "comment": None,
    "language": None,
    "case_opened_at": "2026-10-22T09:30:01Z",
    "first_contacted_at": "2026-11-15T09:30:00Z",
    "days_from_contact": 7.0,
    "follow_up_id": "f-1",
    "follow_up_action": "tailored_offer",
    "reason": "value_for_price",
    "segment_country": "NO",
    "segment_industry": "bank",
}
WITHDRAWN: dict[str, Any] = {**COMMON, "withdrawn_event_id": ID, "cause": "corrected", "category": "promoter"}
OVERDUE: dict[str, Any] = {
    **COMMON,
    "account_id": "a-1",
    "detected_event_id": ID,
    "score": 7,
    "near_promoter": False,
    "opened_at": "2026-11-22T09:30:01Z",
    "due_at": "2026-11-25T09:30:01Z",
    "hours_overdue": 0.25,
    "reason": "indifferent",
    "recommended_action": "personal_follow_up",
    "segment_country": "NO",
}
EXAMPLES = {
    PASSIVE_DETECTED: DETECTED,
    SCORE_CHANGED: CHANGED,
    PASSIVE_WITHDRAWN: WITHDRAWN,
    FOLLOW_UP_OVERDUE: OVERDUE,
}

NULLABLE = {
    PASSIVE_DETECTED: {
        *("account_id", "previous_score", "previous_response_id"),
        *("reason", "comment", "language", "csat", "customer_since"),
        *("recommended_action", "follow_up_question", "follow_up_due_at", "case_opened_at"),
    },
    SCORE_CHANGED: {
        *("account_id", "passive_since", "days_passive", "detected_event_id", "comment", "language"),
        *("case_opened_at", "first_contacted_at", "days_from_contact", "follow_up_id", "follow_up_action", "reason"),
    },
    PASSIVE_WITHDRAWN: {"category"},
    FOLLOW_UP_OVERDUE: {"account_id", "reason"},
}


def fields(event_type: str) -> list[str]:
    return [name for name in EXAMPLES[event_type] if not name.startswith("segment_")]


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_fields_and_their_order(event_type: str) -> None:
    assert list(EVENT_MODELS[event_type].model_fields) == fields(event_type)
    assert EVENT_MODELS[event_type].type == event_type
    assert json_schemas()[event_type]["required"] == fields(event_type)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_an_event_is_read_and_written_back_byte_for_byte(event_type: str) -> None:
    wire = msgspec.json.encode(EXAMPLES[event_type])
    assert EVENT_MODELS[event_type].model_validate_json(wire).model_dump_json().encode() == wire


@pytest.mark.parametrize(("event_type", "field"), [(kind, name) for kind in EVENT_TYPES for name in fields(kind)])
def test_every_field_is_always_there_and_null_only_when_it_may_be_unknown(event_type: str, field: str) -> None:
    model = EVENT_MODELS[event_type]
    example = EXAMPLES[event_type]
    with pytest.raises(ValidationError):
        model.model_validate_json(json.dumps({name: value for name, value in example.items() if name != field}))
    without = json.dumps({**example, field: None})
    if field in NULLABLE[event_type]:
        model.model_validate_json(without)
    else:
        with pytest.raises(ValidationError):
            model.model_validate_json(without)


@pytest.mark.parametrize(
    "extra",
    [
        {"country": "NO"},
        {"segment_": "NO"},
        {"segment_all": "x"},
        {"segment_Country": "NO"},
        {"segment_country": None},
        {"segment_country": 1},
        {"segment_country": ""},
        {"segment_country": {"code": "NO"}},
        {"segments": {"country": "NO"}},
    ],
)
@pytest.mark.parametrize("event_type", [PASSIVE_DETECTED, SCORE_CHANGED])
def test_there_are_no_other_fields_than_segments(event_type: str, extra: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EVENT_MODELS[event_type].model_validate_json(json.dumps({**EXAMPLES[event_type], **extra}))


def test_a_withdrawal_has_no_segments() -> None:
    with pytest.raises(ValidationError):
        PassiveWithdrawn.model_validate_json(json.dumps({**WITHDRAWN, "segment_country": "NO"}))


@pytest.mark.parametrize(
    ("event_type", "field", "values"),
    [
        (PASSIVE_DETECTED, "score", (7, 8)),
        (
            PASSIVE_DETECTED,
            "trigger",
            ("first_response", "from_detractor", "from_promoter", "still_passive", "corrected"),
        ),
        (
            SCORE_CHANGED,
            "change",
            ("passive_to_promoter", "passive_to_detractor", "detractor_to_promoter", "promoter_to_detractor"),
        ),
        (SCORE_CHANGED, "previous_category", ("detractor", "passive", "promoter")),
        (SCORE_CHANGED, "category", ("detractor", "promoter")),
        (PASSIVE_WITHDRAWN, "cause", ("corrected", "erased")),
        (PASSIVE_WITHDRAWN, "category", ("detractor", "promoter", None)),
    ],
)
def test_words_and_scores_of_a_closed_set(event_type: str, field: str, values: tuple[object, ...]) -> None:
    model = EVENT_MODELS[event_type]
    for value in values:
        assert getattr(model.model_validate_json(json.dumps({**EXAMPLES[event_type], field: value})), field) == value
    for value in (6, 9, "passive_to_passive", "other", ""):
        with pytest.raises(ValidationError):
            model.model_validate_json(json.dumps({**EXAMPLES[event_type], field: value}))


def test_times_and_segments_in_python() -> None:
    detected = PassiveDetected.model_validate_json(json.dumps(DETECTED))
    assert detected.detected_at == parse_rfc3339("2026-11-22T09:30:01.5Z")
    assert detected.model_extra == {"segment_country": "NO"}
    assert PassiveDetected(**{**DETECTED, "responded_at": detected.responded_at}) == detected
    assert ScoreChanged.model_validate_json(json.dumps(CHANGED)).days_passive == 31.25


# --- ids ---


@settings(deadline=None, print_blob=True)
@given(st.sampled_from(EVENT_TYPES), text(1, 20), text(1, 20), text(1, 20), st.integers(0, 2**53 - 1) | st.just(ERASED))
def test_an_id_is_the_uuid_of_what_happened(
    kind: str, survey: str, customer: str, response: str, revision: int | str
) -> None:
    namespace = uuid5(NAMESPACE_URL, "urn:nps-streams")
    expected = uuid5(namespace, "\u001f".join([kind, survey, customer, response, str(revision)]))
    made = event_id(kind, survey, customer, response, revision)
    assert made == str(expected)
    assert UUID(made).version == 5
    PassiveWithdrawn.model_validate_json(json.dumps({**WITHDRAWN, "event_id": made}))


def test_ids_stay_what_they_are() -> None:
    assert event_id(PASSIVE_DETECTED, "relationship-2026", "customer-0001", "r-00012345", 0) == ID
    assert event_id(PASSIVE_WITHDRAWN, "s", "c", "r", ERASED) == "5e7fd23a-9cef-5353-9461-836e06fade8c"


@pytest.mark.parametrize(
    "id_", ["", ID.upper(), ID.replace("-", ""), f"{{{ID}}}", ID.replace("-5", "-4", 1), f"{ID}\n"]
)
def test_an_id_has_one_spelling(id_: str) -> None:
    with pytest.raises(ValidationError):
        PassiveWithdrawn.model_validate_json(json.dumps({**WITHDRAWN, "event_id": id_}))


# --- headers ---


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_headers_are_cloudevents_1_0_in_binary_mode(event_type: str) -> None:
    headers = cloud_event_headers(event_type, ID, "/nps", parse_rfc3339("2026-11-22T09:30:00Z"), "kunde-å", 41)
    assert headers == (
        ("ce_specversion", b"1.0"),
        ("ce_id", ID.encode()),
        ("ce_source", b"/nps"),
        ("ce_type", event_type.encode()),
        ("ce_time", b"2026-11-22T09:30:00Z"),
        ("ce_subject", "kunde-å".encode()),
        ("ce_partitionkey", "kunde-å".encode()),
        ("ce_sequence", b"0000000000000000041"),
        ("ce_dataschema", json_schemas()[event_type]["$id"].encode()),
        ("content-type", b"application/json"),
    )
