"""Record keys of the compacted topics: JSON array text, compact, UTF-8, nothing escaped that JSON does not force.

One text per key, always: compaction and look-ups compare bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from schemas.times import format_day, parse_day

JourneyKind: TypeAlias = Literal["customer", "response"]
"""Whose state it is: a customer's journey, or an anonymous response that is remembered."""

MAX_KEY_BYTES: Final = 8_192
"""No key that a release writes is longer: a survey of 128 characters, a cross of 8 segments with values of 64."""

_encode: Final[Callable[[object], bytes]] = msgspec.json.Encoder().encode
_decode_strings: Final = msgspec.json.Decoder(list[str]).decode
_KINDS: Final = ("customer", "response")


class JourneyKey(NamedTuple):
    """Key of `nps.internal.journeys`: `["customer",id,survey]` or `["response",id,survey]`."""

    kind: JourneyKind
    id: str
    survey_id: str


class CountsKey(NamedTuple):
    """Key of `nps.internal.segment-counts`: `["survey","segment","YYYY-MM-DD"]`."""

    survey_id: str
    segment: str
    day: int
    """Days since the epoch (UTC)."""


class ScoreKey(NamedTuple):
    """Key of `nps.segment-scores`: `["survey","segment","window"]`."""

    survey_id: str
    segment: str
    window: str


def journey_key(kind: JourneyKind, id: str, survey_id: str) -> bytes:  # noqa: A002
    """Return the key of a customer's journey in a survey, or of a remembered anonymous response."""
    return _encode((kind, id, survey_id))


def erasure_prefix(kind: JourneyKind, id: str) -> bytes:  # noqa: A002
    """Return the bytes that the keys of all of this id's surveys begin with, and no other id's."""
    return _encode((kind, id))[:-1] + b","


def counts_key(survey_id: str, segment: str, day: int) -> bytes:
    """Return the key of one partition's counts of a segment's UTC day, `day` in days since the epoch."""
    return _encode((survey_id, segment, format_day(day)))


def score_key(survey_id: str, segment: str, window: str) -> bytes:
    """Return the key of a published score row."""
    return _encode((survey_id, segment, window))


def parse_journey_key(key: bytes) -> JourneyKey:
    """Read what `journey_key` wrote; `ValueError` names what is wrong."""
    kind, id_, survey_id = _parts(key, "journey key")
    if kind == "customer":
        return JourneyKey("customer", id_, survey_id)
    if kind == "response":
        return JourneyKey("response", id_, survey_id)
    raise ValueError(f"journey key: its first part must be one of {', '.join(_KINDS)}")


def journey_kind(key: bytes) -> JourneyKind | None:
    """Return whose state a key names; None unless it is, byte for byte, what `journey_key` writes."""
    try:
        parts = _decode_strings(key)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if len(parts) != 3 or _encode(parts) != key:
        return None
    kind = parts[0]
    return kind if kind in _KINDS else None  # type: ignore[return-value]


def parse_counts_key(key: bytes) -> CountsKey:
    """Read what `counts_key` wrote; `ValueError` names what is wrong."""
    survey_id, segment, day = _parts(key, "counts key")
    try:
        return CountsKey(survey_id, segment, parse_day(day))
    except ValueError as error:
        raise ValueError(f"counts key: its day {error}") from None


def parse_score_key(key: bytes) -> ScoreKey:
    """Read what `score_key` wrote; `ValueError` names what is wrong."""
    return ScoreKey(*_parts(key, "score key"))


def _parts(key: bytes, name: str) -> list[str]:
    try:
        parts = _decode_strings(key)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ValueError(f"{name}: must be a JSON array of strings in UTF-8") from None
    if len(parts) != 3:
        raise ValueError(f"{name}: must have 3 parts, not {len(parts)}")
    return parts
