"""A worker that kills itself: `python -m tests.support.crashing_worker POINT NTH SIGNAL`, with a worker's environment.

At the NTH passing of the crash point POINT (all partitions together) the process sends itself SIGNAL. After SIGKILL
nothing is flushed, no connection is closed in order, no transaction is ended. By SIGSTOP it freezes, and goes on from
there when it is told to (SIGCONT), as after a long pause of its machine.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import get_args

from streams.app import run_worker
from streams.engine.config import CrashPoint
from streams.settings import Settings

CRASH_POINTS: tuple[str, ...] = get_args(CrashPoint)


class Fuse:
    """A probe that sends the process a signal at the nth passing of a point."""

    def __init__(self, point: str, nth: int, number: signal.Signals = signal.SIGKILL) -> None:
        assert point in CRASH_POINTS, point
        self.point = point
        self.left = nth
        self.number = number

    def __call__(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.number)


def module(point: str, nth: int, number: signal.Signals = signal.SIGKILL) -> tuple[str, ...]:
    """What to run in place of `nps worker`."""
    return __name__, point, str(nth), number.name


if __name__ == "__main__":
    run_worker(Settings.from_environment(), Fuse(sys.argv[1], int(sys.argv[2]), signal.Signals[sys.argv[3]]))
