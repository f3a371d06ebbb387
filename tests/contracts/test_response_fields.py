"""The fields of a response: every rule of the contract, what is accepted and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.dead_letters import Reason
from schemas.response import RULES, SurveyResponse
from schemas.times import parse_rfc3339
from tests.contracts.responses import (
    FULLEST,
    REASONS,
    RESPONDED_AT_MS,
    SMALLEST,
    accepted,
    fields_of,
    refused,
    replaced,
    to_bytes,
    with_member,
)


def test_the_smallest_response_has_the_defaults() -> None:
    response = accepted(to_bytes(SMALLEST))
    assert SurveyResponse(**fields_of(response)) == SurveyResponse(
        response_id="r-1",
        customer_id="c-1",
        survey_id="relationship",
        score=8,
        responded_at=parse_rfc3339("2026-11-22T09:30:00Z"),
        revision=0,
        segments={},
        comment=None,
        language=None,
        reason=None,
        csat=None,
        account_id=None,
        customer_since=None,
    )


def test_the_fullest_response_is_read_whole_and_written_back() -> None:
    response = accepted(to_bytes(FULLEST))
    assert json.loads(SurveyResponse(**fields_of(response)).model_dump_json()) == FULLEST
    assert response.responded_at == RESPONDED_AT_MS * 1000


def test_defaults_are_not_shared() -> None:
    assert SurveyResponse(**SMALLEST).segments is not SurveyResponse(**SMALLEST).segments


ACCEPTED: dict[str, tuple[Any, ...]] = {
    "response_id": ("x", "x" * 128, "😀" * 128, " padded ", "e\u0301", "\u200b", "\u00a0", "\ufeff", "null"),
    "survey_id": ("x", "x" * 128, "😀" * 128, "\u2028"),
    "score": tuple(range(11)),
    "revision": (0, 1, 2**53 - 1),
    "segments": (
        {},
        {"a": "x"},
        {"a" * 32: "😀" * 64},
        {"a1_": "x", "al": "x", "alla": "x", "all_": "x", "a1l": "x", "ball": "x", "z0": " ", "aal": "x"},
    ),
    "comment": (None, "", "x" * 4000, "😀" * 4000, "tab\tnewline\nnull\0bell\u0007\u0085"),
    "language": (None, "n", "nb-NO", "abcdefgh-12345678", "x-" + "-".join(["a1b2c3d4"] * 3) + "-123456"),
    "reason": (None, *REASONS),
    "csat": (None, 1, 2, 3, 4, 5),
    "account_id": (None, "x", "x" * 128),
    "customer_since": (None, "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31", "2026-04-30"),
    "unknown": (None, 1.5, {"deep": [{}]}, "\u0001"),
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param(field, value, id=f"{field}-{at}")
        for field, values in ACCEPTED.items()
        for at, value in enumerate(values)
    ],
)
def test_accepts(field: str, value: object) -> None:
    record = {**SMALLEST, field: value}
    read = fields_of(accepted(to_bytes(record)))
    if field in SurveyResponse.model_fields:
        assert json.loads(SurveyResponse(**read).model_dump_json())[field] == value
    assert fields_of(accepted(json.dumps(record).encode())) == read, "escaped or raw is the same text"


CONTROLS = [chr(code) for code in (*range(0x20), 0x7F, 0x80, 0x85, 0x9F)]
NO_TEXT: tuple[Any, ...] = (1, True, 1.5, [], {}, ["x"])

REFUSED: dict[str, tuple[Any, ...]] = {
    "response_id": (None, "", "x" * 129, "😀" * 129, *NO_TEXT, *(f"x{control}" for control in CONTROLS)),
    "customer_id": ("", "x" * 257, *NO_TEXT, *(f"{control}x" for control in CONTROLS)),
    "survey_id": (None, "", "x" * 129, *NO_TEXT, *(f"x{control}x" for control in CONTROLS)),
    "score": (None, -1, 11, 10**30, -(10**30), True, False, 8.0, 8.5, "8", "", [], {}),
    "responded_at": (
        None,
        "",
        0,
        1_763_803_800,
        1_763_803_800.5,
        "1763803800",
        True,
        "2026-11-22",
        "2026-11-22T09:30:00",
        "2026-11-22T09:30Z",
        "2026-11-22 09:30:00Z",
        "2026-11-22T09:30:60Z",
        "2026-11-22T24:00:00Z",
        "2026-02-30T09:30:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ),
    "revision": (None, -1, 2**53, 10**30, 1.0, True, "1", []),
    "segments": (
        None,
        [],
        "x",
        1,
        {f"a{n}": "x" for n in range(9)},
        {"": "x"},
        {"all": "x"},
        {"A": "x"},
        {"1a": "x"},
        {"_a": "x"},
        {"a-b": "x"},
        {"a b": "x"},
        {"å": "x"},
        {"a" * 33: "x"},
        {"a\n": "x"},
        {"a": ""},
        {"a": "x" * 65},
        {"a": None},
        {"a": 1},
        {"a": True},
        {"a": ["x"]},
        *({"a": f"x{control}"} for control in CONTROLS),
    ),
    "comment": ("x" * 4001, "😀" * 4001, *NO_TEXT),
    "language": (
        "",
        "nb_NO",
        "nb-",
        "-nb",
        "nb--NO",
        "abcdefghi",
        "nb-123456789",
        "1b",
        "nb ",
        "nb\n",
        "å",
        "x" + "-1" * 18,
        "x-" + "-".join(["a1b2c3d4"] * 3) + "-1234567",  # 36
        *NO_TEXT,
    ),
    "reason": ("", "price", "Indifferent", "indifferent ", *NO_TEXT),
    "csat": (0, 6, -1, 4.0, 4.5, "4", True, [], {}),
    "account_id": ("", "x" * 129, *NO_TEXT, *(f"x{control}" for control in CONTROLS)),
    "customer_since": (
        "",
        "2026-02-29",
        "1900-02-29",
        "2026-04-31",
        "2026-13-01",
        "2026-00-01",
        "2026-01-00",
        "2026-01-32",
        "0000-01-01",
        "0000-02-29",
        "2026-1-01",
        "20260101",
        "2026-01-01T00:00:00Z",
        "2026-01-01Z",
        "2026-01-01 ",
        "2026-01-01\n",
        "\uff12\uff10\uff12\uff16-01-01",
        "1763803800",
        *NO_TEXT,
    ),
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param(field, value, id=f"{field}-{at}")
        for field, values in REFUSED.items()
        for at, value in enumerate(values)
    ],
)
def test_refuses_and_names_the_field(field: str, value: object) -> None:
    refusal = refused(replaced(field, value))
    assert refusal.reason is Reason.INVALID_RESPONSE
    assert refusal.field == field
    assert refusal.message.startswith(field)


@pytest.mark.parametrize("field", ["response_id", "survey_id", "score", "responded_at"])
def test_refuses_a_response_without_a_required_field(field: str) -> None:
    refusal = refused(to_bytes({name: value for name, value in SMALLEST.items() if name != field}))
    assert (refusal.reason, refusal.field) == (Reason.INVALID_RESPONSE, field)
    assert refusal.message == f"{field} is required: {RULES[field]}"


@pytest.mark.parametrize("number", ["8.0", "8e0", "8E0", "80e-1", "0.8e1", "1e999", "-1e999", "-0.0"])
def test_refuses_a_score_that_is_not_written_as_an_integer(number: str) -> None:
    assert refused(with_member(f'"score": {number}')).field == "score"


def test_minus_zero_is_zero() -> None:
    assert accepted(with_member('"score": -0')).score == 0


@pytest.mark.parametrize("value", [b"[]", b"null", b"true", b"8", b'"x"', b"1.5", b"[{}]"])
def test_refuses_json_that_is_no_object(value: bytes) -> None:
    refusal = refused(value)
    assert (refusal.reason, refusal.field) == (Reason.INVALID_RESPONSE, None)
    assert refusal.message == "the value must be a JSON object"


def test_every_field_has_its_rule_in_words() -> None:
    assert RULES.keys() == SurveyResponse.model_fields.keys()
