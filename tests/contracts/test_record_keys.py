"""The key that a record must have, by its value: the one under which a worker takes it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.follow_up import accept_follow_up, follow_up_key
from schemas.response import Rejected, accept, response_key
from tests.contracts.responses import SMALLEST, YEAR_9999_MS, text
from tests.contracts.test_follow_up import SMALLEST as FOLLOW_UP

IDS = text(1, 4).map(lambda id_: json.dumps(id_, ensure_ascii=False)) | st.sampled_from(
    ['"\\u00f8"', '"\\ud83d\\ude00"', '"\\ud83d"', "null", '""', "7", "NaN", '"\\u0000"', "[1]"]
)
ANYTHING = IDS | st.sampled_from(
    [
        "1" * 5_000,
        f"-{'1' * 5_000}.5",
        "[" * 60 + "]" * 60,
        "[" * 1_000 + "]" * 1_000,
        "Infinity",
        "-0",
        "{}",
        "1e999",
        "nope",
    ]
)
MEMBERS = st.lists(
    st.tuples(st.sampled_from(["customer_id", "response_id", "follow_up_id"]), IDS)
    | st.tuples(st.sampled_from(["x", "score", "customer_id"]), ANYTHING),
    max_size=5,
)


def written(record: dict[str, object], members: list[tuple[str, str]]) -> bytes:
    """The record with raw JSON members put before and behind its own."""
    own = [(name, json.dumps(value)) for name, value in record.items()]
    half = len(members) // 2
    pairs = (f'"{name}": {value}' for name, value in (*members[:half], *own, *members[half:]))
    return ("{" + ", ".join(pairs) + "}").encode()


def last_ones(value: bytes) -> dict[str, object]:
    """The members as Python's reader has them: of a repeated name the last one."""
    found: dict[str, object] = json.loads(value, parse_int=str)
    return found


@settings(deadline=None, print_blob=True, max_examples=400)
@given(MEMBERS)
def test_a_responses_key_is_the_one_under_which_it_is_taken(members: list[tuple[str, str]]) -> None:
    value = written(SMALLEST, members)
    try:
        key = response_key(value)
    except Rejected as refused:
        assert_refused_alike(accept, value, members, refused)
        return
    accept(key, value, YEAR_9999_MS)
    found = last_ones(value)
    owner = found["customer_id"] if found.get("customer_id") is not None else found["response_id"]
    assert key.decode() == owner


@settings(deadline=None, print_blob=True, max_examples=400)
@given(MEMBERS)
def test_a_follow_ups_key_is_the_one_under_which_it_is_taken(members: list[tuple[str, str]]) -> None:
    value = written(FOLLOW_UP, members)
    try:
        key = follow_up_key(value)
    except Rejected as refused:
        assert_refused_alike(accept_follow_up, value, members, refused)
        return
    accept_follow_up(key, value, YEAR_9999_MS)
    assert key.decode() == last_ones(value)["customer_id"]


def assert_refused_alike(
    door: Callable[[bytes, bytes, int], object], value: bytes, members: list[tuple[str, str]], refused: Rejected
) -> None:
    """Under no key would a worker take it, and it says the same of it."""
    for key in (b"", b"c-1", b"r-1", *(raw.strip('"').encode() for _, raw in members)):
        with pytest.raises(Rejected) as raised:
            door(key, value, YEAR_9999_MS)
        assert (raised.value.reason, raised.value.message) == (refused.reason, refused.message)


def test_a_number_of_any_length_in_a_field_that_nobody_knows_changes_nothing() -> None:
    assert response_key(written(SMALLEST, [("x", "1" * 5_000)])) == b"c-1"
    assert follow_up_key(written(FOLLOW_UP, [("x", "1" * 5_000)])) == b"c-1"
