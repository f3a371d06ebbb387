"""Sending to Kafka so that it ends: nothing spins, waits for ever or is forgotten while no broker answers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Self, TypeVar

from aiokafka.errors import KafkaTimeoutError

MAX_UNACKNOWLEDGED = 20_000
ACKNOWLEDGED_WITHIN_S = 30.0
"""A record that takes longer is given up; the client itself would try an idempotent one again for ever."""

T = TypeVar("T")


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
