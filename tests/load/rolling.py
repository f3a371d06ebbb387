"""Three workers under load are restarted one after the other: `make load ARGS=rolling`.

Static members of the group (`NPS_STATIC_MEMBERSHIP`): each is asked to stop, ends, and is started again at once.
Watched is how long each partition goes without a commit; the logs tell what was restored and who had to move.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from streams.broker import Broker
from tests.faults.faults_check import check
from tests.faults.faults_recovery import CommitWatch
from tests.support.corpus import Produced, corpus
from tests.support.pacing import paced
from tests.support.stage import Stage, stage_for
from tests.support.worker import WorkerProcess

WORKERS = 3
PARTITIONS = 6
SETTLE_S = 3.0
"""Of load before, between and after the restarts."""
OWNED = re.compile(r"partition (\d+): owned, at offset \d+, (\d+) changelog records restored")
ASSIGNED = re.compile(r"assigned partitions: ([\d, ]+)")


@dataclass
class Restarts:
    """What came of it."""

    longest_pause_s: float
    """Of any partition, a restart in it or not."""
    quiet_pause_s: float
    """The same before the first restart: what the load itself makes."""
    alone_s: float
    """As `ready_s`, of one worker while there is no load, before or after, whichever took longer: how fast the machine
    is, which others may use too."""
    stop_s: list[float]
    ready_s: list[float]
    """From the signal to the answer of `/readyz`."""
    restored: int
    """Changelog records that any worker restored after its first start."""
    assignments: list[list[str]]
    """Of each worker, in order: the partitions that the group gave it."""


def rolling_restart(stage: Stage, per_second: float, seed: int, say: Callable[[str], None]) -> Restarts:
    """Restart every worker of a stage once, under load; raises AssertionError where anything is not exact."""
    stage = stage.with_settings(static_membership="true")
    stage.create_topics()
    workers = [stage.worker(str(number)) for number in range(WORKERS)]
    responses = corpus(seed, int(per_second * 60), time.time_ns() // 1_000_000, "load", stage.partitions)
    over = False

    def until_over() -> Iterator[Produced]:
        for produced in paced(responses, per_second):
            if over:
                return
            yield produced

    with ExitStack() as stack:
        for worker in workers:
            stack.enter_context(worker)
        for worker in workers:
            worker.wait_ready()
        alone_s = _restart(workers[0])[1]
        background = stack.enter_context(ThreadPoolExecutor(1))
        publishing = background.submit(stage.publish, until_over())
        watch = stack.enter_context(CommitWatch(stage))
        stop_s, ready_s = [], []
        try:
            time.sleep(SETTLE_S)
            undisturbed_s = time.monotonic()
            time.sleep(SETTLE_S)
            restarting_s = time.monotonic()
            for number, worker in enumerate(workers):
                took_s = _restart(worker)
                stop_s.append(took_s[0])
                ready_s.append(took_s[1])
                say(f"worker {number}: ended in {stop_s[-1]:.1f} s, ready again after {ready_s[-1]:.1f} s")
                time.sleep(SETTLE_S)
            over_s = time.monotonic()
        finally:
            over = True
        publishing.result()
        stage.wait_until_done(*workers)
        alone_s = max(alone_s, _restart(workers[0])[1])
        for worker in workers:
            assert worker.sigterm() == 0, worker.last_words()
        restored = [[int(records) for _, records in OWNED.findall(worker.log())] for worker in workers]
        assignments = [ASSIGNED.findall(worker.log()) for worker in workers]
    check(stage)
    return Restarts(
        longest_pause_s=watch.longest_pause_s(restarting_s, over_s),
        quiet_pause_s=watch.longest_pause_s(undisturbed_s, restarting_s),
        alone_s=alone_s,
        stop_s=stop_s,
        ready_s=ready_s,
        restored=sum(map(sum, restored)),
        assignments=assignments,
    )


def _restart(worker: WorkerProcess) -> tuple[float, float]:
    """Return how long it took from the signal until it had stopped, and until it was ready again."""
    began = time.monotonic()
    assert worker.sigterm() == 0, worker.last_words()
    stopped_s = time.monotonic() - began
    worker.start()
    worker.wait_ready()
    return stopped_s, time.monotonic() - began


def run(directory: Path, per_second: float = 1_000, seed: int = 1) -> None:
    """Print the figures."""
    with Broker(directory / "broker") as broker:
        stage = stage_for(broker.bootstrap_servers, "rolling", directory, partitions=PARTITIONS)
        found = rolling_restart(stage, per_second, seed, print)
    print(f"{WORKERS} workers, {PARTITIONS} partitions, {per_second:,.0f} responses/s; equal to the oracle")
    print(f"longest time without a commit, of any partition: {found.longest_pause_s:.1f} s")
    print(f"  before the restarts: {found.quiet_pause_s:.1f} s")
    print(
        f"from SIGTERM to the end {max(found.stop_s):.1f} s at most, to ready again {max(found.ready_s):.1f} s at most"
        f" ({found.alone_s:.1f} s without load)"
    )
    print(f"changelog records restored: {found.restored}; partitions that moved: {moved(found)}")


def moved(found: Restarts) -> int:
    """How many workers did not get back, after their restart, what they had before it."""
    return sum(worker[-2] != worker[-1] for worker in found.assignments)
