"""What can be sent to us over HTTP: where to, what it must be, and to which topic it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pydantic_core import from_json

from schemas.follow_up import accept_follow_up
from schemas.json_schema import FOLLOW_UP, RESPONSE
from schemas.response import accept
from schemas.topics import Topics

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_RECORDS: Final = 10_000
"""In one body."""


class Door(NamedTuple):
    """A path that takes records of one kind."""

    path: str
    noun: str
    """What is sent there, for people."""
    schema: str
    """The name of the JSON Schema of a record."""
    key_fields: tuple[str, ...]
    """The record's key is the first of these that is there."""
    topic: Callable[[Topics], str]
    accept: Callable[[bytes, bytes, int], object]
    """Key, value, record time (ms): raises Rejected for what is no such record, as a worker would."""

    def key(self, value: bytes) -> bytes:
        """Return the record's key; an empty one for what has none, which is refused anyway."""
        return record_key(value, self.key_fields)


DOORS: Final = (
    Door(
        "/v1/responses",
        "survey response",
        RESPONSE,
        ("customer_id", "response_id"),
        lambda topics: topics.responses,
        accept,
    ),
    Door(
        "/v1/follow-ups", "follow-up", FOLLOW_UP, ("customer_id",), lambda topics: topics.follow_ups, accept_follow_up
    ),
)


def record_key(value: bytes, fields: tuple[str, ...] = DOORS[0].key_fields) -> bytes:
    """Return the key of a record by its value (JSON): the first of these fields that holds a string."""
    try:
        parsed: Any = from_json(value)
    except ValueError:
        return b""
    if not isinstance(parsed, dict):
        return b""
    owner = next((parsed[name] for name in fields if parsed.get(name)), None)
    return owner.encode("utf-8", "surrogatepass") if isinstance(owner, str) else b""
