"""What is watched while a load runs: how much memory a worker takes, and the stalls of its event loop."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.support.worker import WorkerProcess

LOOK_INTERVAL_S = 0.05
STALL_BUCKET = "nps_event_loop_stall_seconds_bucket"
HOLD_BUCKET = "nps_event_loop_hold_seconds_bucket"


class Watch:
    """Calls `look` every 50 ms in a thread; leaving the context raises what went wrong in it."""

    def __init__(self, look: Callable[[], None], interval_s: float = LOOK_INTERVAL_S) -> None:
        self._look = look
        self._interval_s = interval_s
        self._over = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._look()
            except Exception as error:
                self._error = error
                return
            self._over.wait(self._interval_s)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error


def cpu_s(process: psutil.Process) -> float:
    """User and system time of all threads so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def cpu_s_by_thread(process: psutil.Process) -> dict[str, float]:
    """The same of the event loop's thread, RocksDB's threads, and the others: the consumer's, and those for files."""
    spent = {"loop": 0.0, "rocksdb": 0.0, "others": 0.0}
    for thread in process.threads():
        name = Path(f"/proc/{process.pid}/task/{thread.id}/comm").read_text()
        kind = "loop" if thread.id == process.pid else "rocksdb" if name.startswith("rocksdb") else "others"
        spent[kind] += thread.user_time + thread.system_time
    return spent


def state_bytes(worker: WorkerProcess) -> float:
    """RocksDB files and memtables of all its partitions, as it says itself."""
    return sum(size for (name, _), size in worker.metrics().items() if name == "nps_state_bytes")


class Memory:
    """The most resident memory that a worker was seen to have, in bytes."""

    def __init__(self, worker: WorkerProcess) -> None:
        assert worker.process is not None
        self._process = psutil.Process(worker.process.pid)
        self.most_bytes = 0

    def look(self) -> None:
        """Ask the operating system."""
        with suppress(psutil.NoSuchProcess):
            self.most_bytes = max(self.most_bytes, self._process.memory_info().rss)

    @property
    def cpu_s(self) -> float:
        """User and system time of all threads so far."""
        return cpu_s(self._process)

    @property
    def cpu_s_by_thread(self) -> dict[str, float]:
        """The same by kind of thread; what a thread spent that has ended is nobody's."""
        return cpu_s_by_thread(self._process)


class Stalls:
    """The stalls of a worker's event loop from now on, as it measures them itself."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._before = self._buckets()

    def _buckets(self) -> dict[tuple[str, float], float]:
        """(metric, upper bound in seconds) → how many were no longer."""
        return {
            (name, float(dict(labels)["le"])): count
            for (name, labels), count in self._worker.metrics().items()
            if name in (STALL_BUCKET, HOLD_BUCKET)
        }

    def longest_s(self, metric: str = STALL_BUCKET) -> float:
        """The upper bound of the longest one's bucket."""
        since = {at: count - self._before[at] for at, count in self._buckets().items()}
        return min(bound for (name, bound), count in since.items() if name == metric and count == since[name, math.inf])

    def __str__(self) -> str:
        return f"{self.longest_s():g} s, of the process's own doing {self.longest_s(HOLD_BUCKET):g} s"
