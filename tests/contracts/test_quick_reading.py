"""The quick reader reads what is usual, as the model would, and leaves everything else to the model."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from schemas.quick_reading import QuickResponses
from schemas.response import SurveyResponse
from schemas.times import parse_rfc3339
from tests.bench.workload import responses
from tests.contracts.responses import FULLEST, SMALLEST, fields_of, replaced, to_bytes, valid_responses, with_member
from tests.support.corpus import corpus

NOW_MS = 1_793_534_400_000
READER = QuickResponses(SurveyResponse)


def by_model(value: bytes) -> dict[str, object] | None:
    try:
        return fields_of(SurveyResponse.model_validate_json(value))
    except ValidationError:
        return None


def quickly(value: bytes) -> dict[str, object] | None:
    read = READER.read(value)
    return None if read is None else fields_of(read)


@pytest.mark.parametrize("value", [to_bytes(SMALLEST), *(made.value for made in responses("live", 20, 1, NOW_MS))])
def test_what_is_usual_is_read_quickly(value: bytes) -> None:
    assert quickly(value) == by_model(value) != None  # noqa: E711


@pytest.mark.parametrize(
    "value",
    [
        with_member('"unknown": 1'),
        replaced("comment", 'a "quoted" word'),
        replaced("comment", "\u00a7 1"),
        replaced("comment", "\x7f"),
        replaced("segments", {"plan": "\x85"}),
        with_member('"segments": {"a": "\x1f"}, "segments": {}'),
        with_member('"segments": nothing, "segments": {}'),
        to_bytes(SMALLEST)[:-1] + b', "segments": {"a": "\xed\xa0\x80"}, "segments": {}}',
        to_bytes(FULLEST)[:-1],
        replaced("score", 8.0),
        replaced("score", "8"),
        replaced("score", True),
        replaced("revision", 2**53),
        replaced("language", "nb_NO"),
        replaced("customer_since", "2025-02-29"),
        replaced("responded_at", "2026-02-29T00:00:00Z"),
        replaced("segments", {"all": "x"}),
        replaced("segments", {f"s{number}": "x" for number in range(9)}),
        replaced("customer_id", ""),
        replaced("reason", "none"),
        replaced("csat", 6),
    ],
)
def test_what_is_not_is_left_to_the_model(value: bytes) -> None:
    assert READER.read(value) is None


@settings(deadline=None, print_blob=True)
@given(valid_responses)
def test_valid_responses_are_read_alike(response: dict[str, Any]) -> None:
    value = to_bytes(response)
    read = quickly(value)
    assert read is None or read == by_model(value)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_read_that_the_model_would_not_read_alike(seed: int) -> None:
    for record in corpus(seed, 2000, NOW_MS):
        if record.value is not None and (read := quickly(record.value)) is not None:
            assert read == by_model(record.value), record.value


def test_responses_with_the_same_segments_share_them() -> None:
    segments = {"country": "NO", "plan": "gold"}
    first = READER.read(replaced("segments", segments))
    second = READER.read(to_bytes({**SMALLEST, "segments": segments, "score": 3}))
    assert first.segments is second.segments
    assert first.segments == segments


def test_long_texts_are_not_remembered() -> None:
    tracemalloc.start()
    try:
        for number in range(500):
            assert parse_rfc3339(f"2026-11-22T09:30:00.{number:06}{'0' * 60_000}Z") % 1_000_000 == number
            READER.read(replaced("segments", {"plan": f"{number}" + "x" * 60_000}))
        assert tracemalloc.get_traced_memory()[0] < 5_000_000
    finally:
        tracemalloc.stop()
