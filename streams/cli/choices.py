"""What options may be set to. Apart from the code that acts on them, so that help needs none of it."""

from __future__ import annotations

from enum import StrEnum


class FileFormat(StrEnum):
    """How a file holds responses."""

    NDJSON = "ndjson"
    CSV = "csv"


class RecordTime(StrEnum):
    """What a record's timestamp is, the only clock that decisions use."""

    NOW = "now"
    RESPONDED_AT = "responded-at"


class EventType(StrEnum):
    """An event, by the name of its topic."""

    PASSIVE_DETECTED = "passive-detected"
    SCORE_CHANGED = "score-changed"
    PASSIVE_WITHDRAWN = "passive-withdrawn"
    FOLLOW_UP_OVERDUE = "follow-up-overdue"


class DeadLetterReason(StrEnum):
    """Why a record became a dead letter."""

    TOO_LARGE = "too_large"
    INVALID_JSON = "invalid_json"
    INVALID_RESPONSE = "invalid_response"
    KEY_MISMATCH = "key_mismatch"
    FROM_FUTURE = "from_future"
    UNKNOWN_CASE = "unknown_case"
