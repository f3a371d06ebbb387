"""A service beside the engine that cannot go on ends the worker, which says why."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams.app import Worker
from streams.scoreboard.board import UnreadableCounts
from streams.settings import Settings


@pytest.mark.parametrize(
    ("which", "number"), [("HttpServer", 0), ("CountsReader", 0), ("CountsReader", 1), ("ScorePublisher", 0)]
)
async def test_a_service_that_crashes_ends_the_worker(which: str, number: int, tmp_path: Path) -> None:
    """Of the two that read counts, of responses and of cases, either."""
    worker = Worker(Settings(state_dir=tmp_path, http_port=0), 1, "")
    crashed = asyncio.create_task(worker.app.crashed_with())
    await asyncio.sleep(0)
    service = [service for service in worker._services if type(service).__name__ == which][number]
    reason = UnreadableCounts("segment counts of partition 0: a newer release wrote it")
    await service.crash(reason)
    async with asyncio.timeout(5):
        assert await crashed is reason
