"""Whatever others write to the topic of scores, a publisher knows what is to be sent, and nothing ends it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from schemas.keys import score_key
from streams.rules.windows import Window
from streams.scoreboard.published import has_responses, left_by_another
from streams.scoreboard.snapshot import Snapshot

WINDOWS = (Window("1d", 24),)
ONE = np.array([[[0, 0, 1, 0, 0, 0]]], dtype=np.int64)
SNAPSHOT = Snapshot(1_795_381_200_000_000, True, WINDOWS, [("s", "all")], ONE, ONE, np.ones(1, dtype=np.bool_))
LONG = "x" * 9_000


@pytest.mark.parametrize(
    "key",
    [
        score_key("", "all", "1d"),
        score_key("s" * 129, "all", "1d"),
        score_key("s\u0085", "all", "1d"),
        score_key("s", "", "1d"),
        score_key("s", "all", "7d"),
        b'["s", "all", "1d"]',
        b'["s","\\u0061ll","1d"]',
    ],
)
def test_what_no_row_is_called_is_deleted(key: bytes) -> None:
    before, gone = left_by_another(SNAPSHOT, {key})
    assert gone == [(key, None)]
    assert not before.any()


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"\xff",
        b"s",
        b"[]",
        b'["s","all"]',
        b'["s","all",1]',
        b'["\\ud800","all","1d"]',
        score_key("s", LONG, "1d"),
    ],
)
def test_what_is_no_row_at_all_is_let_be(key: bytes) -> None:
    before, gone = left_by_another(SNAPSHOT, {key})
    assert gone == []
    assert not before.any()


def test_a_row_of_what_is_gone_is_emptied_and_one_that_is_there_is_sent_anew() -> None:
    before, gone = left_by_another(SNAPSHOT, {score_key("gone", "all", "1d"), score_key("s", "all", "1d")})
    [(key, row)] = gone
    assert key == score_key("gone", "all", "1d")
    assert json.loads(row or b"")["responses"] == 0
    assert (before != ONE).any()


@pytest.mark.parametrize(
    ("value", "has"),
    [
        (None, False),
        (b'{"responses":0}', False),
        (b'{"responses":1}', True),
        *((value, True) for value in (b"", b"\xff", b"[]", b'{"responses":"0"}', b'{"responses":1e999}', b"[" * 9_999)),
        (b'{"a":' + b"[" * 99_999, True),
        (b'{"responses":0,"a":' + b"[" * 9_999 + b"]" * 9_999 + b"}", True),
    ],
)
def test_a_row_that_cannot_be_read_is_taken_to_have_responses(value: bytes | None, has: bool) -> None:
    assert has_responses(value) is has
