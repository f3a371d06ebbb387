"""What all benchmarks share: one run of workers on a workload, compared with the oracle, and figures as JSON.

The workers are ready, and frozen (SIGSTOP) while everything is published: what is measured is catching up, without
start-up and without a publisher on the same cores. CPU (user and system, all threads of the workers' processes) is read
when they are let go and when the last response is committed: validation, journeys, counts, events, changelogs,
transactions, RocksDB, metrics (scraped as Prometheus would) and scoreboard are in it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from schemas.topics import Topics
from streams.broker import Broker, free_port
from tests.bench.workload import CUSTOMERS, follow_ups, responses
from tests.load.watching import Memory, Stalls, Watch, cpu_s, state_bytes
from tests.support.comparing import assert_all_topics
from tests.support.corpus import Produced, as_logs
from tests.support.kafka_reading import publish, read_topic, wait_until_committed
from tests.support.oracle import OracleConfig, PartitionOracle, run
from tests.support.worker import ROOT, WorkerProcess, worker_environment

EVENT_MAX_AGE_DAYS = 100
"""So that the spread shape publishes its events too: they are part of the work."""
TIMEOUT_S = 600.0
RETENTION_DAYS = 400
SCRAPE_EVERY_S = 15.0
SESSION_TIMEOUT_MS = 30_000
"""Longer than it takes to publish."""
AWAKE_S = 0.2
"""After it was frozen, until a worker has noted that it was: this is no stall of its making."""


@dataclass(frozen=True)
class Load:
    """What is worked on, and by how many."""

    shape: str
    count: int
    partitions: int = 4
    customers: int = CUSTOMERS
    segments: int = 3
    workers: int = 1
    follow_ups: bool = False
    """Follow-ups come with the responses, one for three passive ones."""

    def records(self, seed: int) -> list[Produced]:
        now_ms = int(time.time() * 1000)
        return list(responses(self.shape, self.count, self.partitions, now_ms, seed, self.customers, self.segments))


class Work:
    """What a load is made of, and what must come of it: of 300,000 responses 1.1 GB, and half a minute to make."""

    def __init__(self, load: Load, seed: int) -> None:
        self.load = load
        self.records = load.records(seed)
        self.follow_ups = follow_ups(self.records) if load.follow_ups else []

    @cached_property
    def oracles(self) -> Mapping[int, PartitionOracle]:
        partitions = self.load.partitions
        config = OracleConfig(partitions, event_max_age_days=EVENT_MAX_AGE_DAYS)
        return run(as_logs(self.records, partitions), config, as_logs(self.follow_ups, partitions))


@dataclass(frozen=True)
class Run:
    """One run's figures."""

    cpu_us: float
    """Of all workers, a response."""
    broker_cpu_us: float
    per_wall_s: float
    memory_mb: float
    """Most resident memory of the largest worker."""
    longest_stall_s: float
    """Upper bound of the bucket of the longest stall of an event loop."""
    state_bytes: float
    """On disk and in memtables, of all workers."""
    changelog_bytes: float
    """Appended to the changelogs, a response, batches as they are stored."""
    cpu_us_by_thread: Mapping[str, float] = field(default_factory=dict)
    """What `cpu_us` is made of: the event loop's thread, RocksDB's, and the others."""


@dataclass(frozen=True)
class _Spent:
    """On records that were there when the workers were let go."""

    cpu_s: float
    broker_cpu_s: float
    wall_s: float
    longest_stall_s: float
    by_thread_s: Mapping[str, float]


