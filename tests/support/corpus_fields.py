"""Odd but valid, and invalid, pieces of input: what the `tables` corpus deals out, one after the other."""

from __future__ import annotations

import json
from typing import Any

CUSTOMERS = (
    *(f"customer-{number}" for number in range(8)),
    "kunde-ø",
    "客户",
    'quote" and \\ backslash',
    "e\u0301",  # decomposed: another customer than the next
    "\u00e9",
    "joined\u200dname",
    " spaced ",
    "\U0001f600",
    "\uff5a",  # sorts before the emoji by code point, behind it by UTF-16 unit
    "null",
    '["a",1]',
    "\U0001f9ea" * 256,
)
SURVEYS = ("relational", "after-purchase", 'ämne "x" | \U0001f600')
SEGMENTS: dict[str, tuple[str, ...]] = {
    "country": ("NO", "SE", "DK", "50%", "a+b", "%2B", "__other__"),
    "industry": ("bank", "retail", "x=y", "all", "\U0001f9ea" * 64),
    "tier": ("gold", "silver"),
    "channel": ("mail", "app", "store"),
    "a": ("\u00a0", " "),
    "version_2": ("1", "2"),
    "z" * 32: ("long name",),
    "alla": ("not all",),
}
COMMENTS = (
    "Fine, nothing special.",
    "",
    "two\nlines\tand a \u0000 and \u007f",
    "\u2028 line separator",
    '"quoted" \\ \\u0041',
    "\U0001f9ea" * 4000,
)
LANGUAGES = ("en", "nb-NO", "x", "zh-Hant-TW-x-private1-a", "abcdefgh-12345678-12345678-12345678")

# (field, value) of an otherwise valid response; ABSENT leaves the field out.
ABSENT = object()
INVALID_FIELDS: tuple[tuple[str, Any], ...] = (
    *((name, ABSENT) for name in ("response_id", "survey_id", "score", "responded_at")),
    *((name, None) for name in ("response_id", "survey_id", "score", "responded_at", "revision", "segments")),
    *((name, "") for name in ("response_id", "survey_id", "customer_id", "account_id", "language", "reason")),
    *((name, "tab\there") for name in ("response_id", "survey_id", "customer_id", "account_id")),
    *((name, "c1 \u0085") for name in ("response_id", "survey_id", "customer_id", "account_id")),
    *((name, "x" * 129) for name in ("response_id", "survey_id", "account_id")),
    *((name, 12) for name in ("response_id", "survey_id", "customer_id", "account_id", "comment", "language")),
    ("customer_id", "x" * 257),
    *(("score", value) for value in (-1, 11, True, False, "8", 8.5, 8.0, 10**30, -(10**30), [8], {"is": 8})),
    *(("revision", value) for value in (-1, 2**53, 1.0, True, "1")),
    *(("csat", value) for value in (0, 6, 3.0, True, "3")),
    ("comment", "x" * 4001),
    *(("language", value) for value in ("en_US", "toolongtag", "en-", "en--US", "-en", "é", "a-123456789", "en\n")),
    ("language", "abcdefgh-12345678-12345678-123456789"),
    *(("reason", value) for value in ("Indifferent", "other", 1)),
    *(
        ("customer_since", value)
        for value in ("2023-02-29", "2023-2-3", "20230203", "0000-01-01", "2023-01-01T00", 2023)
    ),
    *(("customer_since", value) for value in ("", "\uff12023-01-01", "2023-13-01", " 2023-01-01")),
    ("segments", [["country", "NO"]]),
    ("segments", "country=NO"),
    ("segments", {f"name{number}": "x" for number in range(9)}),
    *(("segments", {name: "x"}) for name in ("all", "", "Country", "1a", "_a", "a-b", "é", "a" * 33, "a\n", "a b")),
    *(("segments", {"country": value}) for value in ("", "x" * 65, None, 1, "a\u0000", "a\u009f", ["NO"])),
    *(
        ("responded_at", value)
        for value in (
            *("", "now", 1763800000, "2026-11-01", "2026-11-01T10:00:00", "2026-11-01 10:00:00Z", "2026-11-01T10:00Z"),
            *("2026-11-01T10:00:60Z", "2016-12-31T23:59:60Z", "2026-11-01T24:00:00Z", "2026-11-01T10:60:00Z"),
            *("2026-02-29T10:00:00Z", "2026-11-31T10:00:00Z", "2026-13-01T10:00:00Z", "2026-00-01T10:00:00Z"),
            *(
                "0000-06-01T10:00:00Z",
                "0001-01-01T00:59:59+01:00",
                "9999-12-31T23:30:00-01:00",
                "10000-01-01T00:00:00Z",
            ),
            *("2026-11-01T10:00:00+24:00", "2026-11-01T10:00:00+01:60", "2026-11-01T10:00:00+0100"),
            *("2026-11-01T10:00:00+01", "2026-11-01T10:00:00.Z", "2026-11-01T10:00:00,5Z", "2026-11-01T10:00:00 Z"),
            *("-2026-11-01T10:00:00Z", "2026-11-01T1:00:00Z", "26-11-01T10:00:00Z", " 2026-11-01T10:00:00Z"),
            *("2026-11-01T10:00:00Z\n", "\uff12026-11-01T10:00:00Z", "2026-W44-7T10:00:00Z", "20261101T100000Z"),
        )
    ),
)

