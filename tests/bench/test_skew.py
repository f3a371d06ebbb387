"""The simulation of skew, held against a second way to count and against what theory says of it."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from aiokafka.partitioner import murmur2

from tests.bench.skew import MOST_RESPONSES, PARTITIONS, fullest, responses_of, segments, simulate

DOCUMENT = Path(__file__).parents[2] / "docs/scaling.md"


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float]]:
    rows: dict[str, dict[str, float]] = simulate(50_000, 3)["partitions"]
    return rows


def test_even_customers_spread_as_chance_does(found: dict[str, dict[str, float]]) -> None:
    """Of n balls in P bins the fullest is above the mean by about √(2 ln P) standard deviations, of √mean each."""
    for partitions in PARTITIONS:
        mean = 50_000 / partitions
        by_chance = 1 + math.sqrt(2 * math.log(partitions) / mean)
        assert 1 < found[str(partitions)]["even"] < 1 + 1.7 * (by_chance - 1), partitions


def test_loads_are_those_of_the_clients_partitioner() -> None:
    placed = Counter((murmur2(b"c-%07d" % number) & 0x7FFFFFFF) % 12 for number in range(50_000))
    assert simulate(50_000, 3)["partitions"]["12"]["even"] == round(max(placed.values()) / (50_000 / 12), 3)


def test_customers_are_heavy_tailed(found: dict[str, dict[str, float]]) -> None:
    answered = responses_of(200_000, np.random.default_rng(1))
    assert answered.min() == 1
    assert 0.6 < (answered == 1).mean() < 0.7
    assert 1_000 < answered.max() <= MOST_RESPONSES
    assert all(row["heavy"] >= row["even"] for row in found.values())


def test_one_key_for_all_would_be_hot(found: dict[str, dict[str, float]]) -> None:
    keys, weights = segments()
    assert weights.sum() == pytest.approx(1000)
    assert weights[keys.index(b"all")] == 250
    for partitions, row in found.items():
        assert row["by segment"] >= int(partitions) / 4, "`all` alone is a quarter of what is counted"


def test_the_fullest_is_compared_with_the_mean() -> None:
    assert fullest([0, 0, 1], np.array([1.0, 2.0, 1.0]), 2) == 1.5


def test_the_same_seed_has_the_same_figures() -> None:
    assert simulate(2_000, 7) == simulate(2_000, 7) != simulate(2_000, 8)
