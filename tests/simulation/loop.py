"""An event loop whose time is a number, and in which a process can stand still while the others go on.

Whatever runs in a context where `PROCESS` is set belongs to that process. While the process is halted, its callbacks
and due timers are held back, as of a process that has been sent SIGSTOP; killed, it stays halted for ever.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from typing import Any


ROUND_S = 1e-6
"""What one round of the loop takes, for whoever looks at the clock until it has moved."""


class Process:
    """What the loop knows of a simulated process."""

    def __init__(self) -> None:
        self.halted = False
        self.held: list[asyncio.Handle] = []


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class NothingLeft(Exception):
    """Everybody waits for somebody: no callback is ready and no timer is set."""


class VirtualLoop(asyncio.BaseEventLoop):
    """No sockets, no threads: callbacks and timers alone. Waiting costs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._selector = self  # the base class asks its selector to wait
        self._clock_resolution = 1e-9
        self.outside = contextvars.Context()
        """Where what belongs to no process runs: the network, the cluster."""

    def time(self) -> float:
        return self.now_s

    def select(self, timeout: float | None) -> Sequence[Any]:
        if timeout is None:
            raise NothingLeft
        self.now_s += max(timeout, ROUND_S)
        return ()

    def _process_events(self, event_list: Sequence[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    # --- processes ----------------------------------------------------------------------------------------------------

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        handle = super().call_soon(callback, *args, context=context)
        process = handle._context.get(PROCESS)
        if process is not None and process.halted:
            self._ready.pop()
            process.held.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        itself: list[asyncio.TimerHandle] = []
        timer = super().call_at(when, self._due, itself, callback, args, context=context)
        itself.append(timer)
        return timer

    @staticmethod
    def _due(itself: list[asyncio.TimerHandle], callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        process = PROCESS.get()
        if process is not None and process.halted:
            process.held.append(itself[0])
        else:
            callback(*args)

    def halt(self, process: Process) -> None:
        """From now on nothing of the process runs; a step that is running goes on until it waits."""
        process.halted = True
        ready = self._ready
        for place, handle in enumerate(ready):
            if handle._context.get(PROCESS) is process:
                process.held.append(handle)
                # The loop has counted what it is going to run, so the place stays taken.
                ready[place] = asyncio.Handle(_nothing, (), self)

    def resume(self, process: Process) -> None:
        """Let it go on with everything that has come due meanwhile."""
        process.halted = False
        self._ready.extend(process.held)
        process.held.clear()


def _nothing() -> None:
    pass
