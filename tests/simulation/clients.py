"""The Kafka clients that the engine uses, with as much of their interface as it uses.

Every request travels: it reaches the cluster a moment later, also when whoever sent it is dead or frozen by then, and
the answer comes another moment later. In between a process can be killed or frozen, a request be refused, an answer
get lost (what was asked for has happened, and the client sees an error) or never come.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
    RequestTimedOutError,
)
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from streams.engine.follow_ups import FOLLOW_UPS_PER_POLL
from streams.engine.transport import BatchConsumer
from tests.simulation.cluster import Cluster, Entry, Row
from tests.simulation.loop import Process, VirtualLoop

T = TypeVar("T")

REQUEST_TIMEOUT_S = 40.0
LATENCY_MAX_S = 0.02
ERRORS: tuple[type[KafkaError], ...] = (
    KafkaConnectionError,
    KafkaTimeoutError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
    RequestTimedOutError,
)


class Client(Protocol):
    """What the network asks of the process that sends a request."""

    dead: bool

    def passes(self, moment: str) -> None:
        """It sends a request, or the cluster has just done what one asked for: now it may be killed or frozen."""

    def fault(self, request: str) -> str | None:
        """What goes wrong with this request: `refused`, `lost`, `hangs`."""


class Limits:
    """Sizes that the cluster and its clients work with, small, so that they matter."""

    def __init__(self, rng: random.Random) -> None:
        self.batch_rows = rng.choice((2, 5, 50, 50))
        self.poll_rows = rng.choice((2, 7, 100))


class Network:
    """One process's way to the cluster."""

    def __init__(
        self, loop: VirtualLoop, cluster: Cluster, rng: random.Random, process: Process, client: Client, limits: Limits
    ) -> None:
        self.loop = loop
        self.cluster = cluster
        self.rng = rng
        self.process = process
        self.client = client
        self.limits = limits
        self.outside = loop.outside
        self.down_until_s: Callable[[], float] = lambda: 0.0
        self.cut = False
        """The world has ended: nothing is sent any more."""

    def delay_s(self) -> float:
        """Of one way; every second one is no delay at all, which is cheap."""
        rng = self.rng
        return rng.random() ** 3 * LATENCY_MAX_S if rng.random() < 0.5 else 0.0


