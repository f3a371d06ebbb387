"""A worker that stands still beyond its session, is replaced, and wakes up in the middle of a commit.

What it still holds open is ended by its successor's fence, and nothing that it writes from then on is seen; it notices,
joins the group again, and goes on working.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial

import pytest

from tests.faults.conftest import Play
from tests.support import crashing_worker
from tests.support.corpus import corpus
from tests.support.pacing import paced
from tests.support.stage import PARTITIONS, Stage, within
from tests.support.worker import WorkerProcess

FENCED = ("nps_commits_total", (("result", "fenced"),))

pytestmark = pytest.mark.slow


@pytest.mark.timeout(300)
def test_what_a_fenced_worker_writes_is_not_seen(side_by_side: Callable[[Mapping[str, Play]], None]) -> None:
    side_by_side(
        {
            point: partial(freeze_replace_and_thaw, point=point, passing=passing, seed=seed)
            for point, passing, seed in (("in_transaction", 2, 41), ("before_commit", 3, 42), ("after_commit", 1, 43))
        }
    )


def freeze_replace_and_thaw(stage: Stage, point: str, passing: int, seed: int) -> None:
    produced = list(corpus(seed, 3_000, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    stage.publish(produced[:1_000])
    with stage.worker("zombie", crashing_worker.module(point, passing, signal.SIGSTOP)) as zombie, ExitStack() as later:
        zombie.wait_frozen()  # while it is alone: it surely passes each point once for each partition
        zombie.check_running()
        successor = later.enter_context(stage.worker("successor"))
        stage.publish(produced[1_000:2_000])
        stage.wait_until_done(successor)  # alone: the other one's session is over
        zombie.thaw()
        within(20, lambda: _assert_shared(zombie, successor))
        if point != "after_commit":  # there the transaction was over, and what was read may all have been in it
            assert zombie.metrics()[FENCED] >= 1
        stage.publish(paced(produced[2_000:], per_second=400))
        stage.wait_until_done(zombie, successor)
        assert successor.sigterm() == 0
        assert zombie.sigterm() == 0
    stage.assert_topics_and_offsets(stage.oracles(produced))


def _assert_shared(*workers: WorkerProcess) -> None:
    for worker in workers:
        worker.check_running()
        assert worker.status("/readyz") == 200
    owned = [worker.metrics()["nps_owned_partitions", ()] for worker in workers]
    assert sum(owned) == PARTITIONS, owned
    assert min(owned) > 0, owned
