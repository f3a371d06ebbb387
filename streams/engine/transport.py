"""Batches through Faust: one Faust message carries all records that one fetch brought of one partition.

Faust costs about 100 µs an event; with a batch as the event that is spread over hundreds of records. The subclasses
below change three things in Faust's aiokafka driver and nothing else:

* a fetch returns one `Batch` per partition, and leaves out those that have no room (backpressure) or are restoring;
* Faust commits nothing and seeks nothing: offsets travel in our transactions, and positions are set by `move_to` below;
* the client is created with our settings (Faust fixes `fetch_max_wait_ms` at 1,500, among others).

Why positions are ours: a fetch that began before a rebalance can deliver after it, and its records may lie *ahead* of
where processing must go on. Skipping to them would lose what lies between. So `move_to` waits until no fetch is under
way and moves the position; the partition takes a new token, and batches of older tokens are thrown away on delivery.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, Protocol

import aiokafka
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP, ConsumerMessage
from mode import Service

from streams.engine.access import REFUSALS
from streams.engine.clients import NO_POLL_INTERVAL_MS, check_alive, make_patient
from streams.engine.records import Record, read_as_bytes

FETCH_TIMEOUT_S = 0.25
"""How long a fetch waits for records: bounds how long `move_to` waits for the fetch under way."""
FETCH_TIMEOUT_PRESSED_S = 0.02
"""The same while some partitions are left out for want of room, so that they are asked again soon."""
FETCH_MAX_WAIT_MS = 50
"""How long the broker may hold a fetch without records; a partition left out of it waits no longer than this."""
MEMBERSHIP_WATCH_INTERVAL_S = 1.0
PARTITION_FETCH_BYTES = 2 << 20
METADATA_MAX_AGE_MS = 10_000
"""How long it may take until the group shares out a topic that was created anew."""


class Batch(NamedTuple):
    """Records of one partition, in order; `token` tells which move of the position they follow."""

    partition: int
    records: Sequence[Record]
    token: object


class Intake(Protocol):
    """What the consumer asks of the engine. Called in the event loop's thread."""

    def has_room(self, partition: int) -> bool:
        """May more records of this partition be fetched now?"""

    def token(self, partition: int) -> object:
        """Return the token of the partition's last move."""

    def fetched(self, partition: int, next_offset: int) -> None:
        """Take note that records up to this offset were fetched, and will be delivered."""

    def nothing_left(self, partition: int, at_s: float) -> None:
        """Take note that, at this time (epoch), the broker had no more records than were fetched."""

    def cut_off(self, partition: int, offset: int) -> None:
        """Take note that the topic does not go on at this offset, up to which the partition was fetched."""

    async def consumer_failed(self, error: KafkaError) -> None:
        """Take note that the group or the topic cannot be read any more."""


