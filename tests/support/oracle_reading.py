"""How the oracle reads a record: strict JSON, field rules, RFC 3339, murmur2. Standard library only, naive on purpose.

Nothing here may import the product: the oracle is a second, independent reading of the contract.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

MAX_VALUE_BYTES = 65_536
MAX_FUTURE_US = 5 * 60 * 1_000_000
MAX_NESTING = 200  # deeper counts as "beyond the parser's depth"; between 64 and this no test should tread
REASONS = ("expectations_met", "no_major_problems", "indifferent", "needs_more_time", "value_for_price")

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_US = (datetime(1, 1, 1) - _EPOCH) // _MICROSECOND
LAST_US = (datetime(9999, 12, 31, 23, 59, 59, 999_999) - _EPOCH) // _MICROSECOND
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")
_SEGMENT_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


class Record(NamedTuple):
    """One record of the input log. Header values are bytes or None, as Kafka has them."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Sequence[tuple[str, bytes | None]] = ()


@dataclass(frozen=True, slots=True)
class Response:
    """A valid response, every field present."""

    response_id: str
    customer_id: str | None
    survey_id: str
    score: int
    responded_us: int
    revision: int
    segments: dict[str, str]
    comment: str | None
    language: str | None
    reason: str | None
    csat: int | None
    account_id: str | None
    customer_since: str | None


class DeadLetter(Exception):
    """This record is a dead letter for `reason`; `field` is the first field found wrong, where there is one."""

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason, field)
        self.reason = reason
        self.field = field


def read_response(key: bytes | None, value: bytes, record_time_ms: int) -> Response:
    """Apply the checks in their order of precedence; raise DeadLetter at the first that fails."""
    if len(value) > MAX_VALUE_BYTES:
        raise DeadLetter("too_large")
    found = read_json(value)
    if not isinstance(found, dict):
        raise DeadLetter("invalid_response")
    response = read_fields(found)
    name = response.response_id if response.customer_id is None else response.customer_id
    if key is None or key != name.encode():
        raise DeadLetter("key_mismatch")
    if response.responded_us - record_time_ms * 1000 > MAX_FUTURE_US:
        raise DeadLetter("from_future", "responded_at")
    return response


def read_json(value: bytes) -> Any:
    """Strict UTF-8 JSON: no byte order mark, NaN or lone surrogate anywhere, limited depth; the last name wins."""
    try:
        text = value.decode("utf-8", "strict")
        if nesting(text) > MAX_NESTING:
            raise ValueError("too deep")
        found = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_parse_int,
            object_pairs_hook=_checked_object if "\\u" in text else None,
        )
        _refuse_surrogates(found)
    except (ValueError, RecursionError) as error:  # UnicodeError and JSONDecodeError are ValueErrors
        raise DeadLetter("invalid_json") from error
    return found


def nesting(text: str) -> int:
    """The deepest nesting of brackets outside strings."""
    if text.count("[") + text.count("{") <= MAX_NESTING:
        return 0  # cannot be too deep; the exact depth does not matter
    deepest = depth = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _parse_int(digits: str) -> int:
    return int(digits) if len(digits) < 100 else 10**100  # far out of every range, whatever it is exactly


def _checked_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, value in pairs:  # also those that a later repetition of the name overrides
        _refuse_surrogates(name)
        _refuse_surrogates(value)
    return dict(pairs)


def _refuse_surrogates(value: Any) -> None:
    if isinstance(value, str):
        value.encode("utf-8", "strict")
    elif isinstance(value, list):
        for item in value:
            _refuse_surrogates(item)