class Connection:
    """What one client sends arrives in order."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._last_s = 0.0

    async def request(self, name: str, effect: Callable[[], T]) -> T:
        network = self.network
        if network.cut:
            raise asyncio.CancelledError
        network.client.passes(f"{name} sent")
        while network.process.halted:  # noqa: ASYNC110
            await asyncio.sleep(0)  # nothing of this process goes on here until it is woken; never, if it was killed
        loop = network.loop
        answer: asyncio.Future[T] = loop.create_future()
        fault = network.client.fault(name)
        self._last_s = max(loop.now_s + network.delay_s(), self._last_s, network.down_until_s())
        loop.call_at(self._last_s, self._arrive, name, effect, fault, answer, context=network.outside)
        return await answer

    def _arrive(self, name: str, effect: Callable[[], Any], fault: str | None, answer: asyncio.Future[Any]) -> None:
        network = self.network
        if network.client.dead and network.rng.random() < 0.3:
            return  # it died before the last bytes had left
        found: Any = None
        error: BaseException | None = None
        if fault != "refused":
            try:
                found = effect()
            except KafkaError as refusal:
                error = refusal
        network.client.passes(f"{name} done")
        delay_s = network.delay_s()
        if fault is not None and error is None:
            error = network.rng.choice(ERRORS)()
            if fault == "hangs":
                delay_s = REQUEST_TIMEOUT_S
        if delay_s:
            network.loop.call_later(delay_s, _settle, answer, found, error, context=network.outside)
        else:
            _settle(answer, found, error)


def _settle(answer: asyncio.Future[Any], found: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(found)


# --- producer ---------------------------------------------------------------------------------------------------------


class Batch:
    """Records to be sent together."""

    def __init__(self, rows_max: int) -> None:
        self.rows: list[Row] = []
        self._rows_max = rows_max

    def append(
        self,
        *,
        timestamp: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes | None]] = (),
    ) -> object:
        if len(self.rows) >= self._rows_max:
            return None
        self.rows.append((key, value, tuple(headers)))
        return self

    def record_count(self) -> int:
        return len(self.rows)


class _Written:
    def __init__(self, offset: int) -> None:
        self.offset = offset


class Producer:
    """In place of `AIOKafkaProducer`: transactions."""

    def __init__(
        self,
        *,
        network: Network,
        transactional_id: str,
        transaction_timeout_ms: int,
        max_batch_size: int,
        linger_ms: int,
        retry_backoff_ms: int,
    ) -> None:
        self._network = network
        self._retry_s = retry_backoff_ms / 1000
        self._id = transactional_id
        self._timeout_s = transaction_timeout_ms / 1000
        self._connection = Connection(network)
        self._epoch = -1
        self._sending: list[asyncio.Task[_Written]] = []
        self._closed = False
        # What closing reaches for.
        self.client = self
        self._metadata_update: object = None
        self._sender = self
        self.sender_task = None
        self._txn_manager = self

    def wait_for_transaction_end(self) -> None:
        return None

    async def close(self) -> None:
        for task in self._sending:
            task.cancel()

    async def _until_done(self, name: str, effect: Callable[[], T | None]) -> T:
        while (found := await self._connection.request(name, effect)) is None:  # noqa: ASYNC110
            await asyncio.sleep(self._retry_s)
        return found

    async def start(self) -> None:
        self._epoch = await self._until_done("init", lambda: self._network.cluster.init_producer(self._id))

    async def begin_transaction(self) -> None:
        self._sending = []

    def create_batch(self) -> Batch:
        return Batch(self._network.limits.batch_rows)

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> Awaitable[_Written]:
        before = self._sending[-1] if self._sending else None
        task = asyncio.create_task(self._send(batch, TopicPartition(topic, partition), before))
        self._sending.append(task)
        return task

    async def _send(self, batch: Batch, at: TopicPartition, before: asyncio.Task[_Written] | None) -> _Written:
        if before is not None:
            await before
        cluster = self._network.cluster
        offset = await self._until_done(
            "write", lambda: cluster.write(self._id, self._epoch, at, batch.rows, self._timeout_s)
        )
        return _Written(offset)

    async def send_offsets_to_transaction(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group_id: str
    ) -> None:
        plain = {at: (offset.offset, offset.metadata) for at, offset in offsets.items()}
        cluster = self._network.cluster
        await self._until_done(
            "offsets", lambda: cluster.write_offsets(self._id, self._epoch, group_id, plain, self._timeout_s)
        )

    async def commit_transaction(self) -> None:
        for task in self._sending:
            await task
        await self._until_done("commit", lambda: self._network.cluster.end(self._id, self._epoch))


# --- consumers --------------------------------------------------------------------------------------------------------


class _Reading:
    """A position in one partition's log; `committed` readers see what is committed, up to the last stable offset."""

    def __init__(self, cluster: Cluster, at: TopicPartition, *, committed: bool) -> None:
        self._log = cluster.log(at)
        self._at = at
        self._committed = committed
        self.position = 0
        self.has_valid_position = True
        self.highwater: int | None = None
        """The end, as the last fetch told it."""

    @property
    def end(self) -> int:
        return self._log.stable_end if self._committed else self._log.end

    def take(self, count: int) -> list[ConsumerRecord[bytes, bytes]]:
        self.highwater = self._log.end
        records: list[ConsumerRecord[bytes, bytes]] = []
        while self.position < self.end and len(records) < count:
            entry = self._log.entries.get(self.position)
            if entry is not None and not entry.control and (entry.is_committed or not self._committed):
                records.append(_record(self._at, self.position, entry))
            self.position += 1
        return records


def _record(at: TopicPartition, offset: int, entry: Entry) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord(
        at.topic, at.partition, offset, entry.timestamp_ms, 0, entry.key, entry.value, None, -1, -1, entry.headers
    )


