"""Ending on request: Ctrl-C, SIGTERM and a closed terminal become an event that a command looks at."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, TypeVar

from streams.cli.console import Failure

T = TypeVar("T")

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ENDS_WITHIN_S: Final = 10.0
"""What was asked to end is waited for so long; and so long again once it is cancelled."""


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


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and a closed terminal end what is being started as Ctrl-C does; afterwards all is as it was."""

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as the signal module calls it
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def ended_by(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """Return what the work comes to. It ends by itself once it is asked to; where it waits for Kafka it is cancelled.

    Raises:
        Failure: it was cancelled.
    """
    task, asked = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait([task, asked], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait([task], timeout=ENDS_WITHIN_S)
    asked.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=ENDS_WITHIN_S)
        raise Failure("stopped while Kafka did not answer; the next one begins where this one last got an answer")
    return task.result()


async def stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    """Wait so long, or until asked to end; tells which."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()
