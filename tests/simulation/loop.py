"""An event loop whose time is a number, and in which a process can stand still while the others go on.

Whatever runs in a context where `PROCESS` is set belongs to that process. While the process is halted, its callbacks
and due timers are held back, as of a process that has been sent SIGSTOP; killed, it stays halted for ever.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

ROUND_S = 1e-6
"""What one round of the loop takes, for whoever looks at the clock until it has moved."""


ROUNDS_MAX = 500_000
"""A schedule takes some thousands; one that never ends takes more than this."""


class Process:
    """What the loop knows of a simulated process."""

    def __init__(self) -> None:
        self.halted = False
        self.held: list[_Callback] = []


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class NothingLeft(Exception):
    """Everybody waits for somebody: no callback is ready and no timer is set."""


class Endless(Exception):
    """Somebody is busy for ever."""


class _Callback(asyncio.Handle):
    """A handle that is quick to make and to run: half of a schedule is callbacks."""

    __slots__ = ("process",)

    def __init__(  # the base class's would look for debugging, which these loops never do
        self,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        loop: VirtualLoop,
        context: contextvars.Context | None,
    ) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None
        self.process = self._context.get(PROCESS)


class VirtualLoop(asyncio.BaseEventLoop):
    """No sockets, no threads: callbacks and timers alone. Waiting costs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.outside = contextvars.Context()
        """Where what belongs to no process runs: the network, the cluster."""
        self._ready: deque[_Callback] = deque()
        self._timers: list[tuple[float, int, _Callback]] = []
        self._numbers = count()
        self._rounds = 0

    def time(self) -> float:
        return self.now_s

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        handle = _Callback(callback, args, self, context)
        self._is_ready(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = _Callback(callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer  # type: ignore[return-value]  # nobody asks when it is due

    def run_in_executor(  # type: ignore[override]
        self, executor: None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """What is for a thread is done at once, in a turn of its own."""
        done: asyncio.Future[Any] = self.create_future()
        self.call_soon(_work, done, func, args)
        return done

    def halt(self, process: Process) -> None:
        """From now on nothing of the process runs; a step that is running goes on until it waits."""
        process.halted = True
        waiting = list(self._ready)
        self._ready.clear()
        for handle in waiting:
            self._is_ready(handle)

    def resume(self, process: Process) -> None:
        """Let it go on with everything that has come due meanwhile."""
        process.halted = False
        self._ready.extend(process.held)
        process.held.clear()

    def _is_ready(self, handle: _Callback) -> None:
        process = handle.process
        if process is not None and process.halted:
            process.held.append(handle)
        else:
            self._ready.append(handle)

    def _run_once(self) -> None:
        """What the base class calls again and again: everything that is ready now runs, in order."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        self.now_s += ROUND_S
        self._rounds += 1
        if self._rounds == ROUNDS_MAX:
            raise Endless
        if not ready and not self._stopping:
            if not timers:
                raise NothingLeft
            self.now_s = max(self.now_s, timers[0][0])
        while timers and timers[0][0] <= self.now_s:
            self._is_ready(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            if not ready:  # the rest was of a process that was halted
                break
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()


def _work(done: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if done.cancelled():
        return
    try:
        done.set_result(func(*args))
    except Exception as error:
        done.set_exception(error)
