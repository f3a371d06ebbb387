"""What is JSON and what is not, and repeated names of which the last one wins."""

from __future__ import annotations

import json

import pytest

from schemas.dead_letters import Reason
from tests.contracts.responses import SMALLEST, accepted, refused, replaced, to_bytes, with_member

DEPTH_READ = 64
"""Nesting that every parser of ours must read."""
TOO_DEEP = 5_000


@pytest.mark.parametrize(
    ("member", "field", "value"),
    [
        ('"score": 3', "score", 3),
        ('"score": "eight", "score": 3', "score", 3),
        ('"\\u0073core": 3', "score", 3),
        ('"segments": {"a": 1, "a": "x"}', "segments", {"a": "x"}),
        ('"segments": {"a": "x", "a": "y"}', "segments", {"a": "y"}),
        ('"segments": {"a": "", "b": "y", "a": "x"}', "segments", {"a": "x", "b": "y"}),
        ('"segments": {' + ", ".join(f'"a": "{n}"' for n in range(30)) + "}", "segments", {"a": "29"}),
        ('"segments": 1, "segments": {"a": "x"}', "segments", {"a": "x"}),
        ('"segments": {"all": 1}, "segments": {}', "segments", {}),
        ('"segments": {"a": "x"}, "segments": {}', "segments", {}),
        ('"revision": null, "revision": 1', "revision", 1),
        ('"responded_at": 0, "responded_at": "1970-01-01T00:00:01Z"', "responded_at", 1_000_000),
        ('"customer_id": null, "customer_id": "c-1"', "customer_id", "c-1"),
        (", ".join(f'"k{n}": {n}' for n in range(40)) + ', "score": 1, "score": 2', "score", 2),
    ],
)
def test_the_last_of_a_repeated_name_wins(member: str, field: str, value: object) -> None:
    assert getattr(accepted(with_member(member)), field) == value


@pytest.mark.parametrize(
    "member", ['"score": "eight"', '"segments": {"a": "x", "a": 1}', '"segments": {}, "segments": 1']
)
def test_the_last_of_a_repeated_name_must_be_valid(member: str) -> None:
    assert refused(with_member(member)).reason is Reason.INVALID_RESPONSE


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"x",
        b"{",
        b"{}}",
        b"{} {}",
        b"{'score': 8}",
        b"{score: 8}",
        b'{"score": 08}',
        b'{"score": +8}',
        b'{"score": .8}',
        b'{"score": 8.}',
        b'{"score": 0x8}',
        b'{"score": 8,}',
        b'{"a": [1,]}',
        b'{"a" 1}',
        b'{"a": True}',
        b'{"a": "\\q"}',
        b'{"a": "\\u12"}',
        b'{"a": "\n"}',
        b'{"a": "\x00"}',
        b'{"a": 1} // no',
        b"\xef\xbb\xbf" + to_bytes(SMALLEST),
        b"\xff\xfe" + json.dumps(SMALLEST).encode("utf-16-le"),
        json.dumps(SMALLEST).encode("utf-16-be"),
        b"\x00",
        b'{"a": "\xff"}',
        b'{"a": "\xc0\x80"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xf4\x90\x80\x80"}',
        b'{"a": "\xe2\x82"}',
        b'{"\xff": 1}',
    ],
)
def test_what_is_not_json_in_utf_8(value: bytes) -> None:
    refusal = refused(value)
    assert (refusal.reason, refusal.field) == (Reason.INVALID_JSON, None)


@pytest.mark.parametrize(
    "member",
    [
        *(
            f'"{field}": {constant}'
            for field in ("score", "unknown")
            for constant in ("NaN", "Infinity", "-Infinity", "-NaN")
        ),
        '"unknown": [1, {"a": NaN}]',
        '"segments": {"a": Infinity}',
        '"score": NaN, "score": 8',
        '"comment": "NaN", "unknown": NaN',
        *(
            f'"{field}": "\\{escape}"'
            for field in ("comment", "unknown")
            for escape in ("ud800", "udc00", "udc00\\ud800", "ud800x")
        ),
        '"\\ud800": 1',
        '"segments": {"\\udfff": "x"}',
        '"score": [],',
        '"score": 8e',
    ],
)
def test_what_is_not_json_anywhere_in_the_value(member: str) -> None:
    assert refused(with_member(member)).reason is Reason.INVALID_JSON


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "Not a Number: NaN, Infinity"])
def test_words_of_a_comment_are_just_words(word: str) -> None:
    assert accepted(replaced("comment", word)).comment == word


def test_a_pair_of_escaped_surrogates_is_one_character() -> None:
    assert accepted(with_member('"comment": "\\ud83d\\ude00"')).comment == "😀"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_read_to_the_parser_s_depth(opening: str, closing: str) -> None:
    inner = DEPTH_READ - 1
    assert accepted(with_member(f'"unknown": {opening * inner}1{closing * inner}')).score == 8
    assert refused(with_member(f'"unknown": {opening * TOO_DEEP}1{closing * TOO_DEEP}')).reason is Reason.INVALID_JSON
    assert refused(with_member(f'"unknown": {opening * TOO_DEEP}')).reason is Reason.INVALID_JSON


@pytest.mark.parametrize("digits", [20, 400, 4_300, 4_301, 10_000, 60_000])
@pytest.mark.parametrize("form", ["{}", "-{}", "{}.5", "{}e5", "0.{}", "1e{}"])
def test_a_number_may_be_of_any_length(form: str, digits: int) -> None:
    number = form.format("9" * digits)
    assert accepted(with_member(f'"unknown": {number}')).score == 8
    assert refused(with_member(f'"score": {number}')).field == "score"


def test_a_number_of_any_length_does_not_hide_what_is_no_json() -> None:
    assert refused(with_member(f'"unknown": {"9" * 5_000}, "x": NaN')).reason is Reason.INVALID_JSON
    assert refused(with_member(f'"unknown": 0{"9" * 5_000}')).reason is Reason.INVALID_JSON


def test_whitespace_around_is_json() -> None:
    assert accepted(b" \t\r\n" + to_bytes(SMALLEST) + b" \t\r\n").score == 8


def test_a_repeated_name_is_found_beside_unknown_fields_of_any_kind() -> None:
    deep = "[" * (DEPTH_READ - 1) + "1e999" + "]" * (DEPTH_READ - 1)
    member = f'"segments": {{"a": 1, "a": "x"}}, "unknown": {deep}, "long": {"9" * 5_000}, "text": "NaN"'
    assert accepted(with_member(member)).segments == {"a": "x"}
