"""What a partition asks of the consumer and the group, to be implemented by the engine."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition


class LogLost(Exception):
    """The input ends before what was processed: which records that concerns is for people to find out."""


def check_end(group_id: str, source: TopicPartition, committed: int, end: int) -> None:
    """Raise LogLost when the input ends before the next offset to read."""
    if committed > end:
        raise LogLost(
            f"group {group_id} has committed offset {committed} of {source.topic} partition {source.partition}, "
            f"which ends at {end}: the topic was recreated or lost records; "
            "to go on from its beginning, delete the group's offsets"
        )


class OffsetWentBack(KafkaError):  # type: ignore[misc]
    """The group's coordinator answers with less than what was committed; nobody can set that back while the group has
    members.
    """


def check_not_back(told: int, committed: int) -> None:
    """Raise OffsetWentBack when the coordinator tells less than what this worker has committed."""
    if told < committed:
        raise OffsetWentBack(
            f"the group's coordinator says offset {told}, and {committed} was committed: it may still be loading"
        )


class Committed(NamedTuple):
    """Where the group stands in a partition."""

    offset: int | None
    """Next offset to read; None: nothing was ever committed."""
    beginning: int
    end: int
    metadata: str


class Positions(Protocol):
    """The consumer, as far as a partition needs it."""

    async def move_to(self, partition: int, offset: int) -> None:
        """Fetch from this offset on; what was fetched before is not delivered."""

    def end_offset(self, partition: int) -> int | None:
        """Return the end of the partition as last seen, None before that."""

    async def committed(self, source: TopicPartition) -> Committed:
        """Ask the broker where the group stands."""

    async def still_member(self) -> None:
        """Return when the group has confirmed, from now on, that this worker is a member of its current generation."""
