"""A process that serves until it is asked to stop: its loop, its signals, its end in time."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import uvloop

from streams.logs import configure_logging
from streams.settings import Settings

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S: Final = 8.0
"""After SIGTERM; what has not ended by then is broken off."""


def serve(settings: Settings, main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run `main` until it ends, by itself or soon after its event is set by SIGTERM or SIGINT; return the exit code.

    Raises what `main` raises.
    """
    configure_logging(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(main))


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do something that may take long before there is anything to stop in order; False where it was broken off since
    the process is asked to stop. Raises what it raises.
    """
    task, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.wait([task], timeout=1)
    return False


async def _serve(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = asyncio.ensure_future(main(stop))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if running.done():
        running.result()
        return 0
    logger.info("stopping")
    began = time.monotonic()
    await asyncio.wait([running], timeout=STOP_TIMEOUT_S)
    if not running.done():
        logger.error("not everything ended within %.0f s: it is broken off", STOP_TIMEOUT_S)
        running.cancel()
        await asyncio.wait([running], timeout=1)
        return 1
    running.result()
    logger.info("stopped in %.1f s", time.monotonic() - began)
    return 0
