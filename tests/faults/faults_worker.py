"""A worker that can be told to fail while it runs: `python -m tests.faults.faults_worker DIRECTORY`.

It looks into the directory, which its tormentor writes to (`Controls`):

    fuse     POINT NTH SIGNAL: at the nth passing of a crash point from now on, the process sends itself the signal
    clock    seconds by which this process's wall clock is ahead of the machine's (or behind, when negative)

Production knows nothing of this: the clock is changed for the whole process before anything else is imported.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

LOOK_AT_CLOCK_EVERY_S = 0.05
MODULE = "tests.faults.faults_worker"


class Controls:
    """The directory, as the one who writes to it sees it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def module(self) -> tuple[str, ...]:
        """What to run in place of `nps worker`."""
        return MODULE, str(self.directory)

    def light_fuse(self, point: str, nth: int, number: signal.Signals) -> None:
        self._write("fuse", f"{point} {nth} {number.name}")

    def put_fuse_out(self) -> None:
        (self.directory / "fuse").unlink(missing_ok=True)

    def set_clock_ahead(self, seconds: float) -> None:
        self._write("clock", str(seconds))

    def _write(self, name: str, text: str) -> None:
        written = self.directory / f"{name}.new"
        written.write_text(text)
        written.rename(self.directory / name)  # whole or not at all


class Fuse:
    """A probe that looks for a fuse whenever a crash point is passed."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "fuse"
        self._point = ""
        self._left = 0
        self._number = signal.SIGKILL

    def __call__(self, point: str) -> None:
        if self._file.exists():
            self._point, nth, name = self._file.read_text().split()
            self._left, self._number = int(nth), signal.Signals[name]
            self._file.unlink(missing_ok=True)
        if self._left and point == self._point:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._number)


class JumpingClock:
    """The wall clock, ahead by what the file says."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self._time_ns = time.time_ns
        self._ahead_ns = 0
        self._looked_at_s = float("-inf")

    def time_ns(self) -> int:
        now_s = time.monotonic()
        if now_s - self._looked_at_s > LOOK_AT_CLOCK_EVERY_S:
            self._looked_at_s = now_s
            try:
                self._ahead_ns = int(float(self._file.read_text()) * 1e9)
            except FileNotFoundError:
                self._ahead_ns = 0
        return self._time_ns() + self._ahead_ns

    def time(self) -> float:
        return self.time_ns() / 1e9


def main(directory: Path) -> None:
    clock = JumpingClock(directory)
    time.time, time.time_ns = clock.time, clock.time_ns
    from streams.app import run_worker
    from streams.cli.errors import explain
    from streams.settings import Settings
    from tests.faults.faults_tell import tell_on_signal

    tell_on_signal()
    try:
        run_worker(Settings.from_environment(), Fuse(directory))
    except Exception as error:  # as `nps worker` tells what was to be expected
        sentences = explain(error)
        if sentences is None:
            raise
        print("\n".join(sentences), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
