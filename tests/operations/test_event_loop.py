"""A loop that is held up shows in the metric, with about its length; one that is not, does not."""

from __future__ import annotations

import asyncio
import time

from streams.event_loop import LOOK_INTERVAL_S, EventLoopWatch


async def test_a_stall_is_seen_with_its_length() -> None:
    seen: list[float] = []
    watch = EventLoopWatch(seen.append)
    await watch.start()
    try:
        await asyncio.sleep(0.3)
        quiet, idle_looks = sorted(seen), len(seen)
        time.sleep(0.2)  # noqa: ASYNC251  (what must not be done)
        await asyncio.sleep(0.05)
    finally:
        await watch.stop()
    assert idle_looks >= 5
    assert quiet[len(quiet) // 2] < 0.05
    assert 0.2 - LOOK_INTERVAL_S <= max(seen[idle_looks:]) < 1.0
