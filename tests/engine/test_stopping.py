"""Told to stop twice: by a rebalance, and by a SIGTERM that comes in the middle of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest

from schemas.topics import Topics
from streams.engine import housekeeping
from streams.engine.engine import Engine
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


async def test_a_stop_while_the_group_takes_partitions_away_stays_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is opened any more when what was taken away has closed."""
    opened: list[int] = []

    async def closes_slowly(_: Partition) -> None:
        await asyncio.sleep(0.05)

    monkeypatch.setattr(Partition, "start", lambda partition: opened.append(partition.number))
    monkeypatch.setattr(Partition, "close", closes_slowly)
    monkeypatch.setattr("streams.engine.engine.FollowUpsConsumer", Mock(return_value=AsyncMock(start=Mock())))
    config = Mock(state_dir=tmp_path, deciding=Mock(partitions=3, topics=Topics()))
    engine = Engine(config, Mock(), Mock(), Mock(), Mock(), AsyncMock())
    await engine.assign([0, 1, 2])
    opened.clear()
    assigning = asyncio.create_task(engine.assign([0, 1]))
    await asyncio.sleep(0.01)
    await engine.stop()
    await assigning
    assert opened == []
    assert not engine.joined


async def test_a_partition_that_opens_again_does_not_wait_for_the_purges_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of all partitions they fall due together, and one is made after the other."""
    monkeypatch.setattr(housekeeping, "PURGE_INTERVAL_S", 0)
    store = Mock(holds_deleted=True, purge=Mock(side_effect=lambda: time.sleep(0.4)))
    decider = Mock(ledger=Mock(oldest_day=10**9), forget_anonymous=Mock(return_value=False))
    first, second = housekeeping.Housekeeping(0, 1), housekeeping.Housekeeping(1, 1)
    for each in (first, second):
        await each.keep(decider, store)
    await asyncio.sleep(0.05)
    began = time.monotonic()
    await second.purged()
    assert time.monotonic() - began < 0.2
    await first.purged()
    assert time.monotonic() - began > 0.2, "its own is waited for"
    monkeypatch.setattr(housekeeping, "HOUSEKEEPING_INTERVAL_S", 0)
    await second.keep(decider, store)
    await asyncio.sleep(0.05)
    await second.purged()
    assert store.purge.call_count == 2, "what was given up is done when it can be"
