"""A follow-up: what its fields may be, and what makes a record of that topic a dead letter, in which order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from schemas.follow_up import FollowUp, accept_follow_up
from schemas.json_schema import FOLLOW_UP, json_schemas
from schemas.reading import Rejected
from schemas.times import parse_rfc3339

NOW_MS = parse_rfc3339("2026-11-22T09:30:00Z") // 1000
SMALLEST: dict[str, Any] = {
    "follow_up_id": "f-1",
    "customer_id": "c-1",
    "survey_id": "relationship",
    "status": "contacted",
    "action": "tailored_offer",
    "occurred_at": "2026-11-22T09:30:00Z",
}
FULLEST: dict[str, Any] = {
    **SMALLEST,
    "response_id": "r-1",
    "detected_event_id": "ae94a44c-8c11-5425-9b99-db58157377c7",
    "reason": "value_for_price",
    "revision": 2**53 - 1,
    "agent": "Kari\n",
    "note": "x" * 4000,
}
SCHEMA = Draft202012Validator(json_schemas()[FOLLOW_UP])

ACCEPTED: dict[str, tuple[object, ...]] = {
    "follow_up_id": ("x", "é" * 128, " f "),
    "customer_id": ("x", "y" * 256),
    "survey_id": ("x", "y" * 128),
    "response_id": (None, "x", "y" * 128),
    "detected_event_id": (None, "x", "y" * 128),
    "status": ("opened", "contacted", "resolved", "declined"),
    "action": (
        *("personal_follow_up", "tailored_offer", "product_improvement", "incentive", "follow_up_question", "other"),
    ),
    "reason": (*("expectations_met", "no_major_problems", "indifferent", "needs_more_time", "value_for_price", None),),
    "occurred_at": ("2026-11-22t09:35:00z", "2026-11-22T10:30:00.123456789+01:00", "0001-01-01T00:00:00Z"),
    "revision": (0, 1, 2**53 - 1),
    "agent": (None, "", "é" * 128, "\n"),
    "note": (None, "", "é" * 4000, "\u0000"),
    "later": ([], {}, "x"),
}
REFUSED: dict[str, tuple[object, ...]] = {
    "follow_up_id": ("", "x" * 129, None, 7, "a\u0085"),
    "customer_id": ("", "x" * 257, None, 7, "a\n"),
    "survey_id": ("", "x" * 129, None, 7, "a\t"),
    "response_id": ("", "x" * 129, 7, "a\u007f"),
    "detected_event_id": ("", "x" * 129, 7, "a\u0000"),
    "status": ("closed", "Contacted", "", None, 1),
    "action": ("none", "call", "", None),
    "reason": ("unknown", "", 1),
    "occurred_at": ("2026-11-22T09:30Z", "2026-11-22T09:30:60Z", "2026-11-22", "0000-01-01T00:00:00Z", None, 0),
    "revision": (-1, 2**53, "1", None, True, 1.5),
    "agent": ("x" * 129, 7),
    "note": ("x" * 4001, 7),
}


def encoded(follow_up: object) -> bytes:
    return json.dumps(follow_up).encode()


def accepted(follow_up: dict[str, Any]) -> FollowUp:
    return accept_follow_up(follow_up["customer_id"].encode(), encoded(follow_up), NOW_MS)


def refused(key: bytes | None, value: bytes | None, now_ms: int = NOW_MS) -> Rejected:
    with pytest.raises(Rejected) as raised:
        accept_follow_up(key, value, now_ms)
    return raised.value


def test_the_smallest_and_the_fullest() -> None:
    smallest = accepted(SMALLEST)
    assert (smallest.revision, smallest.response_id, smallest.detected_event_id, smallest.reason) == (
        0,
        None,
        None,
        None,
    )
    fullest = accepted(FULLEST)
    assert {name: getattr(fullest, name) for name in FULLEST} == {**FULLEST, "occurred_at": NOW_MS * 1000}
    SCHEMA.validate(SMALLEST)
    SCHEMA.validate(FULLEST)


@pytest.mark.parametrize(("field", "values"), ACCEPTED.items())
def test_what_a_field_may_be(field: str, values: tuple[object, ...]) -> None:
    for value in values:
        accepted({**SMALLEST, field: value})
        SCHEMA.validate({**SMALLEST, field: value})


@pytest.mark.parametrize(("field", "values"), REFUSED.items())
def test_what_it_may_not_be_is_said_without_repeating_it(field: str, values: tuple[object, ...]) -> None:
    for value in values:
        rejected = refused(b"c-1", encoded({**SMALLEST, field: value}))
        assert (rejected.reason, rejected.field) == ("invalid_response", field)
        assert rejected.message.startswith(f"{field} must be ")
        assert not (isinstance(value, str) and len(value) > 100 and value in rejected.message)


@pytest.mark.parametrize("field", SMALLEST)
def test_a_required_field_that_is_missing(field: str) -> None:
    rejected = refused(b"c-1", encoded({name: value for name, value in SMALLEST.items() if name != field}))
    assert (rejected.reason, rejected.field) == ("invalid_response", field)
    assert rejected.message.startswith(f"{field} is required: ")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"c-1", None, "invalid_json"),
        (b"c-1", b"", "invalid_json"),
        (b"c-1", b"\xff", "invalid_json"),
        (b"c-1", b'{"follow_up_id": NaN}', "invalid_json"),
        (b"c-1", b"\xef\xbb\xbf{}", "invalid_json"),
        (b"c-1", b"[]", "invalid_response"),
        (b"c-1", b"null", "invalid_response"),
        (None, encoded(SMALLEST), "key_mismatch"),
        (b"c-2", encoded(SMALLEST), "key_mismatch"),
        (b"c-1", encoded(SMALLEST) + b" " * 65_536, "too_large"),
        (None, b" " * 65_537, "too_large"),
        (None, encoded({**SMALLEST, "action": "call"}), "invalid_response"),
        (None, encoded({**SMALLEST, "occurred_at": "2026-11-22T09:35:00.000001Z"}), "key_mismatch"),
        (b"c-1", encoded({**SMALLEST, "occurred_at": "2026-11-22T09:35:00.000001Z"}), "from_future"),
    ],
)
def test_the_first_reason_that_holds(key: bytes | None, value: bytes | None, reason: str) -> None:
    assert refused(key, value).reason == reason


def test_five_minutes_ahead_is_not_too_far() -> None:
    accepted({**SMALLEST, "occurred_at": "2026-11-22T09:35:00Z"})


def test_the_last_of_a_repeated_name_counts() -> None:
    text = json.dumps(SMALLEST).replace('"action"', '"action": 7, "action"')
    assert accept_follow_up(b"c-1", text.encode(), NOW_MS).action == "tailored_offer"