class Consumer:
    """In place of `AIOKafkaConsumer`, as it restores: partitions assigned by hand."""

    def __init__(
        self,
        *,
        network: Network,
        auto_offset_reset: str,
        isolation_level: str,
        enable_auto_commit: bool,
        max_partition_fetch_bytes: int,
    ) -> None:
        self._client = self
        self._metadata_update: object = None
        self._network = network
        self._connection = Connection(network)
        self._committed = isolation_level == "read_committed"
        self._reading: dict[TopicPartition, _Reading] = {}
        self._paused: set[TopicPartition] = set()

    async def start(self) -> None:
        await self._connection.request("metadata", lambda: None)

    async def stop(self) -> None:
        pass

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        cluster = self._network.cluster
        self._reading = {at: _Reading(cluster, at, committed=self._committed) for at in partitions}

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        cluster = self._network.cluster

        def found() -> dict[TopicPartition, int]:
            logs = {at: cluster.log(at) for at in partitions}
            return {at: log.stable_end if self._committed else log.end for at, log in logs.items()}

        return await self._connection.request("ends", found)

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._connection.request("beginnings", lambda: dict.fromkeys(partitions, 0))

    def seek(self, at: TopicPartition, offset: int) -> None:
        self._reading[at].position = offset

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused.difference_update(partitions)

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused.update(partitions)

    async def getmany(
        self, *, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
        name = "restore" if max_records != FOLLOW_UPS_PER_POLL else "follow"
        found = await self._connection.request(name, lambda: self._take(min(max_records, self._poll_rows())))
        if not found:
            await asyncio.sleep(timeout_ms / 1000)
        return found

    def _poll_rows(self) -> int:
        return self._network.rng.randint(1, self._network.limits.poll_rows)

    def _take(self, count: int) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
        found = {at: reading.take(count) for at, reading in self._reading.items() if at not in self._paused}
        return {at: records for at, records in found.items() if records}

    async def position(self, at: TopicPartition) -> int:
        return self._reading[at].position

    def highwater(self, at: TopicPartition) -> int:
        return self._reading[at].end

    def last_poll_timestamp(self, at: TopicPartition) -> int:
        return self._network.cluster.now_ms()


class Admin:
    """In place of `AIOKafkaAdminClient`: the group's offsets."""

    def __init__(self, *, network: Network) -> None:
        self._network = network
        self._connection = Connection(network)

    async def start(self) -> None:
        await self._connection.request("metadata", lambda: None)

    async def close(self) -> None:
        pass

    async def list_consumer_group_offsets(
        self, group_id: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        known = self._network.cluster.offsets

        def found() -> dict[TopicPartition, OffsetAndMetadata]:
            return {at: OffsetAndMetadata(*known.get((group_id, at), (-1, ""))) for at in partitions}

        return await self._connection.request("committed", found)


class _Driver(BatchConsumer.__mro__[1]):  # type: ignore[misc]
    """In place of Faust's driver, below `BatchConsumer`: fetches that take their time."""

    def __init__(self, network: Network, engine: Any, heartbeat: Callable[[], bool]) -> None:
        self._network = network
        self._connection = Connection(network)
        self._heartbeat = heartbeat
        self._reading: dict[TopicPartition, _Reading] = {}
        self.engine = engine
        self.fetch_records = 1
        self._thread = self

    @property
    def app(self) -> Any:
        """What `BatchConsumer` asks for the engine."""
        return self

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """The group has spoken. Where to read from is known later."""
        self._reading = {at: _Reading(self._network.cluster, at, committed=True) for at in partitions}

    async def _getmany(self, active_partitions: Any, timeout: float) -> dict[Any, list[Any]]:  # noqa: ASYNC109
        wanted = [at for at in sorted(active_partitions) if at in self._reading]

        def fetched() -> dict[Any, list[Any]]:
            found = {at: self._reading[at].take(self.fetch_records) for at in wanted if at in self._reading}
            return {at: records for at, records in found.items() if records}

        return await self._connection.request("fetch", fetched)

    async def seek_wait(self, partitions: Mapping[Any, int]) -> None:
        await asyncio.sleep(self._network.delay_s())
        for at, offset in partitions.items():
            if at in self._reading:
                self._reading[at].position = offset

    async def position(self, at: TopicPartition) -> int:
        assert at in self._reading, "not assigned"
        return self._reading[at].position

    def highwater(self, at: TopicPartition) -> int:
        assert at in self._reading, "not assigned"
        return self._reading[at].end

    async def highwaters(self, *partitions: TopicPartition) -> dict[TopicPartition, int]:
        cluster = self._network.cluster
        return await self._connection.request("ends", lambda: {at: cluster.log(at).stable_end for at in partitions})

    async def earliest_offsets(self, *partitions: TopicPartition) -> dict[TopicPartition, int]:
        return await self._connection.request("beginnings", lambda: dict.fromkeys(partitions, 0))

    # How far it has read is seen in `thread._ensure_consumer()._subscription.subscription.assignment.state_value(at)`

    @property
    def _subscription(self) -> Any:
        return self

    @property
    def subscription(self) -> Any:
        return self

    @property
    def assignment(self) -> Any:
        return self

    def state_value(self, at: TopicPartition) -> _Reading | None:
        return self._reading.get(at)

    # A membership is confirmed by `thread.call_thread(thread._ensure_consumer()._coordinator._do_heartbeat)`

    def _ensure_consumer(self) -> Any:
        return self

    @property
    def _coordinator(self) -> Any:
        return self

    def _do_heartbeat(self) -> bool:
        return self._heartbeat()

    async def call_thread(self, method: Callable[[], T]) -> T:
        return await self._connection.request("heartbeat", method)


class GroupConsumer(BatchConsumer, _Driver):  # type: ignore[misc]
    """The engine's own consumer, on top of that driver."""
