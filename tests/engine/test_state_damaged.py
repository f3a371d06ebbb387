"""A real worker whose state is damaged while it is down: it builds it anew, and goes on."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from streams.broker import Broker
from tests.support.corpus import corpus
from tests.support.stage import PARTITIONS, Stage, stage_for


@pytest.fixture
def stage(broker: Broker, unique: str, tmp_path: Path) -> Stage:
    return stage_for(broker.bootstrap_servers, unique, tmp_path)


def test_a_damaged_file_is_found_and_the_state_built_anew_by_the_same_process(stage: Stage) -> None:
    seed = time.time_ns() % 1_000_000
    print(f"seed {seed}")
    rng = random.Random(seed)
    produced = list(corpus(seed, 2_000, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    with stage.worker() as worker:
        stage.publish(produced[:1_000])
        stage.wait_until_done(worker)
        assert worker.sigterm() == 0
        for partition in range(PARTITIONS):
            file = max(
                stage.state_dir("worker").glob(f"partition-{partition}/*.sst"), key=lambda one: one.stat().st_mtime
            )
            with file.open("r+b") as opened:
                opened.write(rng.randbytes(min(5_000, file.stat().st_size // 2)))
        worker.start()
        stage.publish(produced[1_000:])
        stage.wait_until_done(worker)
        assert worker.sigterm() == 0
    said = (stage.directory / "worker.log").read_text()
    assert "rebuilding it" in said
    assert "Traceback" not in said
    stage.assert_topics_and_offsets(stage.oracles(produced))
