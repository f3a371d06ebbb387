"""A coordinator that has just come back may, for a moment, know less than what this worker has committed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest

from streams.engine import partition as partition_module
from streams.engine.partition import Partition
from streams.engine.positions import Committed, OffsetWentBack


async def test_it_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_module, "Transactor", MagicMock(return_value=AsyncMock()))
    monkeypatch.setattr(partition_module, "restore", AsyncMock())
    positions = AsyncMock()
    config = Mock(state_dir=tmp_path, transaction_timeout_ms=5_000, counts_retention_us=1)
    shared = Mock(restoring=asyncio.Lock(), turn=asyncio.Lock())
    partition = Partition(config, 0, positions, Mock(), (Mock(), Mock()), shared, AsyncMock())
    partition.known.offset = 100
    for old in (Committed(40, 0, 120, ""), Committed(None, 0, 120, "")):
        positions.committed.return_value = old
        with pytest.raises(OffsetWentBack, match="100 was committed"):
            await partition._open()
        assert not partition.ready.is_set()
