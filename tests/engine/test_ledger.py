"""What ledgers remember is bounded for all of a worker together, and forgetting changes no count."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from schemas.times import US_PER_DAY, US_PER_HOUR
from streams.engine import ledger as module
from streams.engine.formats import COUNTS
from streams.engine.ledger import Ledger, LedgerMemory
from streams.rules.journey import Answer

MAX = 60
ANSWERS_A_UNIT = 20
ROWS_AN_ANSWER = 3  # all, and two segments; and it is one combination
DAY = 20_000


class Partition:
    """A ledger with its store."""

    def __init__(self, memory: LedgerMemory) -> None:
        self.stored: dict[bytes, bytes] = {}
        self.ledger = Ledger(self.stored.get, 10_000, (), memory)

    def commit(self) -> None:
        self.stored.update(self.ledger.take_changed())


def test_forgetting_bounds_what_is_remembered_and_changes_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_MAX", MAX)
    seed = random.SystemRandom().randrange(1_000_000)
    print("seed", seed)
    rng = random.Random(seed)
    memory = LedgerMemory()
    partitions = [Partition(memory) for _ in range(3)]
    expected: list[Counter[tuple[str, int]]] = [Counter() for _ in partitions]
    most = 0
    for _ in range(200):
        at = rng.randrange(len(partitions))
        for _ in range(ANSWERS_A_UNIT):
            store, day = rng.randrange(100), DAY + rng.randrange(3)
            answer = Answer("r", 0, 9, day * US_PER_DAY + 5 * US_PER_HOUR, {"a": f"{store}", "b": f"{store % 7}"}, None)
            assert partitions[at].ledger.add("s", answer) is True
            for segment in ("all", f"a={store}", f"b={store % 7}"):
                expected[at][segment, day] += 1
        most = max(most, memory.remembered)
        partitions[at].commit()
    assert MAX < most <= MAX + len(partitions) * ANSWERS_A_UNIT * (ROWS_AN_ANSWER + 1)
    for partition, counts in zip(partitions, expected, strict=True):
        assert sum(sum(COUNTS.decode(row).values()) for row in partition.stored.values()) == counts.total()
        assert len(partition.stored) == len(counts)
        partition.ledger.close()
    assert memory.remembered == 0
