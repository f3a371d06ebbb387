"""What can be sent to us over HTTP: where to, what it must be, and to which topic it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from schemas.follow_up import accept_follow_up, follow_up_key
from schemas.json_schema import FOLLOW_UP, RESPONSE
from schemas.response import accept, response_key
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
    key: Callable[[bytes], bytes]
    """The key that a record of this value must have: raises Rejected for what is no such record under any."""
    topic: Callable[[Topics], str]
    accept: Callable[[bytes, bytes, int], object]
    """Key, value, record time (ms): raises Rejected for what is no such record, as a worker would."""


DOORS: Final = (
    Door(
        "/v1/responses",
        "survey response",
        RESPONSE,
        response_key,
        lambda topics: topics.responses,
        accept,
    ),
    Door("/v1/follow-ups", "follow-up", FOLLOW_UP, follow_up_key, lambda topics: topics.follow_ups, accept_follow_up),
)
