"""What is known of a campaign that stands still."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.faults_worker import Controls
from tests.support.corpus import corpus
from tests.support.stage import PARTITIONS, Stage

pytestmark = pytest.mark.slow


def test_a_worker_told_to_tells_what_it_is_doing_and_goes_on(stage: Stage, tmp_path: Path) -> None:
    produced = list(corpus(37, 200, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    with stage.worker("a", Controls(tmp_path / "controls").module) as worker:
        worker.wait_ready()
        assert worker.process is not None
        worker.process.send_signal(signal.SIGUSR1)
        stage.publish(produced)
        stage.wait_until_done(worker)
        assert worker.sigterm() == 0
    told = [line for line in worker.log().splitlines() if line.startswith("TOLD ")]
    for what in ("task partition-0: ", "partition 0: ready True ", "fetcher in flight ", "fetched "):
        assert any(line.startswith(f"TOLD {what}") for line in told), worker.log()
    assert "Traceback" not in worker.log()
    stage.assert_topics_and_offsets(stage.oracles(produced))
