"""Keys of the compacted topics: one text per key, read back, and a prefix that is one id's alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.keys import (
    MAX_KEY_BYTES,
    CountsKey,
    JourneyKey,
    JourneyKind,
    ScoreKey,
    counts_key,
    erasure_prefix,
    journey_key,
    journey_kind,
    parse_counts_key,
    parse_journey_key,
    parse_score_key,
    score_key,
)
from schemas.times import MAX_US, MIN_US, US_PER_DAY
from streams.rules.segments import segment_names
from tests.contracts.responses import text

kinds: st.SearchStrategy[JourneyKind] = st.sampled_from(["customer", "response"])
ids = text(1, 20) | st.sampled_from(["a", "a]", 'a"', 'a",', "a\\", 'a","b', "å", "😀"])
days = st.integers(MIN_US // US_PER_DAY, MAX_US // US_PER_DAY)


@pytest.mark.parametrize(
    ("key", "bytes_"),
    [
        (journey_key("customer", "c-1", "s"), b'["customer","c-1","s"]'),
        (journey_key("response", "r-1", "s"), b'["response","r-1","s"]'),
        (
            journey_key("customer", 'a"b\\c/d', "Kundereise å 😀"),
            '["customer","a\\"b\\\\c/d","Kundereise å 😀"]'.encode(),
        ),
        (counts_key("s", "country=NO+industry=bank", 20_779), b'["s","country=NO+industry=bank","2026-11-22"]'),
        (counts_key("s", "all", -1), b'["s","all","1969-12-31"]'),
        (score_key("s", "all", "7d"), b'["s","all","7d"]'),
        (erasure_prefix("customer", "c-1"), b'["customer","c-1",'),
    ],
)
def test_keys_are_compact_json_in_raw_utf_8(key: bytes, bytes_: bytes) -> None:
    assert key == bytes_


@pytest.mark.parametrize(
    "key",
    [
        *(b"", b"\xff", b"{}", b'["customer","c"]', b'["customer","c",1]', b'["nobody","c","s"]'),
        *(b'["customer","c", "s"]', b'["customer","\\u0063","s"]', b'["customer","c","s"] '),
    ],
)
def test_a_journey_key_is_written_one_way(key: bytes) -> None:
    assert journey_kind(key) is None


@settings(deadline=None, print_blob=True)
@given(kinds, ids, ids)
def test_journey_keys_read_back(kind: JourneyKind, id_: str, survey: str) -> None:
    key = journey_key(kind, id_, survey)
    assert parse_journey_key(key) == JourneyKey(kind, id_, survey)
    assert journey_kind(key) == kind
    assert json.loads(key) == [kind, id_, survey]
    assert key.startswith(erasure_prefix(kind, id_))


@settings(deadline=None, print_blob=True)
@given(kinds, ids, kinds, ids, ids)
def test_a_prefix_holds_no_key_of_another_id(
    kind: JourneyKind, id_: str, other: JourneyKind, other_id: str, survey: str
) -> None:
    same = (kind, id_) == (other, other_id)
    assert journey_key(other, other_id, survey).startswith(erasure_prefix(kind, id_)) is same


@settings(deadline=None, print_blob=True)
@given(ids, ids, days)
def test_counts_keys_read_back(survey: str, segment: str, day: int) -> None:
    assert parse_counts_key(counts_key(survey, segment, day)) == CountsKey(survey, segment, day)


@settings(deadline=None, print_blob=True)
@given(ids, ids, ids)
def test_score_keys_read_back(survey: str, segment: str, window: str) -> None:
    assert parse_score_key(score_key(survey, segment, window)) == ScoreKey(survey, segment, window)


@pytest.mark.parametrize("parse", [parse_journey_key, parse_counts_key, parse_score_key])
@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (b"", "JSON array of strings"),
        (b"c-1", "JSON array of strings"),
        (b'["a","b","c"', "JSON array of strings"),
        (b'["a","b","\xff"]', "JSON array of strings"),
        (b'["a","b",3]', "JSON array of strings"),
        (b'{"a":"b"}', "JSON array of strings"),
        (b'["a","b"]', "3 parts, not 2"),
        (b'["a","b","c","d"]', "3 parts, not 4"),
    ],
)
def test_what_is_no_key_is_refused(parse: object, key: bytes, sentence: str) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match=sentence):
        parse(key)


def test_an_unknown_kind_of_journey_is_refused() -> None:
    with pytest.raises(ValueError, match="first part must be one of customer, response"):
        parse_journey_key(b'["account","a","s"]')


def test_a_counts_key_without_a_day_is_refused() -> None:
    with pytest.raises(ValueError, match="its day must be a date"):
        parse_counts_key(b'["s","all","7d"]')


def test_the_longest_keys_there_can_be_are_within_the_limit() -> None:
    """256 and 128 characters for ids, a cross of 8 segments with names of 32 and values of 64; escaped or 4 bytes."""
    for wide in ("😀", '"', "%", "+"):
        cross = "+".join(segment_names({f"{letter}{'n' * 31}": wide * 64 for letter in "abcdefgh"}))
        for key in (
            journey_key("response", wide * 256, wide * 128),
            counts_key(wide * 128, cross, 0),
            score_key(wide * 128, cross, "87840h"),
        ):
            assert len(key) <= MAX_KEY_BYTES
