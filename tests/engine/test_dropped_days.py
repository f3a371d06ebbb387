"""Days of counts that the retention has passed are dropped, each stored row once."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from schemas.keys import parse_counts_key
from schemas.times import US_PER_DAY, format_rfc3339
from schemas.topics import Topics
from streams.engine import housekeeping
from streams.engine.decider import DecidingConfig
from streams.engine.housekeeping import Housekeeping
from streams.rules.decisions import RulesConfig
from tests.simulation.disk import MemoryDisks
from tests.support.deciding import DecidedPartition
from tests.support.oracle_reading import Record

TODAY = 20_779
"""Days since the epoch."""


def answer(offset: int, day: int, country: str) -> Record:
    at_us = day * US_PER_DAY
    value = {"response_id": f"r{offset}", "customer_id": "ann", "survey_id": "s", "score": 3}
    more = {"responded_at": format_rfc3339(at_us), "segments": {"country": country}}
    return Record(0, offset, b"ann", msgspec.json.encode(value | more), TODAY * US_PER_DAY // 1000)


async def test_midnight_between_opening_and_the_first_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retention that was lowered drops days when the partition opens; midnight has passed when its first look for
    them comes, and the store has them still. The name that keeps a day keeps its place.
    """
    rules = RulesConfig(30 * US_PER_DAY, 30 * US_PER_DAY, 400 * US_PER_DAY, frozenset())
    config = DecidingConfig(Topics(), 1, rules, 1, (), "/nps")
    decided = DecidedPartition(0, config, MemoryDisks(random.Random(0)).open(Path("partition-0")))
    log = [answer(0, TODAY - 3, "NO"), answer(1, TODAY, "NO"), answer(2, TODAY, "DE")]

    def commit(count: int) -> None:
        decided.decide(log, count)
        decided.begin_commit()
        decided.end_commit()

    commit(2)
    decided.restart()
    now_us = TODAY * US_PER_DAY - 1
    monkeypatch.setattr(housekeeping, "time", SimpleNamespace(time_ns=lambda: now_us * 1000, monotonic=lambda: 1e6))
    keeping = Housekeeping(0, US_PER_DAY)
    await keeping.drop_old_days(decided.decider)
    now_us += 2
    await keeping.keep(decided.decider, decided.store)
    commit(1)
    stored = sorted(parse_counts_key(key[1:]).segment for key, _ in decided.store.scan(b"c"))
    assert stored == ["all", "country=NO", "country=__other__"]
    for _ in decided.decider.drop_days(TODAY + 1):
        await asyncio.sleep(0)
    decided.begin_commit()
    decided.end_commit()
    assert list(decided.store.scan(b"c")) == []
