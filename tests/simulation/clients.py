"""How requests travel, and the producer that the engine uses, with as much of its interface as it uses.

Every request travels: it reaches the cluster a moment later, also when whoever sent it is dead or frozen by then, and
the answer comes another moment later. In between a process can be killed or frozen, a request be refused, an answer
get lost (what was asked for has happened, and the client sees an error) or never come.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
    RequestTimedOutError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from tests.simulation.cluster import Cluster, Row
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
