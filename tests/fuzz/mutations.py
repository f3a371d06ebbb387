"""Mutations of the `tables` corpus, which is dense in corner cases: of bytes, of JSON, of keys and times."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.support import corpus_fields as odd
from tests.support.corpus import corpus
from tests.support.oracle_reading import Record

NOW_MS = 1_795_381_200_000
SEEDS = 1_500
SHARE_UNCHANGED = 0.1

BITS = tuple(1 << bit for bit in range(8))
TOKENS: tuple[bytes, ...] = (
    *(
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\x00",
        b"\x7f",
        b"\x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xff",
    ),
    *(b"\xef\xbb\xbf", b"null", b"true", b"NaN", b"Infinity", b"-0", b"1e999", b"8.0", b"8e0", b"\\ud800", b"\\u0000"),
    *(
        b"9007199254740992",
        b"18446744073709551616",
        b"9" * 400,
        b"[" * 150,
        b'{"a":' * 150,
        b"\xf4\x8f\xbf\xbf",
        b" ",
        b"\n",
    ),
    *(b"2026-11-22T21:00:00Z", b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59.999999Z", b"Z", b"+00:00"),
    *(b'"score":8', b'"customer_id":null', b'"segments":{"country":"NO"}', b'"revision":1', b"all", b"__other__"),
)
VALUES: tuple[Any, ...] = (
    *(
        float("nan"),
        float("inf"),
        None,
        True,
        False,
        0,
        1,
        7,
        8,
        10,
        11,
        -1,
        2**53 - 1,
        2**53,
        -(2**63),
        2**64,
        8.0,
        1e308,
        0.1,
        "",
        "8",
        " ",
        "a",
    ),
    *(
        "\x00",
        "\x85",
        "\ud800",
        "é",
        "e\u0301",
        "x" * 64,
        "x" * 128,
        "x" * 129,
        "x" * 257,
        "y" * 4001,
        [],
        {},
        [[]],
        {"a": 1},
    ),
    *(
        "2026-11-22T20:00:00Z",
        "2026-11-22T20:00:00",
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "all",
        "indifferent",
    ),
    *(value for _, value in odd.INVALID_FIELDS if value is not odd.ABSENT),
)
FIELDS = (
    *(
        "response_id",
        "customer_id",
        "survey_id",
        "score",
        "responded_at",
        "revision",
        "segments",
        "comment",
        "language",
    ),
    *("reason", "csat", "account_id", "customer_since", "Score", "score ", "", "unknown", "\ud83d"),
)
ODD_NAMES = (*odd.SEGMENTS, "all", "Country", "", "a" * 33, "a-b", "é")
KEYS: tuple[bytes | None, ...] = (None, b"", b"\xff", b"nobody", b"\x00", b'["a",1]', b"x" * 70_000, b"\xed\xa0\x80")
TIMES_MS = (
    *(0, -1, 1, 2**63 - 1, -(2**63), 2**53, 253_402_300_799_999, 253_402_300_800_000, 253_402_387_200_000),
    *(-62_135_596_800_000, -62_135_596_800_001, -62_135_597_100_000, 2**32 * 86_400_000, NOW_MS, NOW_MS - 86_400_000),
)


class Mutations:
    """An endless stream of records, the same for a seed. Offsets count up from 0."""

    def __init__(self, seed: int, partitions: int = 1) -> None:
        self._rng = random.Random(f"fuzz {seed}")
        self._seeds = list(corpus(seed, SEEDS, NOW_MS, "tables", partitions))
        self._documents = [document for record in self._seeds if (document := _document(record.value))]
        self._offset = 0

    def begin_anew(self, seed: int) -> None:
        """Go on as this seed says, from the same records."""
        self._rng.seed(seed)

    def seed(self, number: int) -> Record:
        """One of the records that mutations begin with."""
        _, key, value, timestamp_ms, headers = self._seeds[number % len(self._seeds)]
        return Record(0, 0, key, value, timestamp_ms, headers)

    def record(self) -> Record:
        rng = self._rng
        number = int(rng.random() * len(self._seeds))
        _, key, value, timestamp_ms, headers = self._seeds[number]
        how = rng.random()
        if how < SHARE_UNCHANGED:
            pass
        elif how < 0.6:
            if value is not None:
                value = self.mutated(value)
        elif how < 0.97:
            key, value = self._restructured(self._documents[int(rng.random() * len(self._documents))])
        elif how < 0.99:
            value = rng.randbytes(rng.choice((0, 1, 5, 40, 300)))
        else:
            value = None
        how = rng.random()
        if how < 0.05:
            key = rng.choice(KEYS)
        elif how < 0.08 and key:
            key = self.mutated(key)
        if how > 0.99:
            timestamp_ms = rng.choice(TIMES_MS)
        offset, self._offset = self._offset, self._offset + 1
        return Record(0, offset, key, value, timestamp_ms, headers)

    def mutated(self, data: bytes) -> bytes:
        """One to four changes of bytes."""
        rng = self._rng
        changed = bytearray(data)
        for _ in range(1 + int(rng.random() ** 3 * 4)):
            at = int(rng.random() * (len(changed) + 1))
            how = int(rng.random() * 7)
            if how == 0 and at < len(changed):
                changed[at] ^= BITS[int(rng.random() * 8)]
            elif how == 1 and at < len(changed):
                changed[at] = int(rng.random() * 256)
            elif how == 2:
                del changed[at : at + 1 + int(rng.random() ** 4 * 40)]
            elif how == 3:
                changed[at:at] = TOKENS[int(rng.random() * len(TOKENS))]
            elif how == 4:
                token = TOKENS[int(rng.random() * len(TOKENS))]
                changed[at : at + len(token)] = token
            elif how == 5:
                other = self._seeds[int(rng.random() * len(self._seeds))].value or b""
                start = int(rng.random() * (len(other) + 1))
                changed[at:] = other[start : start + 400]
            else:
                del changed[at:]
        return bytes(changed)

    def _restructured(self, document: dict[str, Any]) -> tuple[bytes | None, bytes]:
        """One to three changes of a response's members; the key is that of whom it names, if it can be."""
        rng = self._rng
        members = list(document.items())
        for _ in range(1 + int(rng.random() ** 2 * 3)):
            at = int(rng.random() * len(members)) if members else 0
            how = int(rng.random() * 6)
            if how == 0 and members:
                del members[at]
            elif how == 1 and members:
                members[at] = (members[at][0], rng.choice(VALUES))
            elif how == 2:
                members.insert(at, (rng.choice(FIELDS), rng.choice(VALUES)))
            elif how == 3 and members:  # a name given twice
                members.append((members[at][0], rng.choice((members[at][1], rng.choice(VALUES)))))
            elif how == 4:
                members.append(
                    ("segments", {rng.choice(ODD_NAMES): rng.choice(VALUES) for _ in range(rng.randint(0, 9))})
                )
            else:
                rng.shuffle(members)
        found = dict(members)
        named = found.get("customer_id")
        if named is None:
            named = found.get("response_id")
        key = named.encode(errors="replace") if isinstance(named, str) else b"nobody"
        escaped = rng.random() < 0.3
        text = ",".join(f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=escaped)}" for name, value in members)
        return key, f"{{{text}}}".encode("utf-8", "surrogatepass")


def _document(value: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "score" in found else None
