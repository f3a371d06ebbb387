"""A loop that is held up shows in the metric, with about its length; one that is not, does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from streams.event_loop import LOOK_INTERVAL_S, EventLoopWatch

STALL_S = 0.2


def work() -> None:
    until = time.thread_time() + STALL_S
    while time.thread_time() < until:
        pass


@pytest.mark.parametrize(("hold", "by_us"), [(lambda: time.sleep(STALL_S), False), (work, True)], ids=["wait", "work"])
async def test_a_stall_is_seen_with_its_length_and_whose_it_was(hold: Callable[[], None], by_us: bool) -> None:
    seen: list[tuple[float, float]] = []
    watch = EventLoopWatch(lambda late_s, own_s: seen.append((late_s, own_s)))
    await watch.start()
    try:
        await asyncio.sleep(0.3)
        quiet, idle_looks = sorted(seen), len(seen)
        hold()
        await asyncio.sleep(0.05)
    finally:
        await watch.stop()
    assert idle_looks >= 5
    assert quiet[len(quiet) // 2][0] < 0.05
    late_s, own_s = max(seen[idle_looks:])
    assert late_s >= STALL_S - LOOK_INTERVAL_S
    assert by_us or late_s < 5, "of about its length, on a machine that has others to run"
    assert own_s > STALL_S - LOOK_INTERVAL_S if by_us else own_s < STALL_S / 2
