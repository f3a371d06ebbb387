"""One worker with 64 partitions, 2,000,000 customers and 10,000 segments: `make load ARGS=large`.

Every customer answers once; each answer is in three segments, of which one has 10,000 values. While it works, /metrics
is scraped once a minute. Then the worker is started again, with the state on its disk and without.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from streams.broker import Broker
from tests.load.watching import Memory, Stalls, Watch, state_bytes
from tests.support.corpus import Produced
from tests.support.oracle_reading import partition_of
from tests.support.stage import Stage, stage_for
from tests.support.worker import WorkerProcess

SCRAPE_EVERY_S = 60.0
TIMEOUT_S = 1_200.0
SCORES = (0, 3, 6, 7, 7, 7, 8, 8, 8, 9, 10)
RESTORED = re.compile(r"partition \d+: owned, at offset \d+, (\d+) changelog records restored")


def one_answer_each(customers: int, stores: int, partitions: int, now_ms: int) -> Iterator[Produced]:
    """Yield one valid response of each customer, answered within the last three hours."""
    answered = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_ms / 1000 - 60 * number)) for number in range(180)]
    for number in range(customers):
        key = b"customer-%08d" % number
        value = (
            b'{"response_id":"r-%08d","customer_id":"%b","survey_id":"relational","score":%d,"responded_at":"%b",'
            b'"segments":{"store":"s-%05d","country":"c-%d","plan":"p-%d"},"reason":"value_for_price"}'
        ) % (number, key, SCORES[number % 11], answered[number % 180].encode(), number % stores, number % 8, number % 3)
        yield Produced(partition_of(key, partitions), key, value, now_ms)


class Scraper:
    """Reads /metrics as often as Prometheus does by default, and times it."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self.slowest_s = 0.0
        self.most_bytes = 0

    def look(self) -> None:
        began = time.monotonic()
        body = self._worker.get("/metrics", timeout_s=60)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.most_bytes = max(self.most_bytes, len(body))


def run(
    directory: Path, customers: int = 2_000_000, partitions: int = 64, segments: int = 10_000, name: str = "large"
) -> None:
    """Print the figures."""
    with Broker(directory / "broker", heap_max="2g") as broker:
        stage = stage_for(broker.bootstrap_servers, name, directory, partitions=partitions)
        stage = replace(stage, settings={})
        stage.create_topics()
        print(f"{customers:,} customers, {partitions} partitions, {segments:,} segments, one worker", flush=True)
        worker = stage.worker()
        with worker:
            _under_load(
                stage, worker, one_answer_each(customers, segments - 11, partitions, time.time_ns() // 1_000_000)
            )
            _again(stage, worker, "with its state")
            _again(stage, worker, "with an empty disk", forget=True)
            began = time.monotonic()
            assert worker.sigterm() == 0, worker.last_words()
            print(f"stopped in {time.monotonic() - began:.1f} s")


def _under_load(stage: Stage, worker: WorkerProcess, responses: Iterator[Produced]) -> None:
    worker.wait_ready()
    memory, stalls, scraper = Memory(worker), Stalls(worker), Scraper(worker)
    cpu_s, began = memory.cpu_s, time.monotonic()
    with ThreadPoolExecutor(1) as background, Watch(memory.look), Watch(scraper.look, SCRAPE_EVERY_S):
        background.submit(stage.publish, responses).result()
        print(f"published in {time.monotonic() - began:.0f} s", flush=True)
        stage.wait_until_done(worker, timeout_s=TIMEOUT_S)
    took_s, cpu_s = time.monotonic() - began, memory.cpu_s - cpu_s
    count = sum(offset or 0 for offset in stage.committed().values())
    print(f"processed in {took_s:.0f} s, {cpu_s / count * 1e6:.1f} µs of CPU a response, scrapes included")
    print(f"longest stall of the event loop: {stalls}")
    print(f"slowest scrape: {scraper.slowest_s:.1f} s, {scraper.most_bytes / 1e6:.1f} MB")
    began = time.monotonic()
    rows = worker.scores()["scores"]
    counted = sum(row["responses"] for row in rows if row["segment"] == "all" and row["window"] == "1d")
    assert counted == count, f"{counted} counted of {count}"
    print(f"/v1/scores: {len(rows):,} rows in {time.monotonic() - began:.1f} s, {counted:,} responses counted")
    _tell_size(worker, memory)


def _again(stage: Stage, worker: WorkerProcess, how: str, *, forget: bool = False) -> None:
    """Stop it and start it again."""
    began = time.monotonic()
    assert worker.sigterm() == 0, worker.last_words()
    stopped_s = time.monotonic() - began
    if forget:
        shutil.rmtree(stage.state_dir("worker"))
    said = len(worker.log())
    began = time.monotonic()
    worker.start()
    _answering(worker)
    memory, stalls = Memory(worker), Stalls(worker)
    to_restore: list[int] = []

    def look_at_progress() -> None:
        found = worker.metrics().items()
        to_restore.append(int(sum(count for (metric, _), count in found if metric == "nps_restore_records")))

    with Watch(memory.look), Watch(look_at_progress, 2.0):
        worker.wait_ready(TIMEOUT_S)
    took_s = time.monotonic() - began
    lines = worker.log()[said:].splitlines()
    records = sum(int(found) for line in lines for found in RESTORED.findall(line))
    print(
        f"stopped in {stopped_s:.1f} s; {how} ready again after {took_s:.1f} s: {records:,} changelog records restored"
    )
    for line in [line for line in lines if "% of" in line][:3]:
        print(f"  {line[24:]}")
    print(f"  nps_restore_records, every 2 s: {', '.join(f'{count:,}' for count in to_restore)}")
    print(f"  longest stall of the event loop: {stalls}; {memory.most_bytes / 1e6:.0f} MB at most")


def _answering(worker: WorkerProcess) -> None:
    while worker.status("/healthz") != 200:
        worker.check_running()
        time.sleep(0.05)


def _tell_size(worker: WorkerProcess, memory: Memory) -> None:
    print(
        f"resident memory: {memory.most_bytes / 1e6:.0f} MB at most; state on disk: {state_bytes(worker) / 1e6:.0f} MB"
    )
