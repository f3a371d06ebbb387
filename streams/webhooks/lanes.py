"""Many customers at a time, one event of each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T")


class Lanes(Generic[T]):
    """Runs work lane by lane: within one in order, the next after the last has ended; the lanes side by side."""

    def __init__(self, work: Callable[[T], Awaitable[None]], failed: Callable[[BaseException], None]) -> None:
        """`failed` is told what `work` raised; the rest of that lane is not done then."""
        self._work = work
        self._failed = failed
        self._waiting: dict[Hashable, deque[T]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self.pending = 0
        """What is put and not done."""
        self.changed: Final = asyncio.Event()
        """Set whenever `pending` sinks."""

    def put(self, lane: Hashable, item: T) -> None:
        """Add work at the end of a lane."""
        self.pending += 1
        waiting = self._waiting.get(lane)
        if waiting is not None:
            waiting.append(item)
            return
        self._waiting[lane] = deque([item])
        task = asyncio.create_task(self._run(lane))
        self._running.add(task)
        task.add_done_callback(self._ended)

    async def clear(self) -> None:
        """Cancel everything, also what is being done, and wait until it has ended."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        self._waiting.clear()
        self.pending = 0
        self.changed.set()

    async def _run(self, lane: Hashable) -> None:
        waiting = self._waiting[lane]
        while waiting:
            await self._work(waiting[0])
            waiting.popleft()
            self.pending -= 1
            self.changed.set()
        del self._waiting[lane]

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
