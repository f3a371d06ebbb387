"""Sending to Kafka so that it ends: nothing spins, waits for ever or is forgotten while no broker answers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError

from streams.engine.clients import make_patient

MAX_UNACKNOWLEDGED = 20_000
ACKNOWLEDGED_WITHIN_S = 30.0
"""A record that takes longer is given up; the client itself would try an idempotent one again for ever."""
STOP_WITHIN_S = 5.0
"""What is under way when a producer is stopped is waited for so long."""

T = TypeVar("T")


class Producer(AIOKafkaProducer):  # type: ignore[misc]
    """A producer whose failing is told once, by whoever waits for a record."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        make_patient(self.client)

    async def send(self, *args: Any, **kwargs: Any) -> asyncio.Future[object]:
        """Hand a record over; the future is for Kafka's acknowledgement."""
        sent: asyncio.Future[object] = await super().send(*args, **kwargs)
        sent.add_done_callback(_look_at)
        return sent

    async def stop(self) -> None:
        """Close. With a broker that is away aiokafka's own stop would wait for it."""
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await super().stop()
        except TimeoutError:
            await self._sender.close()
            await self.client.close()


def _look_at(sent: asyncio.Future[object]) -> None:
    """Python tells of each error that nobody has looked at; after the first one nobody waits for the others."""
    if not sent.cancelled():
        sent.exception()


class UnderWay(Generic[T]):
    """What is sent and not yet acknowledged, in order, each with what is to be counted once it is.

    As a context manager, around the producer's: in the end, whatever it is, all that was acknowledged is counted.
    """

    def __init__(self, count: Callable[[T], None] = lambda _: None) -> None:
        self._count = count
        self._pending: deque[tuple[asyncio.Future[object], float, T]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for sent, _, counted in self._pending:
            if sent.done() and not sent.cancelled() and sent.exception() is None:
                self._count(counted)
        self._pending.clear()

    def add(self, sent: asyncio.Future[object], counted: T) -> None:
        """Take what a producer's `send` returned."""
        self._pending.append((sent, time.monotonic(), counted))

    async def acknowledged(self, down_to: int = 0) -> None:
        """Return when no more than so many are under way.

        Raises:
            KafkaError: one was refused, or has been under way for too long.
        """
        while self._pending:
            sent, since_s, counted = self._pending[0]
            if sent.done():
                sent.result()
                self._pending.popleft()
                self._count(counted)
                continue
            left_s = since_s + ACKNOWLEDGED_WITHIN_S - time.monotonic()
            if left_s <= 0:
                raise KafkaTimeoutError
            if len(self._pending) <= down_to:
                return
            await asyncio.wait([sent], timeout=left_s)  # unlike awaiting it, leaves it alone when interrupted
