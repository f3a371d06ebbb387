"""Ten times as much as a worker can do, for a while: `make load ARGS=flood`.

The worker is slowed down to a tenth (SIGSTOP and SIGCONT, again and again), so that two cores are enough to publish ten
times of what is left. What waits, waits in Kafka: the worker's memory has a bound, lag grows, nothing breaks, and when
the flood is over it catches up. Then the same with responses that are as large as they may be, for memory is bounded
in bytes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streams.broker import Broker
from tests.faults.faults_check import check
from tests.load.watching import Memory, Stalls, Watch
from tests.support.corpus import Produced, corpus
from tests.support.oracle_reading import partition_of
from tests.support.stage import Stage, stage_for
from tests.support.worker import WorkerProcess

PARTITIONS = 4
RUNS_S, STANDS_S = 0.05, 0.45
"""Of the worker, in turns."""
LARGE_BYTES = 65_000


@dataclass
class Flood:
    """What came of it."""

    responses: int
    input_bytes: int
    published_s: float
    processed_meanwhile: int
    caught_up_s: float
    """From the end of the flood to the last commit, at full speed."""
    memory_before_bytes: int
    memory_most_bytes: int
    longest_stall_s: float
    """While catching up: before, the worker was stopped on purpose. The bucket's upper bound."""


class Slowed:
    """A worker that gets a tenth of its time."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.wait(RUNS_S):
            self._worker.freeze()
            time.sleep(STANDS_S)
            self._worker.thaw()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def flood(stage: Stage, responses: Iterator[Produced]) -> Flood:
    """Publish as fast as can be to a slowed worker, then let it catch up; raises AssertionError where not exact."""
    stage.create_topics()
    size = count = 0

    def counted() -> Iterator[Produced]:
        nonlocal size, count
        for produced in responses:
            size += len(produced.value or b"")
            count += 1
            yield produced

    with stage.worker() as worker:
        worker.wait_ready()
        memory = Memory(worker)
        memory.look()
        before = memory.most_bytes
        with Watch(memory.look):
            began = time.monotonic()
            with Slowed(worker):
                stage.publish(counted())
                published_s = time.monotonic() - began
                processed = sum(offset or 0 for offset in stage.committed().values())
            stalls = Stalls(worker)
            began = time.monotonic()
            stage.wait_until_done(worker, timeout_s=600)
            caught_up_s = time.monotonic() - began
        longest_s = stalls.longest_s()
        assert worker.sigterm() == 0, worker.last_words()
    check(stage)
    return Flood(count, size, published_s, processed, caught_up_s, before, memory.most_bytes, longest_s)


def large_responses(seed: int, count: int, now_ms: int) -> Iterator[Produced]:
    """As long as a response may be, nearly: a comment of 4,000 code points, escaped, and fields that are not known."""
    comment = "\\ud83d\\ude00" * 4_000
    for number in range(count):
        customer = f"customer-{seed}-{number % 1_000}"
        head = (
            f'{{"response_id":"r-{seed}-{number}","customer_id":"{customer}","survey_id":"relational",'
            f'"score":{number % 11},"responded_at":"2026-01-01T00:00:00Z","comment":"{comment}","ignored":"'
        )
        value = head + "x" * (LARGE_BYTES - len(head) - 2) + '"}'
        yield Produced(partition_of(customer.encode(), PARTITIONS), customer.encode(), value.encode(), now_ms)


def run(directory: Path, responses: int = 400_000, large: int = 8_000, seed: int = 1) -> None:
    """Print the figures."""
    now_ms = time.time_ns() // 1_000_000
    with Broker(directory / "broker") as broker:
        for name, produced in (
            ("usual", corpus(seed, responses, now_ms, "load", PARTITIONS)),
            ("large", large_responses(seed, large, now_ms)),
        ):
            (directory / name).mkdir()
            stage = stage_for(broker.bootstrap_servers, f"flood-{name}", directory / name, partitions=PARTITIONS)
            found = flood(stage, produced)
            rate, done = found.responses / found.published_s, found.processed_meanwhile / found.published_s
            print(f"{name}: {found.responses:,} responses, {found.input_bytes / 1e6:,.0f} MB; equal to the oracle")
            print(
                f"  published at {rate:,.0f}/s, processed meanwhile at {done:,.0f}/s: {rate / max(done, 1):.0f} times"
            )
            print(
                f"  caught up in {found.caught_up_s:.1f} s; longest stall of the event loop {found.longest_stall_s:g} s"
            )
            print(
                f"  resident memory: {found.memory_before_bytes / 1e6:.0f} MB before, "
                f"{found.memory_most_bytes / 1e6:.0f} MB at most"
            )
