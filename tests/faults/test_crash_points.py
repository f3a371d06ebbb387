"""A worker that dies at any point of a commit loses nothing, repeats nothing and leaves nothing half done.

A worker kills itself at one crash point, and after more input again, at another passing and so with the partitions in
other states; then a healthy worker finishes. What `read_committed` readers see, and where the group stands, must equal
the oracle.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from functools import partial

import pytest

from tests.faults.conftest import Play
from tests.support import crashing_worker
from tests.support.corpus import corpus
from tests.support.crashing_worker import CRASH_POINTS
from tests.support.stage import PARTITIONS, Stage

RECORDS = 2_400

pytestmark = pytest.mark.slow


@pytest.mark.timeout(300)
def test_a_crash_at_any_point_of_a_commit_is_exact(side_by_side: Callable[[Mapping[str, Play]], None]) -> None:
    side_by_side(
        {point: partial(crash_and_compare, point=point, seed=21 + number) for number, point in enumerate(CRASH_POINTS)}
    )


def crash_and_compare(stage: Stage, point: str, seed: int) -> None:
    produced = list(corpus(seed, RECORDS, time.time_ns() // 1_000_000, "tables", PARTITIONS))
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