class Bench:
    """A broker, and runs on it, each with topics of its own."""

    def __init__(self, broker: Broker, directory: Path, scrape_every_s: float = SCRAPE_EVERY_S) -> None:
        self.broker = broker
        self.directory = directory
        self._scrape_every_s = scrape_every_s
        self._runs = 0

    def environment(self, load: Load) -> tuple[Topics, list[Mapping[str, str]]]:
        """Topics of their own, and the settings of each worker."""
        self._runs += 1
        prefix = f"bench-{self._runs}."
        environments = [
            worker_environment(
                self.broker.bootstrap_servers,
                prefix,
                prefix + "group",
                free_port(),
                self.directory / f"{prefix}{number}",
                load.partitions,
                event_max_age_days=str(EVENT_MAX_AGE_DAYS),
                session_timeout_ms=str(SESSION_TIMEOUT_MS),
                log_level="warning",
            )
            for number in range(load.workers)
        ]
        return Topics(prefix), environments

    def run(self, load: Load, seed: int, *, check: bool = True) -> Run:
        """Raises AssertionError unless what was written is exact."""
        return self.do(Work(load, seed), check=check)

    def do(self, work: Work, *, check: bool = True, checkout: Path = ROOT) -> Run:
        """The same, of work that others do too, by the worker of this or another checkout."""
        load = work.load
        topics, environments = self.environment(load)
        with ExitStack() as stack:
            logs = [self.directory / f"{topics.prefix}{number}.log" for number in range(load.workers)]
            started = zip(environments, logs, strict=True)
            workers = [WorkerProcess(each, log, root=checkout) for each, log in started]
            for worker in workers:
                stack.enter_context(worker)
            for worker in workers:
                worker.wait_ready()
            _until_shared(workers, load.partitions)
            memories = [Memory(worker) for worker in workers]
            for watched in memories:
                stack.enter_context(Watch(watched.look))
            stack.enter_context(_scraping(workers, self._scrape_every_s))
            appended = _appended_bytes(self.broker.data_dir, topics)
            published = {topics.responses: work.records, topics.follow_ups: work.follow_ups}
            spent = self._caught_up(topics, published, workers, memories)
            appended = _appended_bytes(self.broker.data_dir, topics) - appended
            held_bytes = sum(state_bytes(worker) for worker in workers)
            for worker in workers:
                assert worker.sigterm() == 0
        if check:
            self._check(topics, work)
        return Run(
            spent.cpu_s / load.count * 1e6,
            spent.broker_cpu_s / load.count * 1e6,
            load.count / spent.wall_s,
            max(each.most_bytes for each in memories) / 1e6,
            spent.longest_stall_s,
            held_bytes,
            appended / load.count,
            {kind: cpu_s / load.count * 1e6 for kind, cpu_s in spent.by_thread_s.items()},
        )

    def _caught_up(
        self,
        topics: Topics,
        published: Mapping[str, Sequence[Produced]],
        workers: Sequence[WorkerProcess],
        memories: Sequence[Memory],
    ) -> _Spent:
        """Publish while the workers stand still; returns what they spend until everything is committed."""
        servers, broker = self.broker.bootstrap_servers, psutil.Process(self.broker.pid)
        for worker in workers:
            worker.freeze()
        for topic, records in published.items():
            publish(servers, topic, records, TIMEOUT_S)
        before_s, broker_before_s, began = [each.cpu_s for each in memories], cpu_s(broker), time.monotonic()
        threads_before = _by_thread_s(memories)
        for worker in workers:
            worker.thaw()
        time.sleep(AWAKE_S)
        stalls = [Stalls(worker) for worker in workers]
        for topic, records in published.items():
            ends = Counter(record.partition for record in records)
            _until_committed(servers, f"{topics.prefix}group", topic, ends, workers)
        return _Spent(
            sum(each.cpu_s - before for each, before in zip(memories, before_s, strict=True)),
            cpu_s(broker) - broker_before_s,
            time.monotonic() - began,
            max(each.longest_s() for each in stalls),
            {kind: spent - threads_before[kind] for kind, spent in _by_thread_s(memories).items()},
        )

    def _check(self, topics: Topics, work: Work) -> None:
        assert_all_topics(
            lambda topic: read_topic(self.broker.bootstrap_servers, topic, TIMEOUT_S),
            topics,
            work.oracles,
            time.time_ns() // 1000,
            RETENTION_DAYS,
        )


def _by_thread_s(memories: Sequence[Memory]) -> dict[str, float]:
    """Of all workers together."""
    spent: Counter[str] = Counter()
    for each in memories:
        spent.update(each.cpu_s_by_thread)
    return dict(spent)


def _until_shared(workers: Sequence[WorkerProcess], partitions: int) -> None:
    """Every worker owns its share, and has it ready."""
    deadline = time.monotonic() + 60
    while True:
        owned = [worker.metrics()["nps_owned_partitions", ()] for worker in workers]
        ready = all(worker.status("/readyz") == 200 for worker in workers)
        if ready and sum(owned) == partitions and max(owned) - min(owned) <= 1:
            return
        assert time.monotonic() < deadline, f"the partitions are not shared: {owned}"
        time.sleep(0.2)


def _until_committed(
    servers: str, group: str, topic: str, ends: Mapping[int, int], workers: Sequence[WorkerProcess]
) -> None:
    def check() -> None:
        for worker in workers:
            worker.check_running()

    wait_until_committed(servers, group, topic, ends, TIMEOUT_S, check)


def _scraping(workers: Sequence[WorkerProcess], every_s: float) -> Watch:
    """As Prometheus would."""

    def look() -> None:
        for worker in workers:
            worker.get("/metrics", timeout_s=60)

    return Watch(look, every_s)


def _appended_bytes(data_dir: Path, topics: Topics) -> int:
    """Bytes of the changelogs' segments, as the broker stores them; nothing is compacted in so short a time."""
    return sum(
        log.stat().st_size
        for topic in topics.changelogs
        for log in data_dir.glob(f"log/{topic}-[0-9]*/*.log")
        if log.is_file()
    )


def parser(description: str | None) -> argparse.ArgumentParser:
    """With what every benchmark takes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, default=None, metavar="FILE", help="write every run's figures here")
    return made


def write(path: Path | None, name: str, figures: Mapping[str, Any]) -> None:
    """Write figures with what they were taken on."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "cores": psutil.cpu_count(), "date": time.strftime("%Y-%m-%d")}
    path.write_text(json.dumps({"benchmark": name, **machine, **figures}, indent=1) + "\n")


def median(runs: Sequence[Run], figure: str) -> float:
    return statistics.median(getattr(one, figure) for one in runs)


def spread(runs: Sequence[Run], figure: str) -> str:
    """`median (lowest to highest)`."""
    values = [getattr(one, figure) for one in runs]
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def as_json(runs: Sequence[Run]) -> list[dict[str, float]]:
    return [asdict(one) for one in runs]
