"""A partition that is told to stop twice: by a rebalance, and by a SIGTERM that comes in the middle of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest

from streams.engine.partition import Partition
from streams.engine.shared import Shared


@pytest.mark.parametrize("ready", [True, False])
async def test_it_is_closed_only_when_its_last_unit_is_committed(tmp_path: Path, ready: bool) -> None:
    """Or, while it is still being opened, when that was given up."""
    config = Mock(state_dir=tmp_path, transaction_timeout_ms=5_000)
    partition = Partition(config, 0, Mock(), Mock(), (Mock(), Mock()), Shared(), AsyncMock())
    said: list[str] = []
    transactor = AsyncMock()
    transactor.close.side_effect = lambda: said.append("let go")

    async def live() -> None:
        try:
            await asyncio.sleep(0.1)
            said.append("committed")
        except asyncio.CancelledError:
            said.append("given up")
            raise

    partition._transactor = transactor
    partition._life = asyncio.create_task(live())
    if ready:
        partition.ready.set()
    await asyncio.sleep(0)
    pausing = asyncio.create_task(partition.pause())
    await asyncio.sleep(0.01)
    await partition.close()
    await pausing
    assert said == ["committed" if ready else "given up", "let go"]
