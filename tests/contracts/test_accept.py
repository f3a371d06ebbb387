"""The door: size, key and time of a record, the order of the reasons, null values, and anything at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dead_letters import Reason
from schemas.response import Rejected, SurveyResponse, erased_id
from schemas.times import parse_rfc3339
from tests.contracts.responses import (
    FULLEST,
    KEY,
    RESPONDED_AT_MS,
    SMALLEST,
    accepted,
    fields_of,
    outcome,
    refused,
    replaced,
    to_bytes,
    valid_responses,
    with_member,
)


def padded(size: int, response: dict[str, Any] = SMALLEST) -> bytes:
    return to_bytes(response).ljust(size)


def test_the_largest_value() -> None:
    assert accepted(padded(65_536)).score == 8
    refusal = refused(padded(65_537))
    assert (refusal.reason, refusal.field) == (Reason.TOO_LARGE, None)
    assert "65536" in refusal.message
    assert "65536" in refusal.message


@pytest.mark.parametrize("customer", ["c-1", "😀", " ", "e\u0301", "\u00e9", '"', "\\", "null", "x" * 256, "😀" * 256])
def test_the_key_is_the_customer_id_in_utf_8(customer: str) -> None:
    assert accepted(replaced("customer_id", customer), key=customer.encode()).customer_id == customer


@pytest.mark.parametrize("key", [None, b"", b"c-2", b"c-1 ", b"C-1", b"r-1", b'"c-1"', b"\xff", "c-1".encode("utf-16")])
def test_another_key_or_none_is_refused(key: bytes | None) -> None:
    refusal = refused(to_bytes(SMALLEST), key=key)
    assert (refusal.reason, refusal.field) == (Reason.KEY_MISMATCH, "key")
    assert "customer_id" in refusal.message


def test_no_unicode_normalisation_makes_a_key_fit() -> None:
    assert refused(replaced("customer_id", "\u00e9"), key="e\u0301".encode()).reason is Reason.KEY_MISMATCH


@pytest.mark.parametrize("anonymous", [{"customer_id": None}, {}])
def test_an_anonymous_response_has_its_own_id_as_the_key(anonymous: dict[str, None]) -> None:
    value = to_bytes({name: value for name, value in SMALLEST.items() if name != "customer_id"} | anonymous)
    assert accepted(value, key=b"r-1").customer_id is None
    for key in (b"c-1", b"", None):
        refusal = refused(value, key=key)
        assert refusal.reason is Reason.KEY_MISMATCH
        assert "response_id" in refusal.message


def test_five_minutes_ahead_is_the_future() -> None:
    five_minutes_before = RESPONDED_AT_MS - 5 * 60 * 1000
    assert accepted(to_bytes(SMALLEST), record_time_ms=five_minutes_before).score == 8
    refusal = refused(to_bytes(SMALLEST), record_time_ms=five_minutes_before - 1)
    assert (refusal.reason, refusal.field) == (Reason.FROM_FUTURE, "responded_at")
    just_after = replaced("responded_at", "2026-11-22T09:30:00.000001Z")
    assert refused(just_after, record_time_ms=five_minutes_before).reason is Reason.FROM_FUTURE


LONG_AGO_MS = 0
OTHER_KEY = b"c-2"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\xff" * 65_537, Reason.TOO_LARGE),
        (padded(65_537, {}), Reason.TOO_LARGE),
        (padded(65_537), Reason.TOO_LARGE),
        (b'{"score": "x"', Reason.INVALID_JSON),
        (b"{", Reason.INVALID_JSON),
        (with_member('"score": "x", "unknown": NaN'), Reason.INVALID_JSON),
        (b"{}", Reason.INVALID_RESPONSE),
        (replaced("score", 11), Reason.INVALID_RESPONSE),
        (to_bytes(SMALLEST), Reason.KEY_MISMATCH),
    ],
)
@pytest.mark.parametrize("key", [OTHER_KEY, None])
def test_the_first_reason_that_holds_is_given(value: bytes, reason: Reason, key: bytes | None) -> None:
    assert refused(value, key=key, record_time_ms=LONG_AGO_MS).reason is reason


def test_the_future_is_the_last_reason() -> None:
    assert refused(to_bytes(SMALLEST), record_time_ms=LONG_AGO_MS).reason is Reason.FROM_FUTURE


@pytest.mark.parametrize(("key", "erased"), [(b"c-1", "c-1"), ("😀".encode(), "😀"), (b"", None), (b"\xff", None)])
def test_a_null_value_erases_whom_its_key_names(key: bytes, erased: str | None) -> None:
    assert erased_id(key) == erased


def test_a_null_value_without_a_key_is_refused() -> None:
    with pytest.raises(Rejected) as refusal:
        erased_id(None)
    assert (refusal.value.reason, refusal.value.field) == (Reason.KEY_MISMATCH, "key")


SECRET = "Zanzibar-4711"


@pytest.mark.parametrize("field", [*SurveyResponse.model_fields, "unknown"])
def test_messages_hold_no_value_of_the_record(field: str) -> None:
    secrets = [f"{SECRET}\x7f" * 400, {SECRET: "x"}, {"a": [SECRET]}, [SECRET]]
    values = [replaced(field, secret) for secret in secrets]
    values += [with_member(f'"{field}": "{SECRET}'), with_member(f'"{SECRET}": {SECRET}'), to_bytes(SECRET)]
    for value in values:
        refusal = outcome(value, key=SECRET.encode())
        if not isinstance(refusal, Rejected):
            assert field == "unknown" or (field, value) == ("comment", values[0])
            continue
        assert SECRET not in refusal.message
        assert SECRET not in str(refusal.field)
        assert refusal.message.isascii()
        assert "\n" not in refusal.message
        assert refusal.__suppress_context__ or refusal.__context__ is None, "a traceback would show pydantic's"


@settings(deadline=None, print_blob=True)
@given(valid_responses)
def test_every_valid_response_is_accepted_as_it_is(response: dict[str, Any]) -> None:
    owner = response.get("customer_id") or response["response_id"]
    read = accepted(to_bytes(response), key=owner.encode())
    kept = fields_of(read)
    assert kept.pop("responded_at") == parse_rfc3339(response["responded_at"])
    assert {**kept, "responded_at": response["responded_at"]} == {
        "customer_id": None,
        "revision": 0,
        "segments": {},
        **dict.fromkeys(("comment", "language", "reason", "csat", "account_id", "customer_since")),
        **response,
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(deadline=None, print_blob=True, max_examples=300)
@given(
    key=st.none() | st.binary(max_size=8) | st.just(KEY),
    value=st.binary()
    | st.dictionaries(st.sampled_from([*SurveyResponse.model_fields, "unknown"]), json_values).map(
        lambda fields: json.dumps({**SMALLEST, **fields}).encode()
    )
    | st.tuples(st.integers(0, 200), st.binary(max_size=3)).map(
        lambda cut: to_bytes(FULLEST)[: cut[0]] + cut[1] + to_bytes(FULLEST)[cut[0] + len(cut[1]) :]
    ),
    record_time_ms=st.integers(-1, 2**62),
)
def test_nothing_but_a_refusal_is_ever_raised(key: bytes | None, value: bytes, record_time_ms: int) -> None:
    result = outcome(value, key, record_time_ms)
    if isinstance(result, Rejected):
        assert result.reason in Reason
        assert result.message
    else:
        assert key == (result.customer_id or result.response_id).encode()
        assert result.responded_at <= (record_time_ms + 5 * 60 * 1000) * 1000
