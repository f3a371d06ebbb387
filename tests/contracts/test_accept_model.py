"""Reading a record equals the oracle's reading: the same responses, and the same reasons for dead letters."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.response import Rejected, accept
from tests.support.corpus import corpus
from tests.support.oracle_reading import DeadLetter, read_response

NOW_MS = 1_793_534_400_000
FIELDS = (
    *("response_id", "customer_id", "survey_id", "score", "revision", "segments", "comment", "language"),
    *("reason", "csat", "account_id", "customer_since"),
)
HEAD = '"response_id": "r", "customer_id": "c", "survey_id": "s", "responded_at": "2026-11-01T10:00:00Z"'


def both(key: bytes | None, value: bytes, record_time_ms: int) -> tuple[Any, Any]:
    """What the product and the oracle make of a record: its fields, or the reason."""
    try:
        response = accept(key, value, record_time_ms)
        ours: Any = {name: getattr(response, name) for name in FIELDS} | {"responded_us": response.responded_at}
    except Rejected as rejected:
        ours = str(rejected.reason)
    try:
        read = read_response(key, value, record_time_ms)
        theirs: Any = {name: getattr(read, name) for name in (*FIELDS, "responded_us")}
    except DeadLetter as letter:
        theirs = letter.reason
    return ours, theirs


@pytest.mark.parametrize("seed", range(4))
def test_records_of_every_kind_are_read_alike(seed: int) -> None:
    for record in corpus(seed, 3000, NOW_MS):
        if record.value is not None:
            ours, theirs = both(record.key, record.value, record.timestamp_ms)
            assert ours == theirs, (record.key, record.value[:500])


@pytest.mark.parametrize(
    "members",
    [
        *(f'"score": {written}' for written in ("-0", "0", "0e0", "8E0", "8e-1", "1e1000", "1" * 5000, "-1")),
        f'"score": 7, "x": {"1" * 5000}',
        f'"score": 7, "x": -{"1" * 300}.{"2" * 300}e-77777',
        f'"score": 7, "x": {"[" * 63}{"]" * 63}',
        f'"score": 7, "x": {"[" * 1000}{"]" * 1000}',
        '"score": 7, "x": "\x7f \\u0000 \\/\\b\\f"',
        '"score": 7, "x": "\x1f"',
        '"score": 7, "segments": {"a": 5, "a": "x"}',
        '"score": 7, "segments": {{{}}}'.format(", ".join(['"a": "x"'] * 9)),
        '"score": 7, "revision": 9007199254740991, "csat": null',
        '"score": 7, "csat": -0',
        '"score": 7, "score": "8"',
        '"score": "8", "score": 7',
        '"score": 7,',
    ],
    ids=lambda members: repr(members[:30]),
)
def test_edges_of_json_are_read_alike(members: str) -> None:
    for trailing in ("", " \r\n", "\x0c", "\xa0", "\x00"):
        ours, theirs = both(b"c", f"{{{HEAD}, {members}}}{trailing}".encode(), NOW_MS)
        assert ours == theirs
