"""The stages of a response are measured on all responses of the load."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.engine.decider import Decider
from streams.engine.inbox import Slice
from tests.bench.stages import FETCHED_RECORDS, once


async def test_every_response_goes_through_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decided: list[int] = []
    decide = Decider.decide

    def counted(decider: Decider, arrived: Slice) -> None:
        decided.append(len(arrived.records))
        decide(decider, arrived)

    monkeypatch.setattr(Decider, "decide", counted)
    count = 5 * FETCHED_RECORDS
    cpu_s = await once("live", count, 1_000, tmp_path, 1)
    assert sum(decided) == count
    assert all(spent_s > 0 for spent_s in cpu_s.values()), cpu_s
