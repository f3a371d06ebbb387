"""Reads the follow-ups of the partitions that this worker owns.

Who owns a partition of the responses owns that of the same number of the follow-ups. So the group shares out the
responses alone, as ever, and this consumer without a group is set to what that says: the two can't differ, not even
while workers of an older release, which know nothing of follow-ups, are members too. The group's offsets of follow-ups
are committed in the partition's transactions, for processing and for whoever looks at lag.

All partitions are assigned; those that this worker does not own, or that have no room, are paused.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, LeaderNotAvailableError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition

from streams.engine.access import NotAuthorized, refusal_in
from streams.engine.clients import check_alive, make_patient, stop_consumer
from streams.engine.records import Record, read_as_bytes

logger = logging.getLogger(__name__)

FOLLOW_UPS_PER_POLL = 1_000
ENDS_ANSWERED_WITHIN_S = 2.0
"""Whoever asks for the beginning or end of a partition waits for so long."""
FOLLOW_UPS_POLL_TIMEOUT_MS = 100
"""How long a poll waits: also how long a partition that is opened, or has room again, waits for its first records."""
FETCH_BYTES = 4 << 20
"""Bounds what is fetched ahead, of all partitions together and of one."""
RETRY_S = 1.0
LOG_INTERVAL_S = 5.0


class Taker(Protocol):
    """An owned partition, as this consumer knows it."""

    @property
    def has_room_for_follow_ups(self) -> bool:
        """May more be fetched?"""

    def deliver_follow_ups(self, records: Sequence[Record]) -> None:
        """Take fetched records in."""

    def follow_ups_read_on(self) -> None:
        """Take note that they were read further, with or without records."""

    def follow_ups_cut_off(self, offset: int) -> None:
        """Take note that the topic does not go on at this offset, up to which they were read."""


class FollowUpsRead(NamedTuple):
    """How far a partition was read."""

    position: int
    """Everything before it was delivered, markers of transactions included."""
    end: int
    """The end as the broker told it last."""
    to_end_at_s: float | None
    """When the broker told it last that there is nothing behind the position (epoch time); None: not yet."""
    stable_end: int = 0
    """The last stable offset as the broker told it last: what is before it and behind the position can be read."""


NOTHING_READ = FollowUpsRead(0, 0, None)


class _Followed:
    def __init__(self, taker: Taker, position: int) -> None:
        self.taker = taker
        self.read = FollowUpsRead(position, 0, None)
        self.moved = True
        """The consumer has to be set to it first."""


class FollowUpsConsumer:
    """One for all partitions of a worker. To be used in the event loop's thread."""

    def __init__(
        self, kafka: dict[str, Any], topic: str, partitions: int, failed: Callable[[BaseException], Awaitable[None]]
    ) -> None:
        """`failed` is told what makes it impossible to read on."""
        self._kafka = kafka
        self._topics = [TopicPartition(topic, number) for number in range(partitions)]
        self._failed = failed
        self._followed: dict[int, _Followed] = {}
        self._task: asyncio.Task[None] | None = None
        self._logged_at_s = float("-inf")

    def start(self) -> None:
        """Begin to read, once."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="follow-ups")

    async def stop(self) -> None:
        """Let go of the connection."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def follow(self, partition: int, offset: int, taker: Taker) -> None:
        """Deliver this partition's records from this offset on; what was fetched before is not delivered."""
        self._followed[partition] = _Followed(taker, offset)

    def leave(self, partition: int, taker: Taker) -> None:
        """Deliver no more to this taker."""
        followed = self._followed.get(partition)
        if followed is not None and followed.taker is taker:
            del self._followed[partition]

    def read(self, partition: int) -> FollowUpsRead:
        """Return how far this partition was read; nothing of one that is not followed."""
        followed = self._followed.get(partition)
        return NOTHING_READ if followed is None else followed.read

    async def _run(self) -> None:
        read_as_bytes()
        while True:
            try:
                await self._read()
            except (KafkaError, OSError) as error:
                refused = refusal_in(error)
                if refused is not None:
                    await self._failed(NotAuthorized(refused))
                    return
                self._log_failure(error)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                await self._failed(error)
                return
            await asyncio.sleep(RETRY_S)

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            **self._kafka,
            auto_offset_reset="none",  # else it would go on elsewhere without a word
            isolation_level="read_committed",
            enable_auto_commit=False,
            max_partition_fetch_bytes=FETCH_BYTES // 4,
        )
        make_patient(consumer._client)
        try:
            await consumer.start()
            consumer.assign(self._topics)
            for at in self._topics:
                consumer.seek(at, 0)  # all need a place, also those that are paused at once
            for each in self._followed.values():
                each.moved = True
            paused: set[TopicPartition] = set()
            while True:
                self._set(consumer, paused)
                check_alive(consumer)
                fetched = await self._fetch(consumer)
                for at, records in fetched.items():
                    followed = self._followed.get(at.partition)
                    if followed is not None and not followed.moved:
                        followed.taker.deliver_follow_ups(records)
                await self._note_read(consumer)
                await asyncio.sleep(0)  # while there is something fetched, nothing else here waits
        finally:
            await stop_consumer(consumer)

    async def _fetch(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, list[Record]]:
        try:
            fetched: dict[TopicPartition, list[Record]] = await consumer.getmany(
                timeout_ms=FOLLOW_UPS_POLL_TIMEOUT_MS, max_records=FOLLOW_UPS_PER_POLL
            )
        except OffsetOutOfRangeError as error:
            for at, offset in error.args[0].items():
                followed = self._followed.get(at.partition)
                if followed is not None and not followed.moved:
                    followed.taker.follow_ups_cut_off(offset)
            return {}
        return fetched

    def _set(self, consumer: AIOKafkaConsumer, paused: set[TopicPartition]) -> None:
        """Set the consumer to what is followed now and has room."""
        for at in self._topics:
            followed = self._followed.get(at.partition)
            if followed is not None and followed.moved:
                consumer.seek(at, followed.read.position)
                followed.moved = False
            wanted = followed is not None and followed.taker.has_room_for_follow_ups
            if wanted and at in paused:
                consumer.resume(at)
                paused.discard(at)
            elif not wanted and at not in paused:
                consumer.pause(at)
                paused.add(at)

    async def _note_read(self, consumer: AIOKafkaConsumer) -> None:
        """Take over the positions: the last record may be followed by markers of transactions, which are no records."""
        for number, followed in list(self._followed.items()):
            if not followed.moved:
                at = self._topics[number]
                position = await consumer.position(at)
                if followed is self._followed.get(number) and not followed.moved:
                    read, end = followed.read._replace(position=position), consumer.highwater(at)
                    if end is not None:  # something was fetched by this consumer
                        read = read._replace(end=end, stable_end=consumer.last_stable_offset(at) or 0)
                        if position >= end:
                            read = read._replace(to_end_at_s=consumer.last_poll_timestamp(at) / 1000)
                    moved_on = position > followed.read.position
                    followed.read = read
                    if moved_on:
                        followed.taker.follow_ups_read_on()

    def _log_failure(self, error: BaseException) -> None:
        now_s = time.monotonic()
        if now_s - self._logged_at_s >= LOG_INTERVAL_S:
            self._logged_at_s = now_s
            logger.warning("follow-ups cannot be read, trying again: %s", str(error) or type(error).__name__)


