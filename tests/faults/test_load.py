"""Short versions of `make load`: a rolling restart, and a flood of the largest responses there are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streams.broker import Broker
from tests.load.flood import flood, large_responses
from tests.load.rolling import moved, rolling_restart
from tests.support.stage import stage_for

pytestmark = [pytest.mark.slow, pytest.mark.alone]

MEMORY_MAX_BYTES = 400_000_000
"""Twice as much is waiting in Kafka."""
LARGE_RESPONSES = 3_000
STARTS_IN_S = 1.4
"""A worker on a machine that has nothing else to do. Where it takes longer, so may everything else."""


def test_a_rolling_restart_stops_nobody_for_long_and_restores_nothing(
    broker: Broker, unique: str, tmp_path: Path
) -> None:
    # Fewer commits than usual, which keep the broker busy: two cores are to be enough for all of them and a start.
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path, partitions=6).with_settings(commit_interval_ms="250")
    seed = time.time_ns() % 1_000_000
    print("seed", seed)
    found = rolling_restart(stage, per_second=400, seed=seed, say=print)
    assert found.longest_pause_s < 5 * max(found.alone_s / STARTS_IN_S, 1)
    assert max(found.stop_s) < 10
    assert found.restored == 0, "what is on the disk is whole"
    assert moved(found) == 0, "everybody gets back what it had"


def test_a_flood_waits_in_kafka_and_not_in_memory(broker: Broker, unique: str, tmp_path: Path) -> None:
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path)
    found = flood(stage, large_responses(1, LARGE_RESPONSES, time.time_ns() // 1_000_000))
    assert found.input_bytes > 190_000_000
    assert found.processed_meanwhile < found.responses / 4, "it was a flood"
    assert found.memory_most_bytes - found.memory_before_bytes < MEMORY_MAX_BYTES
