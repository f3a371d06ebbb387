"""Keys are placed as Kafka's Java client places them, however many are looked at together."""

from __future__ import annotations

import random

import pytest

from streams.engine.placement import FEW_KEYS, LONG_KEY_BYTES, partitions_of
from tests.support.oracle_reading import partition_of


@pytest.mark.parametrize("count", [0, 1, FEW_KEYS, FEW_KEYS + 1, 300])
@pytest.mark.parametrize("longest", [9, LONG_KEY_BYTES, LONG_KEY_BYTES + 1])
def test_many_keys_are_placed_as_one_by_one(count: int, longest: int) -> None:
    rng = random.Random(f"{count} {longest}")
    keys = [rng.randbytes(rng.randint(0, longest)) for _ in range(count)]
    assert partitions_of(keys, 7) == [partition_of(key, 7) for key in keys]