def read_fields(found: dict[str, Any]) -> Response:
    """Check every field; unknown ones are ignored."""
    return Response(
        response_id=_field(found, "response_id", lambda v: _is_identifier(v, 128)),
        customer_id=_field(found, "customer_id", lambda v: _is_identifier(v, 256), default=None),
        survey_id=_field(found, "survey_id", lambda v: _is_identifier(v, 128)),
        score=_field(found, "score", lambda v: _is_integer(v, 0, 10)),
        responded_us=read_time(found.get("responded_at")),
        revision=_field(found, "revision", lambda v: _is_integer(v, 0, 2**53 - 1), default=0),
        segments=dict(_field(found, "segments", _are_segments, default={})),
        comment=_field(found, "comment", lambda v: isinstance(v, str) and len(v) <= 4000, default=None),
        language=_field(found, "language", _is_language, default=None),
        reason=_field(found, "reason", lambda v: isinstance(v, str) and v in REASONS, default=None),
        csat=_field(found, "csat", lambda v: _is_integer(v, 1, 5), default=None),
        account_id=_field(found, "account_id", lambda v: _is_identifier(v, 128), default=None),
        customer_since=_field(found, "customer_since", _is_date, default=None),
    )


_REQUIRED = object()


def _field(found: dict[str, Any], name: str, is_valid: Callable[[Any], bool], default: Any = _REQUIRED) -> Any:
    value = found.get(name, default)
    if value is default and value is not _REQUIRED:  # absent, or null where null is allowed
        return value
    if value is _REQUIRED or not is_valid(value):
        raise DeadLetter("invalid_response", name)
    return value


def _has_control_character(text: str) -> bool:
    return not text.isprintable() and any(unicodedata.category(character) == "Cc" for character in text)


def _is_identifier(value: Any, longest: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= longest and not _has_control_character(value)


def _is_integer(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high  # neither bool nor float


def _are_segments(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= 8
        and all(
            _SEGMENT_NAME.fullmatch(name) and name != "all" and _is_identifier(text, 64) for name, text in value.items()
        )
    )


def _is_language(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 35 and _LANGUAGE.fullmatch(value) is not None


def _is_date(value: Any) -> bool:
    if not isinstance(value, str) or not (match := _DATE.fullmatch(value)):
        return False
    try:
        date(*map(int, match.groups()))
    except ValueError:
        return False
    return True


def read_time(value: Any) -> int:
    """An RFC 3339 date-time as microseconds since the epoch; digits past microseconds are cut."""
    if not isinstance(value, str) or not (match := _RFC3339.fullmatch(value)):
        raise DeadLetter("invalid_response", "responded_at")
    *clock, fraction, sign, offset_hours, offset_minutes = match.groups()
    try:
        local = datetime(*map(int, clock))  # type: ignore[arg-type]
    except ValueError as error:  # no such day, hour 24, second 60, year 0000
        raise DeadLetter("invalid_response", "responded_at") from error
    moment_us = (local - _EPOCH) // _MICROSECOND + int((fraction or "").ljust(6, "0")[:6])
    if sign:
        hours, minutes = int(offset_hours), int(offset_minutes)
        if hours > 23 or minutes > 59:
            raise DeadLetter("invalid_response", "responded_at")
        moment_us -= (hours * 60 + minutes) * 60_000_000 * (1 if sign == "+" else -1)
    if not _FIRST_US <= moment_us <= LAST_US:
        raise DeadLetter("invalid_response", "responded_at")
    return moment_us


def time_text(moment_us: int) -> str:
    """RFC 3339 UTC with `Z` (compare instants, not texts: how many digits a fraction has is free)."""
    return (_EPOCH + timedelta(microseconds=moment_us)).isoformat() + "Z"


def murmur2(data: bytes) -> int:
    """Hash like the Java client (`Utils.murmur2`), as an unsigned 32-bit number."""
    mask = 0xFFFFFFFF
    multiplier = 0x5BD1E995
    value = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * multiplier & mask
        part ^= part >> 24
        value = (value * multiplier & mask) ^ (part * multiplier & mask)
    tail = data[whole:]
    if tail:
        value = (value ^ int.from_bytes(tail, "little")) * multiplier & mask
    value ^= value >> 13
    value = value * multiplier & mask
    return value ^ value >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that the Java client's default partitioner gives this key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
