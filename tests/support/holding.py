"""How long something holds the event loop by its own work, on a machine that has others to run, too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from streams.event_loop import EventLoopWatch

TIMES = 5


async def longest_hold_s(work: Callable[[], Awaitable[object]]) -> float:
    """Do it three times; return the longest hold of the best: a collection of the test process's garbage, which is
    much more than a worker has, does not come each time.
    """

    async def once() -> float:
        seen = [0.0]
        watch = EventLoopWatch(lambda _, own_s: seen.append(own_s))
        await watch.start()
        await work()
        await watch.stop()
        return max(seen)

    return await _best_of_some(once)


async def longest_turn_s(work: Callable[[], Awaitable[object]]) -> float:
    """The same in CPU of this thread alone, for work that keeps other threads busy which hold up nobody."""

    async def once() -> float:
        seen = [0.0]
        watch = asyncio.create_task(_between_turns(seen))
        await work()
        watch.cancel()
        return max(seen)

    return await _best_of_some(once)


async def _best_of_some(once: Callable[[], Awaitable[float]]) -> float:
    longest = [await once() for _ in range(TIMES)]
    print(f"longest holds: {', '.join(f'{hold_s * 1000:.1f} ms' for hold_s in longest)}")
    return min(longest)


async def _between_turns(seen: list[float]) -> None:
    while True:
        before_s = time.thread_time()
        await asyncio.sleep(0)
        seen[0] = max(seen[0], time.thread_time() - before_s)
