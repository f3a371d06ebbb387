"""Workers of one group join, leave, die and lose their state under load, and what they write stays exact."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.corpus import Produced, corpus
from tests.support.pacing import paced
from tests.support.stage import PARTITIONS, Stage
from tests.support.worker import WorkerProcess

pytestmark = [pytest.mark.slow, pytest.mark.alone]

RESTORED = re.compile(r"partition (\d+): owned, at offset \d+, (\d+) changelog records restored")


def restored(worker: WorkerProcess) -> Counter[int]:
    """Partition → changelog records that it restored when it last took the partition, as it says in its log."""
    return Counter({int(partition): int(records) for partition, records in RESTORED.findall(worker.log())})


def test_workers_come_and_go_under_load(stage: Stage) -> None:
    produced = list(corpus(31, 8_000, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    with (
        ThreadPoolExecutor(1) as background,
        stage.worker("a") as a,
        stage.worker("b") as b,
        stage.worker("c") as c,
    ):
        c.sigkill()  # before it could join: it does so later
        a.wait_ready()
        b.wait_ready()
        publishing = background.submit(stage.publish, paced(produced, per_second=400))
        time.sleep(1)
        a.sigkill()
        shutil.rmtree(stage.state_dir("a"))
        time.sleep(2)
        c.start()
        c.wait_ready()
        began = time.monotonic()
        assert b.sigterm() == 0
        assert time.monotonic() - began < 10
        a.start()
        a.wait_ready()
        assert not publishing.done(), "all of it happened under load"
        publishing.result()
        stage.wait_until_done(a, c)
        assert a.sigterm() == 0
        assert c.sigterm() == 0
    stage.assert_topics_and_offsets(stage.oracles(produced))


def test_a_state_directory_that_survived_restores_only_what_came_after(stage: Stage) -> None:
    produced = list(corpus(32, 2_400, time.time_ns() // 1_000_000, "tables", PARTITIONS))

    def run(name: str, part: list[Produced]) -> Counter[int]:
        stage.publish(part)
        with stage.worker(name) as worker:
            worker.wait_ready()
            stage.wait_until_done(worker)
            assert worker.sigterm() == 0
        return restored(worker)

    assert run("a", produced[:1_500]).total() == 0
    before = run("b", produced[1_500:2_000])
    tail = run("a", [])
    everything = run("c", produced[2_000:])
    assert len(tail) == PARTITIONS
    assert all(tail.values())
    assert before + tail == everything
    stage.assert_topics_and_offsets(stage.oracles(produced))


def test_asked_to_stop_while_it_starts_it_is_gone_soon(stage: Stage) -> None:
    stage.publish(corpus(33, 500, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    for delay_s in (0.0, 0.2, 0.5):
        with stage.worker() as worker:
            while worker.status("/healthz") is None:
                worker.check_running()
                time.sleep(0.02)
            time.sleep(delay_s)
            assert worker.sigterm() == 0
