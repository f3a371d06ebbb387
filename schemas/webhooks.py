"""What a webhook carries (Standard Webhooks), and what is said of one that could not be delivered.

The body is `{"type", "timestamp", "data"}` with the event's data as the worker wrote it, byte for byte. A dead letter
is the event's record with headers appended: the endpoint, the cause, and Kafka Connect's for where it was read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from schemas.dead_letters import (
    CLASS_NAME_HEADER,
    MESSAGE_HEADER,
    OFFSET_HEADER,
    PARTITION_HEADER,
    TOPIC_HEADER,
    Headers,
)

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

ENDPOINT_HEADER: Final = "nps.webhook.endpoint"
CAUSE_HEADER: Final = "nps.webhook.cause"
CLASS_NAME: Final = "nps.error.WebhookFailed"
ERROR_HEADERS: Final = frozenset(
    {
        ENDPOINT_HEADER,
        CAUSE_HEADER,
        CLASS_NAME_HEADER,
        MESSAGE_HEADER,
        TOPIC_HEADER,
        PARTITION_HEADER,
        OFFSET_HEADER,
    }
)


class NoEvent(ValueError):
    """A record that is no CloudEvent of ours; the message says what is missing."""


class Envelope(NamedTuple):
    """An event as a webhook sends it."""

    id: str
    type: str
    body: bytes
    """JSON, UTF-8: what is signed and sent."""


def envelope(headers: Iterable[tuple[str, bytes | None]], value: bytes | None) -> Envelope:
    """Make a webhook of an event's record; NoEvent when it is none."""
    if value is None:
        raise NoEvent("the record has no value")
    found = {name: held for name, held in headers if name in ("ce_id", "ce_type", "ce_time")}
    try:
        id_, type_, time = ((found[name] or b"").decode() for name in ("ce_id", "ce_type", "ce_time"))
    except KeyError as error:
        raise NoEvent(f"the record has no header {error.args[0]}") from None
    except UnicodeDecodeError:
        raise NoEvent("a header of the record is not UTF-8") from None
    if not id_.isascii() or not id_.isprintable() or not id_ or " " in id_:
        raise NoEvent("the header ce_id cannot be a webhook-id")
    return Envelope(id_, type_, body(type_, time, value))


def body(event_type: str, time: str, data: bytes) -> bytes:
    """Return the body for an event's type, its time (RFC 3339) and its data (JSON)."""
    return b'{"type":%b,"timestamp":%b,"data":%b}' % (
        msgspec.json.encode(event_type),
        msgspec.json.encode(time),
        data,
    )


def dead_letter_headers(endpoint: str, cause: str, message: str, topic: str, partition: int, offset: int) -> Headers:
    """Return the headers to append to the record's own; the message holds nothing of the record nor of any secret."""
    return (
        (ENDPOINT_HEADER, endpoint.encode()),
        (CAUSE_HEADER, cause.encode()),
        (TOPIC_HEADER, topic.encode()),
        (PARTITION_HEADER, b"%d" % partition),
        (OFFSET_HEADER, b"%d" % offset),
        (CLASS_NAME_HEADER, CLASS_NAME.encode()),
        (MESSAGE_HEADER, message.encode()),
    )
