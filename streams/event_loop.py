"""How long the event loop keeps others waiting: heartbeats, scrapes and every partition share it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from mode import Service

LOOK_INTERVAL_S: Final = 0.01
"""A stall is seen short of this much at the most; a look costs some 15 µs."""


class EventLoopWatch(Service):  # type: ignore[misc]
    """Sleeps for a moment, again and again, and reports by how many seconds it was woken too late, and for how many of
    these this process itself was at work: in the rest, the machine ran others.
    """

    mundane_level = "debug"

    def __init__(self, observe: Callable[[float, float], None], **options: Any) -> None:
        super().__init__(**options)
        self._observe = observe

    @Service.task  # type: ignore[untyped-decorator, unused-ignore]
    async def _watch(self) -> None:
        clock = time.perf_counter  # uvloop's own clock is read once a turn
        while not self.should_stop:
            due, used_s = clock() + LOOK_INTERVAL_S, time.process_time()
            await asyncio.sleep(LOOK_INTERVAL_S)
            late_s = max(clock() - due, 0.0)
            # Of all threads: one of them that holds Python's lock holds up the loop, too.
            self._observe(late_s, min(late_s, time.process_time() - used_s))
