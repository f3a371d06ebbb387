"""Dead letters: records that are no response, or no follow-up, kept byte for byte, and the headers that say why.

The headers are appended to the record's own. A record that was dead-lettered, replayed and dead-lettered again has
them twice: the last value counts.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias

Headers: TypeAlias = tuple[tuple[str, bytes], ...]


class Reason(StrEnum):
    """Why a record is a dead letter. The first that holds, in this order, is given."""

    TOO_LARGE = "too_large"
    """The value is over the limit of bytes."""
    INVALID_JSON = "invalid_json"
    """Not JSON, or not UTF-8; also a byte order mark, a lone surrogate, nesting beyond the parser's depth."""
    INVALID_RESPONSE = "invalid_response"
    """JSON that breaks the contract of a response, or on the topic of follow-ups that of a follow-up."""
    KEY_MISMATCH = "key_mismatch"
    """The key is missing, or is not the customer's (of an anonymous response, the response's) id."""
    FROM_FUTURE = "from_future"
    """`responded_at` (`occurred_at`) is more than 5 minutes after the record's timestamp."""
    UNKNOWN_CASE = "unknown_case"
    """A follow-up that is about no case and no response that is known."""


REASON_HEADER: Final = "nps.error.reason"
TOPIC_HEADER: Final = "__connect.errors.topic"
PARTITION_HEADER: Final = "__connect.errors.partition"
OFFSET_HEADER: Final = "__connect.errors.offset"
CLASS_NAME_HEADER: Final = "__connect.errors.exception.class.name"
MESSAGE_HEADER: Final = "__connect.errors.exception.message"

CLASS_NAMES: Final[dict[str, str]] = {
    Reason.TOO_LARGE: "nps.error.TooLarge",
    Reason.INVALID_JSON: "nps.error.InvalidJson",
    Reason.INVALID_RESPONSE: "nps.error.InvalidResponse",
    Reason.KEY_MISMATCH: "nps.error.KeyMismatch",
    Reason.FROM_FUTURE: "nps.error.FromFuture",
    Reason.UNKNOWN_CASE: "nps.error.UnknownCase",
}
"""What `__connect.errors.exception.class.name` says: one stable name per reason, for tools made for Kafka Connect."""


def headers(reason: str, message: str, topic: str, partition: int, offset: int) -> Headers:
    """Return the headers to append to a dead letter's own.

    `message` names the field and the rule and never holds a value of the record; `topic`, `partition` and `offset`
    are those that the record was read from.
    """
    return (
        (REASON_HEADER, reason.encode()),
        (TOPIC_HEADER, topic.encode()),
        (PARTITION_HEADER, b"%d" % partition),
        (OFFSET_HEADER, b"%d" % offset),
        (CLASS_NAME_HEADER, CLASS_NAMES[reason].encode()),
        (MESSAGE_HEADER, message.encode()),
    )
