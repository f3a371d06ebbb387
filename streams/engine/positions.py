"""What a partition asks of the consumer and the group, to be implemented by the engine."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple, Protocol

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from faust.exceptions import ConsumerNotStarted

from streams.engine.follow_ups import FollowUpsRead, Taker

logger = logging.getLogger(__name__)

NO_ANSWER: Final = (KafkaError, OSError, TimeoutError, ConsumerNotStarted)
"""What asking for ends and positions may raise where nobody answers in time."""


class LogLost(Exception):
    """The input ends before what was processed: which records that concerns is for people to find out."""


class GroupOfOthers(Exception):
    """The group has members that are no workers."""


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


class CutOff(KafkaError):  # type: ignore[misc]
    """An input does not go on at the offset up to which it was read."""

    def __init__(self, source: TopicPartition, offset: int) -> None:
        super().__init__(f"{source.topic} partition {source.partition} does not go on at offset {offset}")
        self.source = source
        self.offset = offset


class Committed(NamedTuple):
    """Where the group stands in a partition."""

    offset: int | None
    """Next offset to read; None: nothing was ever committed."""
    beginning: int
    end: int
    metadata: str


class Next(NamedTuple):
    """Where to go on in an input."""

    offset: int
    deleted: int
    """How many offsets before that are gone without having been processed."""


def next_offset(
    group_id: str, source: TopicPartition, known: Committed, offset: int | None, cut_off: CutOff | None
) -> Next:
    """Go on at `offset` (None: at the beginning), or behind what was deleted since. Raises LogLost when the input ends
    before it; or when it was read up to where it did not go on, and does not begin behind that: then it was cut back,
    and what is there now may be something else.
    """
    if cut_off is not None and known.beginning <= cut_off.offset:
        raise LogLost(
            f"{source.topic} partition {source.partition} was read up to offset {cut_off.offset} and ended before that "
            f"(now at {known.end}): the topic was recreated or lost records, and what has come since may be missing; "
            "a worker that is started again goes on behind what the group has committed"
        )
    if offset is None:
        return Next(known.beginning, 0)
    check_end(group_id, source, offset, known.end)
    return Next(max(offset, known.beginning), max(known.beginning - offset, 0))


def tell_of_deleted(source: TopicPartition, deleted: int) -> None:
    """Log that records of an input were deleted before anybody has processed them, if some were."""
    if deleted:
        logger.error(
            "partition %d: %d records of %s were deleted by retention before they were processed",
            source.partition,
            deleted,
            source.topic,
            extra={"partition": source.partition, "topic": source.topic, "records": deleted},
        )


class Positions(Protocol):
    """The consumer, as far as a partition needs it."""

    async def move_to(self, partition: int, offset: int) -> None:
        """Fetch from this offset on; what was fetched before is not delivered."""

    def end_offset(self, partition: int) -> int | None:
        """Return the end of the partition as last seen, None before that."""

    def read_to_end(self, partition: int) -> bool:
        """Is everything fetched, up to the end as last seen? Marks of transactions and aborted records may follow the
        last record.
        """

    def read_to_end_at_s(self, partition: int) -> float:
        """Return when (epoch) the broker last had no more responses than were fetched; 0 before that."""

    async def committed(self, source: TopicPartition) -> Committed:
        """Ask the broker where the group stands."""

    def fetched_to(self, partition: int) -> int:
        """Return the offset after the last response that was fetched since the position was last moved."""

    async def position(self, partition: int) -> int:
        """Return the offset before which every response was fetched, markers of transactions included."""

    async def ends(self, *inputs: TopicPartition) -> list[int]:
        """Ask the broker for the ends of inputs, as they are after this call began."""

    def follow(self, partition: int, offset: int, taker: Taker) -> None:
        """Deliver follow-ups from this offset on."""

    def leave(self, partition: int, taker: Taker) -> None:
        """Deliver no more follow-ups to this taker."""

    def follow_ups_read(self, partition: int) -> FollowUpsRead:
        """Return how far the follow-ups were read."""

    async def still_member(self) -> None:
        """Return when the group has confirmed, from now on, that this worker is a member of its current generation."""