class _Unremembered(dict[TP, "int | None"]):
    """What Faust takes for the last offset read, of which it silently drops everything before: never known.

    An old fetch that is delivered while `move_to` seeks back would otherwise set it ahead of the new position, and what
    is fetched from there would be lost. Repeats are dropped by offset when a batch reaches its partition.
    """

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        pass


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer, fetching batches."""

    mundane_level = "debug"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fetching = asyncio.Lock()
        self._read_offset = _Unremembered()

    async def _getmany(
        self,
        active_partitions: Collection[TP] | None,
        timeout: float,  # noqa: ASYNC109
    ) -> dict[TP, list[Batch]]:
        intake: Intake = self.app.engine
        active = set(active_partitions or ())
        open_ = {tp for tp in active if intake.has_room(tp.partition)}
        if not open_:
            await asyncio.sleep(FETCH_TIMEOUT_PRESSED_S)
            return {}
        async with self._fetching:
            wait_s = FETCH_TIMEOUT_S if len(open_) == len(active) else FETCH_TIMEOUT_PRESSED_S
            try:
                fetched = await super()._getmany(open_, min(timeout, wait_s))
            except REFUSALS as error:
                await intake.consumer_failed(error)
                return {}
            except OffsetOutOfRangeError as error:  # instead of records of others, which come with the next fetch
                for tp, offset in error.args[0].items():
                    intake.cut_off(tp.partition, offset)
                return {}
            except NoOffsetForPartitionError:  # a rebalance in the middle of it, and nobody has moved to a position yet
                return {}
            batches = {}
            for tp, records in fetched.items():
                if records:
                    intake.fetched(tp.partition, records[-1].offset + 1)
                    batches[tp] = [Batch(tp.partition, records, intake.token(tp.partition))]
            for tp in open_:
                state = self._state(tp)
                known = state is not None and state.has_valid_position and state.lso is not None
                if known and state.position >= state.lso:
                    intake.nothing_left(tp.partition, state.timestamp / 1000)
            return batches

    @Service.task  # type: ignore[untyped-decorator, unused-ignore]
    async def _watch_membership(self) -> None:
        """Look for what ended the membership: aiokafka tells it with the next fetch, and while nothing is assigned, or
        nothing has room, there is none.
        """
        while not self.should_stop:
            await self.sleep(MEMBERSHIP_WATCH_INTERVAL_S)
            try:
                await self._thread.call_thread(self._thread.check_errors)
            except KafkaError as error:
                await self.app.engine.consumer_failed(error)
                return

    async def move_to(self, partition: TP, offset: int) -> None:
        """Move the position when no fetch is under way: what is fetched from now on begins at `offset`."""
        async with self._fetching:
            await self.seek_wait({partition: offset})

    def read_to_end(self, partition: TopicPartition) -> bool:
        """Is the position at the end as the last fetch told it, past marks of transactions and aborted records too?

        Raises AssertionError for a partition that is not assigned.
        """
        state = self._state(partition)
        assert state is not None, "not assigned"
        return state.has_valid_position and state.highwater is not None and state.position >= state.highwater

    def _state(self, partition: TopicPartition) -> Any:
        """Return what aiokafka knows of an assigned partition, else None."""
        subscription = self._thread._ensure_consumer()._subscription.subscription
        return subscription.assignment.state_value(partition) if subscription is not None else None

    async def position_of(self, partition: TP) -> int:
        """Return the position when no fetch is under way: everything before it was fetched, and noted as such."""
        async with self._fetching:
            position: int = await self.position(partition)
            return position

    async def perform_seek(self) -> None:
        """Positions are set when a partition opens, after its previous owner was fenced; here would be too early."""

    async def _commit(self, offsets: object) -> bool:  # noqa: ARG002
        return True

    def _to_message(self, tp: TP, batch: Batch) -> ConsumerMessage:
        last = batch.records[-1]
        return ConsumerMessage(
            last.topic,
            last.partition,
            last.offset,
            last.timestamp / 1000,
            0,
            (),
            None,
            batch,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class _ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    mundane_level = "debug"

    async def check_errors(self) -> None:
        """Raise what the group's coordinator refused, once; KafkaConnectionError where nothing is fetched any more."""
        consumer = self._consumer
        if consumer is not None and consumer._fetcher is not None and not consumer._closed:
            consumer._coordinator.check_errors()
            check_alive(consumer)

    def _create_worker_consumer(self, transport: object) -> aiokafka.AIOKafkaConsumer:  # noqa: ARG002
        read_as_bytes()
        consumer = aiokafka.AIOKafkaConsumer(
            **self.app.kafka,
            group_id=self.app.conf.id,
            group_instance_id=self.app.group_instance_id,
            client_id=self.app.conf.broker_client_id,
            partition_assignment_strategy=(StickyPartitionAssignor,),
            enable_auto_commit=False,
            auto_offset_reset="none",  # else it would go on elsewhere without a word
            isolation_level="read_committed",
            max_poll_records=self.app.conf.broker_max_poll_records,
            max_poll_interval_ms=NO_POLL_INTERVAL_MS,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            session_timeout_ms=self.app.session_timeout_ms,
            heartbeat_interval_ms=max(self.app.session_timeout_ms // 6, 1),
            rebalance_timeout_ms=max(2 * self.app.session_timeout_ms, 30_000),
            request_timeout_ms=max(2 * self.app.session_timeout_ms, 30_000),
        )
        make_patient(consumer._client)
        return consumer


class BatchTransport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with the consumer above."""

    Consumer = BatchConsumer
