"""Responses to start from: the smallest valid one, the fullest, and Hypothesis strategies of all valid ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import strategies as st

from schemas.response import Rejected, SurveyResponse, accept
from schemas.times import MAX_US, MIN_US, US_PER_DAY, format_rfc3339, parse_rfc3339

SMALLEST: dict[str, Any] = {
    "response_id": "r-1",
    "customer_id": "c-1",
    "survey_id": "relationship",
    "score": 8,
    "responded_at": "2026-11-22T09:30:00Z",
}
FULLEST: dict[str, Any] = {
    **SMALLEST,
    "revision": 2,
    "segments": {"country": "NO", "industry": "bank"},
    "comment": "It works.\nNothing more.",
    "language": "nb-NO",
    "reason": "expectations_met",
    "csat": 4,
    "account_id": "a-1",
    "customer_since": "2019-02-28",
}
KEY = b"c-1"
RESPONDED_AT_MS = parse_rfc3339(SMALLEST["responded_at"]) // 1000
"""A record time at which nothing above is from the future."""

YEAR_9999_MS = 253_402_300_800_000
"""A record time from which no instant is in the future."""

REASONS = ("expectations_met", "no_major_problems", "indifferent", "needs_more_time", "value_for_price")


def to_bytes(response: object) -> bytes:
    """JSON as a publisher writes it: UTF-8, nothing escaped that need not be."""
    return json.dumps(response, ensure_ascii=False).encode()


def with_member(member: str) -> bytes:
    """The smallest response with raw JSON text added as its last member."""
    return to_bytes(SMALLEST)[:-1] + b", " + member.encode("utf-8", "surrogatepass") + b"}"


def replaced(field: str, value: object) -> bytes:
    """The smallest response with one field given, or given otherwise."""
    return to_bytes({**SMALLEST, field: value})


def outcome(value: bytes, key: bytes | None = KEY, record_time_ms: int = YEAR_9999_MS) -> SurveyResponse | Rejected:
    """What becomes of a record."""
    try:
        return accept(key, value, record_time_ms)
    except Rejected as refusal:
        return refusal


def accepted(value: bytes, key: bytes | None = KEY, record_time_ms: int = YEAR_9999_MS) -> SurveyResponse:
    """The response that a record must be."""
    return accept(key, value, record_time_ms)


def fields_of(response: SurveyResponse) -> dict[str, object]:
    """Every field's value."""
    return {name: getattr(response, name) for name in SurveyResponse.model_fields}


def refused(value: bytes, key: bytes | None = KEY, record_time_ms: int = YEAR_9999_MS) -> Rejected:
    """The refusal that a record must meet."""
    with pytest.raises(Rejected) as refusal:
        accept(key, value, record_time_ms)
    return refusal.value


def text(lowest: int, highest: int) -> st.SearchStrategy[str]:
    """Any text that holds no control character."""
    return st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=lowest, max_size=highest)


instants_us = st.integers(MIN_US, MAX_US)
segment_names = st.from_regex(r"\A[a-z][a-z0-9_]{0,31}\Z").filter(lambda name: name != "all")


@st.composite
def offset_instants(draw: st.DrawFn) -> tuple[int, str]:
    """An instant in µs and one of the texts that name it: any offset, case, and length of fraction."""
    us = draw(st.integers(MIN_US + US_PER_DAY, MAX_US - US_PER_DAY))
    minutes = draw(st.integers(-(24 * 60 - 1), 24 * 60 - 1))
    local = format_rfc3339(us + minutes * 60_000_000)[:19]
    fraction = f"{us % 1_000_000:06}" + draw(st.text("0123456789", max_size=6))
    if us % 1_000_000 == 0:
        fraction = draw(st.sampled_from(["", fraction]))
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    if minutes == 0:
        zone = draw(st.sampled_from(["Z", "z", "+00:00", "-00:00"]))
    return us, local.replace("T", draw(st.sampled_from("Tt"))) + (f".{fraction}" if fraction else "") + zone


def _or_null(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


valid_responses: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "response_id": text(1, 128),
        "survey_id": text(1, 128),
        "score": st.integers(0, 10),
        "responded_at": st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    },
    optional={
        "customer_id": _or_null(text(1, 256)),
        "revision": st.integers(0, 2**53 - 1),
        "segments": st.dictionaries(segment_names, text(1, 64), max_size=8),
        "comment": _or_null(st.text(st.characters(codec="utf-8"), max_size=4000)),
        "language": _or_null(st.from_regex(r"\A[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8}){0,2}\Z")),
        "reason": _or_null(st.sampled_from(REASONS)),
        "csat": _or_null(st.integers(1, 5)),
        "account_id": _or_null(text(1, 128)),
        "customer_since": _or_null(st.dates().map(lambda day: day.isoformat())),
    },
)
