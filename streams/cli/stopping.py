"""Ending on request: Ctrl-C, SIGTERM and a closed terminal become an event that a command looks at."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that is set when the process is asked to end; inside, no signal interrupts anything by itself."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


def sigterm_interrupts() -> None:
    """Let SIGTERM and a closed terminal do to `asyncio.run` what Ctrl-C does, from here on: it ends in order."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, signal.raise_signal, signal.SIGINT)


async def stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    """Wait so long, or until asked to end; tells which."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()
