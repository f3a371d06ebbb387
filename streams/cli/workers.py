"""Several workers under one parent, one a core: `nps worker --processes N`.

Each is a process of its own with a share of the partitions; the parent only starts them, starts again what ended, and
passes on the request to stop. When the parent is killed, its workers stop as if asked to.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from typing import Final

from streams.cli.console import Failure
from streams.cli.errors import explain, refuse
from streams.cli.stopping import stop_on_signals, stopped_within
from streams.logs import configure_logging
from streams.settings import Settings

logger = logging.getLogger(__name__)

RESTART_MIN_S: Final = 1.0
"""Pause before an ended worker is started again; doubles with each end in a row …"""
RESTART_MAX_S: Final = 30.0
"""… up to this …"""
STEADY_S: Final = 60.0
"""… and begins anew after one that ran for so long."""
STOP_TIMEOUT_S: Final = 20.0
"""What a worker needs at most after SIGTERM, twice over; after that it is killed."""
HIGHEST_PORT: Final = 65_535
_PR_SET_PDEATHSIG: Final = 1


def run_workers(settings: Settings, processes: int) -> int:
    """Run workers until SIGTERM, SIGINT or SIGHUP; returns 0 when all ended in order, else 1. Raises Failure."""
    each = [_settings_of(settings, number, processes) for number in range(processes)]
    configure_logging(settings.log_level, settings.log_format)
    return asyncio.run(_keep_all(each))


def _settings_of(settings: Settings, number: int, processes: int) -> Settings:
    """Each has a state directory and a port of its own."""
    if settings.http_port + processes - 1 > HIGHEST_PORT:
        raise Failure(
            f"NPS_HTTP_PORT: {processes} workers need the ports from {settings.http_port} on, of which the last would "
            f"be above {HIGHEST_PORT}"
        )
    own = {
        "http_port": settings.http_port and settings.http_port + number,
        "state_dir": settings.state_dir / f"worker-{number}",
    }
    return settings.model_copy(update=own)


async def _keep_all(each: list[Settings]) -> int:
    with stop_on_signals() as stop:
        codes = await asyncio.gather(*(_keep(number, settings, stop) for number, settings in enumerate(each)))
    return max(code != 0 for code in codes)


async def _keep(number: int, settings: Settings, stop: asyncio.Event) -> int:
    """Keep one worker running until asked to stop; returns the exit code of the last one."""
    name, pause_s = f"worker-{number}", RESTART_MIN_S
    while True:
        process = multiprocessing.get_context("spawn").Process(target=_work, args=(settings, os.getpid()), name=name)
        began = time.monotonic()
        process.start()
        await _ended_or_stop(process, stop)
        if stop.is_set():
            return await _stopped(process)
        if time.monotonic() - began >= STEADY_S:
            pause_s = RESTART_MIN_S
        logger.error("%s ended with status %s: starting it again in %.0f s", name, process.exitcode, pause_s)
        if await stopped_within(stop, pause_s):
            return process.exitcode or 0
        pause_s = min(2 * pause_s, RESTART_MAX_S)


async def _ended_or_stop(process: BaseProcess, stop: asyncio.Event) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(process.sentinel, ended.set)
    waiting = [asyncio.create_task(ended.wait()), asyncio.create_task(stop.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    loop.remove_reader(process.sentinel)
    if ended.is_set():
        process.join()


async def _stopped(process: BaseProcess) -> int:
    process.terminate()
    await asyncio.to_thread(process.join, STOP_TIMEOUT_S)
    if process.exitcode is None:
        logger.error("%s did not stop within %.0f s: killing it", process.name, STOP_TIMEOUT_S)
        process.kill()
        process.join()
    return process.exitcode or 0


def _work(settings: Settings, parent: int) -> None:
    """What a worker's process does."""
    _stop_with(parent)
    from streams.app import run_worker

    try:
        run_worker(settings)
    except Exception as error:
        sentences = explain(error)
        if sentences is None:
            raise
        refuse(settings.log_format, sentences)
        sys.exit(1)


def _stop_with(parent: int) -> None:
    """Let the system tell this process to stop when its parent is no more (on Linux; elsewhere it goes on)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was gone before
        sys.exit(1)
