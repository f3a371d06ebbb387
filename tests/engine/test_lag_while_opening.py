"""What waits for a partition that is still being restored is lag, too."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.topics import Topics
from streams.app import engine_config
from streams.engine import partition as partition_module
from streams.engine.follow_ups import FollowUpsRead
from streams.engine.partition import Partition
from streams.engine.positions import Committed
from streams.engine.shared import Shared
from streams.settings import Settings


class Positions:
    """Of a group that stands at 100 of 600."""

    async def committed(self, _: object) -> Committed:
        return Committed(100, 0, 600, "")

    def follow_ups_read(self, _: int) -> FollowUpsRead:
        return FollowUpsRead(0, 0, time.time())

    def leave(self, *_: object) -> None:
        """Nothing is delivered."""

    def end_offset(self, _: int) -> None:
        """Nothing was fetched."""

    def read_to_end(self, _: int) -> bool:
        return False


async def test_lag_is_told_while_a_partition_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restoring = asyncio.Event()

    async def restore(*_: object) -> None:
        restoring.set()
        await asyncio.Event().wait()

    async def nothing(*_: object) -> None:
        """Of a transactor."""

    monkeypatch.setattr(partition_module, "restore", restore)
    monkeypatch.setattr(partition_module, "Transactor", lambda *_: SimpleNamespace(start=nothing, close=nothing))
    config = engine_config(Settings(state_dir=tmp_path), Topics(), 1, "instance")
    told: Any = SimpleNamespace(
        partition_opening=lambda _: None, partition_closed=lambda *_: None, partition_gone=lambda _: None
    )
    positions: Any = Positions()
    partition = Partition(config, 0, positions, told, (told, told), Shared(), nothing)
    assert partition.status().lag_records == 0, "nothing is known of it yet"
    partition.start()
    await restoring.wait()
    await asyncio.sleep(0.3)
    status = partition.status()
    assert (status.ready, status.lag_records) == (False, 500)
    assert 0.3 <= status.lag_seconds < 60
    await partition.close()
