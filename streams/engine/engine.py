"""All partitions of one worker, and their connection to the consumer group."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import InconsistentGroupProtocolError, KafkaError
from aiokafka.structs import TopicPartition
from faust.exceptions import ConsumerNotStarted
from faust.types.tuples import TP

from streams.engine.access import NotAuthorized, refusal_in
from streams.engine.changelog import STORE_MAX_AGE_MS
from streams.engine.clients import connected_admin
from streams.engine.config import EngineConfig
from streams.engine.follow_ups import Ends, FollowUpsConsumer, FollowUpsRead, Taker
from streams.engine.observer import CountsListener, EngineObserver, PartitionStatus
from streams.engine.partition import Partition
from streams.engine.positions import Committed, GroupOfOthers, check_end
from streams.engine.shared import Shared
from streams.engine.state_directory import remove_left_over, set_aside_left_over
from streams.engine.topics import TopicsChanged, partitions_changed
from streams.engine.transport import Batch, BatchConsumer

logger = logging.getLogger(__name__)

MISPLACED_WARNING_INTERVAL_S = 60.0
MEMBERSHIP_CHECK_INTERVAL_S = 0.5
CLEAN_UP_INTERVAL_S = 3_600.0


class Engine:
    """Opens and closes partitions as the group assigns them, and hands them the batches that the consumer fetched."""

    def __init__(
        self,
        config: EngineConfig,
        observer: EngineObserver,
        listener: CountsListener,
        case_listener: CountsListener,
        consumer: Callable[[], BatchConsumer],
        on_crash: Callable[[BaseException], Awaitable[None]],
    ) -> None:
        self._config = config
        topics = config.deciding.topics
        self._observer = _WarningObserver(observer, " and ".join(topics.inputs))
        self._listener = listener
        self._case_listener = case_listener
        self._consumer = consumer
        self._on_crash = on_crash
        self._partitions: dict[int, Partition] = {}
        self._fetched_to: dict[int, int] = {}
        self._read_to_end_at_s: dict[int, float] = {}
        self._follow_ups = FollowUpsConsumer(
            config.kafka, topics.follow_ups, config.deciding.partitions, self._on_crash
        )
        self._ends = Ends(config.kafka, "read_uncommitted")
        self._stable_ends = Ends(config.kafka, "read_committed")
        self._admin: AIOKafkaAdminClient | None = None
        self._admin_starting = asyncio.Lock()
        self._shared = Shared()
        self._leaving: set[int] = set()
        self._cleaning: asyncio.Task[None] | None = None
        self._joined = False
        self._stopped = False

    # --- what the consumer asks (transport.Intake) and delivers -------------------------------------------------------

    def has_room(self, partition: int) -> bool:
        """May more records of this partition be fetched now?"""
        owned = self._partitions.get(partition)
        return owned is not None and owned.has_room

    def token(self, partition: int) -> object:
        """Return the token of the partition's last move."""
        owned = self._partitions.get(partition)
        return owned.token if owned is not None else None

    def fetched(self, partition: int, next_offset: int) -> None:
        """Take note that records up to this offset were fetched, and will be delivered."""
        self._fetched_to[partition] = next_offset

    def nothing_left(self, partition: int, at_s: float) -> None:
        """Take note that, at this time (epoch), the broker had no more records than were fetched."""
        self._read_to_end_at_s[partition] = at_s

    def deliver(self, batch: Batch) -> None:
        """Hand a batch to its partition, unless it was fetched before the position was last moved."""
        owned = self._partitions.get(batch.partition)
        if owned is not None and owned.token is batch.token:
            owned.deliver(batch.records)

    def cut_off(self, partition: int, offset: int) -> None:
        """Take note that the responses of this partition do not go on at this offset."""
        owned = self._partitions.get(partition)
        if owned is not None:
            owned.responses_cut_off(offset)

    async def consumer_failed(self, error: KafkaError) -> None:
        """Take note that the group or the topic cannot be read any more."""
        if isinstance(error, InconsistentGroupProtocolError):
            group = self._config.group_id
            await self._on_crash(
                GroupOfOthers(
                    f"the group {group} has members that are no workers: stop them, or choose another NPS_GROUP_ID "
                    f"(kafka-consumer-groups --describe --group {group} --members lists them)"
                )
            )
            return
        refused = refusal_in(error)
        await self._on_crash(error if refused is None else NotAuthorized(refused))

    # --- the group ----------------------------------------------------------------------------------------------------

    async def revoke(self, partitions: Collection[int]) -> None:
        """The group takes partitions away, for the moment at least: commit what is decided, stop."""
        self._joined = False
        await asyncio.gather(*(self._partitions[p].pause() for p in partitions if p in self._partitions))

    async def assign(self, partitions: Collection[int]) -> None:
        """The group has spoken: these are ours, others are not. Returns before they are restored."""
        if self._stopped:
            return
        added = [p for p in partitions if p >= self._config.deciding.partitions]
        if added:  # their changelogs do not exist, and keys have moved
            topic, expected = self._config.deciding.topics.responses, self._config.deciding.partitions
            await self._on_crash(TopicsChanged(partitions_changed(f"{topic} has more than {expected} partitions")))
            return
        gone = [self._partitions.pop(p) for p in set(self._partitions) - set(partitions)]
        self._leaving.update(partition.number for partition in gone)
        await asyncio.gather(*(partition.close() for partition in gone))
        self._leaving.difference_update(partition.number for partition in gone)
        if self._stopped:  # meanwhile
            return
        for number in sorted(partitions):
            partition = self._partitions.get(number)
            if partition is None:
                partition = self._partitions[number] = Partition(
                    self._config,
                    number,
                    self,
                    self._observer,
                    (self._listener, self._case_listener),
                    self._shared,
                    self._on_crash,
                )
            partition.start()
        self._follow_ups.start()
        if self._cleaning is None:
            self._cleaning = asyncio.create_task(self._clean_up(), name="clean-up")
        self._joined = True
        logger.info(
            "assigned partitions: %s",
            ", ".join(map(str, sorted(partitions))) or "none",
            extra={"partitions": sorted(partitions)},
        )

    async def _clean_up(self) -> None:
        """Remove the stores of partitions that others have long had."""
        while True:
            in_use = {*self._partitions, *self._leaving}
            try:
                set_aside_left_over(self._config.state_dir, in_use, STORE_MAX_AGE_MS / 1000)
                await asyncio.to_thread(remove_left_over, self._config.state_dir)
            except OSError as error:
                logger.warning("stores of partitions that others have cannot be removed: %s", error)
            await asyncio.sleep(CLEAN_UP_INTERVAL_S)

    async def stop(self) -> None:
        """Commit what is decided and let go of everything."""
        self._stopped = True
        if self._cleaning is not None:
            self._cleaning.cancel()
        self._joined = False
        partitions, self._partitions = list(self._partitions.values()), {}
        await asyncio.gather(*(partition.close() for partition in partitions))
        await self._follow_ups.stop()
        await self._ends.close()
        await self._stable_ends.close()
        if self._admin is not None:
            await self._admin.close()

    # --- what partitions ask (partition.Positions) --------------------------------------------------------------------

    async def move_to(self, partition: int, offset: int) -> None:
        """Fetch from this offset on; what was fetched before is not delivered."""
        await self._consumer().move_to(TP(self._config.deciding.topics.responses, partition), offset)
        self._fetched_to[partition] = offset  # after the last fetch of before, which may have set it higher

    def fetched_to(self, partition: int) -> int:
        """Return the offset after the last response that was fetched since the position was last moved."""
        return self._fetched_to.get(partition, 0)

    async def position(self, partition: int) -> int:
        """Return the offset before which every response was fetched, markers of transactions included."""
        return await self._consumer().position_of(TP(self._config.deciding.topics.responses, partition))

    async def ends(self, *inputs: TopicPartition) -> list[int]:
        """Ask the broker for the ends of inputs, as they are after this call began."""
        return await self._ends.ask(inputs)

    def follow(self, partition: int, offset: int, taker: Taker) -> None:
        """Deliver follow-ups from this offset on."""
        self._follow_ups.follow(partition, offset, taker)

    def leave(self, partition: int, taker: Taker) -> None:
        """Deliver no more follow-ups to this taker."""
        self._follow_ups.leave(partition, taker)

    def follow_ups_read(self, partition: int) -> FollowUpsRead:
        """Return how far the follow-ups were read."""
        return self._follow_ups.read(partition)

    def end_offset(self, partition: int) -> int | None:
        """Return the end of the partition as last fetched, None before that."""
        try:
            end: int | None = self._consumer().highwater(
                TopicPartition(self._config.deciding.topics.responses, partition)
            )
        except (AssertionError, ConsumerNotStarted):  # not assigned at this moment
            return None
        return end

    def read_to_end_at_s(self, partition: int) -> float:
        """Return when (epoch) the broker last had no more responses than were fetched; 0 before that."""
        return self._read_to_end_at_s.get(partition, 0.0)

    def read_to_end(self, partition: int) -> bool:
        """Is everything fetched, up to the end as last seen?"""
        try:
            return self._consumer().read_to_end(TopicPartition(self._config.deciding.topics.responses, partition))
        except (AssertionError, ConsumerNotStarted):  # not assigned at this moment
            return False

    async def check_ends(self) -> None:
        """Raise LogLost where an owned partition ends before what was processed of it."""
        # Looked at before the ends are asked for: both move on meanwhile.
        partitions = list(self._partitions.values())
        known = [each.known for each in partitions]
        owned = {each.responses: each.offset for each in known}
        owned |= {each.follow_ups: each.follow_ups_offset for each in known}
        if not owned or not self._joined:
            return
        ends = await self._stable_ends.of_led(owned)
        for tp, end in ends.items():
            check_end(self._config.group_id, tp, owned[tp], end)
        for each in partitions:
            each.follow_ups_lag.end_seen(ends.get(each.known.follow_ups, 0))

    async def committed(self, source: TopicPartition) -> Committed:
        """Ask the broker where the group stands."""
        async with self._admin_starting:
            if self._admin is None:
                self._admin = await connected_admin(self._config.kafka)
        known = (await self._admin.list_consumer_group_offsets(self._config.group_id, partitions=[source])).get(source)
        beginning, end = await self._stable_ends.span(source)
        if known is None or known.offset < 0:
            return Committed(None, beginning, end, "")
        return Committed(known.offset, beginning, end, known.metadata)

    async def still_member(self) -> None:
        """Return when the group has confirmed, from now on, that this worker is a member of its current generation."""
        thread: Any = self._consumer()._thread
        while not await thread.call_thread(thread._ensure_consumer()._coordinator._do_heartbeat):  # noqa: ASYNC110
            await asyncio.sleep(MEMBERSHIP_CHECK_INTERVAL_S)

    # --- status -------------------------------------------------------------------------------------------------------

    @property
    def joined(self) -> bool:
        """Is this worker a member of the group with an assignment (which may be empty)?"""
        return self._joined

    def partitions(self) -> list[PartitionStatus]:
        """Return the status of each owned partition."""
        return [partition.status() for _, partition in sorted(self._partitions.items())]


class _WarningObserver:
    """Passes everything on; warns of misplaced records, once a minute at most."""

    def __init__(self, inner: EngineObserver, topic: str) -> None:
        self._inner = inner
        self._topic = topic
        self._misplaced = 0
        self._warned_at = float("-inf")
        self.commit_failed = inner.commit_failed
        self.partition_gone = inner.partition_gone

    def unit_committed(self, report: Any) -> None:
        self._inner.unit_committed(report)
        self._misplaced += report.misplaced
        if self._misplaced and time.monotonic() - self._warned_at >= MISPLACED_WARNING_INTERVAL_S:
            self._warned_at = time.monotonic()
            logger.warning(
                "%d records of %s are on another partition than the Java client's partitioner gives their key: "
                "a producer uses another one, and customers' journeys split (see docs/publishing.md)",
                self._misplaced,
                self._topic,
                extra={"records": self._misplaced, "topic": self._topic},
            )
            self._misplaced = 0
