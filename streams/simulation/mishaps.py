"""Records that a publisher got wrong, one maker for each dead-letter reason.

Each takes the fields of a valid response and its key, and returns the key and value that arrive instead. The result has
exactly the reason that it is made for, at any record time from delivery to a day and a half after it.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from schemas.dead_letters import Reason
from schemas.times import US_PER_DAY, format_rfc3339

Fields = dict[str, object]
Record = tuple[bytes | None, bytes]

_encode = msgspec.json.encode


def _invalid_json(rng: Random, key: bytes, fields: Fields, _responded_at_us: int) -> Record:
    value = _encode(fields)
    broken = rng.choice(
        (
            value[: len(value) // 2],  # cut off in transit
            value.replace(b'"', b"'"),  # printed by hand instead of encoded
            value.replace(b'"survey_id":"', b'"survey_id":"caf\xe9 ', 1),  # Latin-1
        )
    )
    return key, broken


def _invalid_response(rng: Random, key: bytes, fields: Fields, responded_at_us: int) -> Record:
    field, value = rng.choice(
        (
            ("score", str(fields["score"])),
            ("score", 11),
            ("score", 8.5),
            ("survey_id", ""),
            ("responded_at", format_rfc3339(responded_at_us).rstrip("Z")),  # no offset: whose midnight?
            ("reason", "too_expensive"),
            ("csat", 0),
        )
    )
    return key, _encode(fields | {field: value})


def _too_large(_rng: Random, key: bytes, fields: Fields, _responded_at_us: int) -> Record:
    return key, _encode(fields | {"comment": "Sent from the kitchen tablet. " * 2_300})


def _key_mismatch(rng: Random, key: bytes, fields: Fields, _responded_at_us: int) -> Record:
    return rng.choice((None, b'"%s"' % key, key.upper())), _encode(fields)


def _from_future(rng: Random, key: bytes, fields: Fields, responded_at_us: int) -> Record:
    ahead_us = rng.choice((2, 365)) * US_PER_DAY
    return key, _encode(fields | {"responded_at": format_rfc3339(responded_at_us + ahead_us)})


Mishap = Callable[[Random, bytes, Fields, int], Record]

MISHAPS: dict[Reason, tuple[int, Mishap]] = {
    Reason.INVALID_JSON: (30, _invalid_json),
    Reason.INVALID_RESPONSE: (35, _invalid_response),
    Reason.KEY_MISMATCH: (20, _key_mismatch),
    Reason.FROM_FUTURE: (10, _from_future),
    Reason.TOO_LARGE: (5, _too_large),
}
"""Dead-letter reason → how common it is among mishaps, and its maker."""

_REASONS = tuple(MISHAPS)
_WEIGHTS = tuple(weight for weight, _ in MISHAPS.values())


def mishap(rng: Random, key: bytes, fields: Fields, responded_at_us: int) -> tuple[Reason, Record]:
    """A reason and the broken record."""
    (reason,) = rng.choices(_REASONS, _WEIGHTS)
    return reason, MISHAPS[reason][1](rng, key, fields, responded_at_us)