INVALID_JSON: tuple[bytes, ...] = (
    b"",
    b" ",
    b"{",
    b"nul",
    b"{}{}",
    b"{'response_id': 'x'}",
    b'{"score": 8,}',
    b'{"score": 08}',
    b'{"score": +8}',
    b'{"score": .5}',
    b'{"score": NaN}',
    b'{"score": -Infinity, "x": Infinity}',
    b'{"unknown": NaN, "score": 8}',
    b'{"comment": "raw \n newline"}',
    b'{"comment": "bad escape \\x"}',
    b'{"comment": "\\u12"}',
    b'{"comment": "\xff"}',
    b'{"comment": "\xc0\xaf"}',
    b'{"comment": "\xed\xa0\x80"}',
    b'{"comment": "lone \\ud800"}',
    b'{"unknown": ["lone \\uDC00"]}',
    b'{"unknown": {"\\udfff": 1}}',
    b'{"unknown": "\\ud83d", "unknown": "overridden"}',
    b'{"comment": "wrong order \\ude00\\ud83d"}',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    "{}".encode("utf-16"),
    b'{"unknown": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    b"[" * 20000,
    b"// comment\n{}",
    b'{"a": 1 "b": 2}',
    b"\x00",
)

NOT_OBJECTS: tuple[bytes, ...] = (b"null", b"true", b"8", b'"text"', b"[]", b"[{}]", b"{}", b" {} ", b"1.5e3")


def decorated(document: dict[str, Any], manner: int) -> bytes:
    """The same valid response, written in an unusual but valid manner."""
    text = json.dumps(document, ensure_ascii=False)
    members = text[1:-1]
    nested = "[" * 30 + '{"a":' * 30 + '"]}\\""' + "}" * 30 + "]" * 30
    manners = (
        lambda: json.dumps(document, ensure_ascii=True),
        lambda: " \r\n\t" + json.dumps(document, indent=3) + "\n ",
        lambda: '{"score": "overridden", "responded_at": 5, ' + members + "}",
        lambda: '{"unknown": ' + nested + ", " + members + "}",
        lambda: '{"Score": 99, "nps": NULL, '.replace("NULL", "null") + members + ', "": {}}',
        lambda: text.replace('"score"', '"sc\\u006fre"').replace('"survey_id"', '"survey\\u005fid"'),
        lambda: '{"unknown": 1e999, "other": -0.0, "big": 123456789012345678901234567890, ' + members + "}",
        lambda: '{"unknown": "\\ud83d\\ude00\\u0000", ' + members + "}",
        lambda: text[:-1] + " " * (65_536 - len(text.encode())) + "}",
    )
    return manners[manner % len(manners)]().encode()
