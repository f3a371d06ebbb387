"""The demonstration's worker: a process of its own, as in production, that is always stopped."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from streams.cli.console import Failure

READY_WITHIN_S = 90.0
STOP_WITHIN_S = 20.0
LAST_LINES = 15
POLL_S = 0.1

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # prctl(2), Linux


def _end_with_parent() -> None:
    """Runs in the new process: it is asked to end when the demonstration ends without a chance to ask."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class WorkerProcess:
    """`nps worker` with the environment given, its output in a file. Stopped when the context ends."""

    def __init__(self, environment: dict[str, str], log_file: Path, url: str) -> None:
        self.url = url
        self._environment = environment
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        with self._log_file.open("wb") as log:
            # A session of its own: Ctrl-C at the terminal is for the demonstration, which then stops the worker.
            self._process = subprocess.Popen(  # noqa: ASYNC220 - starting takes no time worth a thread
                [sys.executable, "-m", "streams.cli", "worker"],
                env=os.environ | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._running
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "inside the context"
        return self._process

    @property
    def pid(self) -> int:
        """Of the worker's process."""
        return self._running.pid

    def check(self) -> None:
        """Notice a worker that has ended.

        Raises:
            Failure: with the last lines that it wrote.
        """
        status = self._running.poll()
        if status is None:
            return
        lines = self._log_file.read_text(errors="replace").splitlines()[-LAST_LINES:]
        ended = f"was killed by signal {-status}" if status < 0 else f"ended with exit code {status}"
        raise Failure("\n  ".join([f"the worker {ended}; its last lines:", *(lines or ["(none)"])]))

    async def ready(self, stop: asyncio.Event) -> None:
        """Return when the worker answers that it is ready, or when asked to stop.

        Raises:
            Failure: it ended, or is not ready in time.
        """
        deadline = time.monotonic() + READY_WITHIN_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as session:
            while not stop.is_set():
                self.check()
                try:
                    async with session.get(f"{self.url}/readyz") as response:
                        if response.status == 200:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass  # it does not listen yet
                if time.monotonic() > deadline:
                    raise Failure(f"the worker was not ready within {READY_WITHIN_S:g} s")
                await asyncio.sleep(POLL_S)
