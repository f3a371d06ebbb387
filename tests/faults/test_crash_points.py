"""A worker that dies at any point of a commit loses nothing, repeats nothing and leaves nothing half done.

A worker kills itself at one crash point, and after more input again, at another passing and so with the partitions in
other states; then a healthy worker finishes. What `read_committed` readers see, and where the group stands, must equal
the oracle.
"""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streams.broker import Broker
from tests.support import crashing_worker
from tests.support.corpus import corpus
from tests.support.crashing_worker import CRASH_POINTS
from tests.support.stage import PARTITIONS, Stage, stage_for

RECORDS = 2_400

pytestmark = pytest.mark.slow


def test_a_crash_at_any_point_of_a_commit_is_exact(broker: Broker, unique: str, tmp_path: Path) -> None:
    """Side by side: each of them waits most of the time, for sessions to pass and workers to start."""
    with ThreadPoolExecutor(len(CRASH_POINTS)) as threads:
        runs = {}
        for number, point in enumerate(CRASH_POINTS):
            (tmp_path / point).mkdir()
            stage = stage_for(broker.bootstrap_servers, f"{unique}-{point}", tmp_path / point)
            runs[point] = threads.submit(crash_and_compare, stage, point, 21 + number)
        for point, run in runs.items():
            if (error := run.exception()) is not None:
                error.add_note(f"crash point {point}")
                raise error


def crash_and_compare(stage: Stage, point: str, seed: int) -> None:
    stage = stage.with_settings(session_timeout_ms="1500")
    produced = list(corpus(seed, RECORDS, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    stage.create_topics()
    parts = [produced[start : start + RECORDS // 4] for start in range(0, RECORDS, RECORDS // 4)]
    with stage.worker("first") as healthy:  # leaves state on the disk
        stage.publish(parts[0])
        stage.wait_until_done(healthy)
        assert healthy.sigterm() == 0
    # Each part has records of every partition, so a point is passed at least PARTITIONS times. The second worker has no
    # state to begin with; the first one's is behind the changelogs when it goes on with it.
    for name, passing, part in (("first", PARTITIONS - 1, parts[1]), ("second", 2, parts[2])):
        stage.publish(part)
        with stage.worker(name, crashing_worker.module(point, passing)) as crashing:
            assert crashing.wait(30) == -signal.SIGKILL, crashing.last_words()
    stage.publish(parts[3])
    with healthy:
        stage.wait_until_done(healthy)
        assert healthy.sigterm() == 0
    assert "yet the changelogs hold state" not in healthy.log(), "aborted transactions hold nothing"
    stage.assert_topics_and_offsets(stage.oracles(produced))