class Ends:
    """Asks for beginnings and ends of the inputs. Connects when it is first asked.

    On a connection of its own: what is asked of the consumer of responses waits in a queue, and would hold up its
    fetches where a partition has no leader.
    """

    def __init__(self, kafka: dict[str, Any], isolation_level: str) -> None:
        """`read_committed`: ends are last stable offsets. `read_uncommitted`: of all that was ever acknowledged; behind
        a transaction that is open, acknowledged records may wait.
        """
        self._kafka = kafka
        self._isolation_level = isolation_level
        self._consumer: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()

    async def ask(self, partitions: Sequence[TopicPartition]) -> list[int]:
        """Return the end of each, as it is after this call began. Raises KafkaError, OSError or TimeoutError."""
        async with self._lock:
            ends = await self._answer(AIOKafkaConsumer.end_offsets, partitions)
        return [ends[at] for at in partitions]

    async def of_led(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the ends of those that have a leader, as far as is known. Raises as `ask`."""
        async with self._lock:
            consumer = await self._connected()
            led = [at for at in partitions if not _leaderless(consumer, at)]
            return await self._answer(AIOKafkaConsumer.end_offsets, led) if led else {}

    async def span(self, at: TopicPartition) -> tuple[int, int]:
        """Return beginning and end of a partition. Raises as `ask`."""
        async with self._lock:
            beginnings = await self._answer(AIOKafkaConsumer.beginning_offsets, [at])
            ends = await self._answer(AIOKafkaConsumer.end_offsets, [at])
        return beginnings[at], ends[at]

    async def _answer(
        self, question: Callable[..., Awaitable[dict[TopicPartition, int]]], partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """One partition without a leader would hold up the answer about all, and whoever asks next."""
        consumer = await self._connected()
        if any(_leaderless(consumer, at) for at in partitions):
            raise LeaderNotAvailableError
        async with asyncio.timeout(ENDS_ANSWERED_WITHIN_S):
            return await question(consumer, list(partitions))

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **self._kafka,
                auto_offset_reset="earliest",
                isolation_level=self._isolation_level,
                enable_auto_commit=False,
                max_partition_fetch_bytes=FETCH_BYTES,
            )
            make_patient(consumer._client)
            try:
                await consumer.start()
            except BaseException:
                await stop_consumer(consumer)
                raise
            self._consumer = consumer
        return self._consumer

    async def close(self) -> None:
        """Let go of the connection."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_consumer(consumer)


def _leaderless(consumer: AIOKafkaConsumer, at: TopicPartition) -> bool:
    """Is it known that nobody answers for the partition? (Of one that was never asked about nothing is known.) If so,
    the client is to ask again: by itself it would in some minutes.
    """
    if consumer._client.cluster.leader_for_partition(at) != -1:
        return False
    consumer._client.force_metadata_update()
    return True
