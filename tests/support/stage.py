"""Where the workers of one test play: settings, topics and group of their own, and the oracle's settings to match."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from schemas.topics import Topics
from streams.broker import free_port
from streams.engine.topics import ensure_topics, reach_broker
from tests.support.comparing import assert_all_topics
from tests.support.corpus import Produced, as_logs
from tests.support.kafka_reading import committed_offsets, end_offsets, publish, read_topic, wait_until_committed
from tests.support.oracle import OracleConfig, PartitionOracle, run
from tests.support.worker import NPS_WORKER, WorkerProcess, worker_environment

T = TypeVar("T")

PARTITIONS = 4
WINDOWS = {"1d": 24, "7d": 168, "30d": 720, "90d": 2160, "400d": 9600}
TRANSITIONS = ("passive_to_promoter", "passive_to_detractor", "detractor_to_promoter", "promoter_to_detractor")
CROSSES = (("country", "industry"), ("tier", "channel", "country"))


@dataclass(frozen=True)
class Stage:
    """Everything that differs from the defaults, so that input reaches every row of the rules."""

    bootstrap_servers: str
    topics: Topics
    group_id: str
    directory: Path
    """For state directories and logs."""
    oracle_config: OracleConfig
    settings: dict[str, str]
    """Of every worker: names without `NPS_`, in lower case."""

    @property
    def partitions(self) -> int:
        return self.oracle_config.partitions

    def with_settings(self, **settings: str) -> Stage:
        return replace(self, settings={**self.settings, **settings})

    def state_dir(self, name: str) -> Path:
        return self.directory / f"state-{name}"

    def worker(self, name: str = "worker", module: tuple[str, ...] = NPS_WORKER, **settings: str) -> WorkerProcess:
        """A worker with a state directory, a log and a port of its own."""
        environment = worker_environment(
            self.bootstrap_servers,
            self.topics.prefix,
            self.group_id,
            free_port(),
            self.state_dir(name),
            self.partitions,
            **{**self.settings, **settings},
        )
        return WorkerProcess(environment, self.directory / f"{name}.log", module)

    def create_topics(self) -> None:
        """As a worker would."""

        async def create() -> None:
            admin = await reach_broker({"bootstrap_servers": self.bootstrap_servers}, 10)
            try:
                await ensure_topics(admin, self.topics, self.partitions, 1, create=True)
            finally:
                await admin.close()

        asyncio.run(create())

    def publish(self, produced: Iterable[Produced]) -> None:
        publish(self.bootstrap_servers, self.topics.responses, produced)

    def follow_up(self, produced: Iterable[Produced]) -> None:
        """Publish follow-ups."""
        publish(self.bootstrap_servers, self.topics.follow_ups, produced)

    def wait_until_done(self, *workers: WorkerProcess, timeout_s: float = 120, follow_ups: bool = False) -> None:
        """Until the group has committed all that is published now; raises when one of the workers ends before."""
        topic = self.topics.follow_ups if follow_ups else self.topics.responses

        def check() -> None:
            for worker in workers:
                worker.check_running()

        targets = end_offsets(self.bootstrap_servers, topic)
        wait_until_committed(self.bootstrap_servers, self.group_id, topic, targets, timeout_s, check)

    def committed(self, *, follow_ups: bool = False) -> dict[int, int | None]:
        """The group's committed offsets of an input."""
        topic = self.topics.follow_ups if follow_ups else self.topics.responses
        return committed_offsets(self.bootstrap_servers, self.group_id, topic)

    def oracles(self, produced: Iterable[Produced]) -> dict[int, PartitionOracle]:
        return run(as_logs(produced, self.partitions), self.oracle_config)

    def assert_topics_and_offsets(self, oracles: dict[int, PartitionOracle]) -> None:
        """Events, dead letters, journeys and counts, as librdkafka reads them committed, and the group's offsets."""
        assert self.committed() == {partition: oracle.next_offset for partition, oracle in oracles.items()}
        assert_all_topics(
            lambda topic: read_topic(self.bootstrap_servers, topic),
            self.topics,
            oracles,
            now_us(),
            self.oracle_config.retention_days,
        )


def stage_for(
    bootstrap_servers: str,
    unique: str,
    directory: Path,
    segment_limit: int = 10_000,
    partitions: int = PARTITIONS,
) -> Stage:
    """A stage with topics `<unique>.…` and the group `<unique>`."""
    return Stage(
        bootstrap_servers,
        Topics(f"{unique}."),
        unique,
        directory,
        OracleConfig(
            partitions=partitions,
            transitions=frozenset(TRANSITIONS),
            crosses=CROSSES,
            segment_limit=segment_limit,
            sla_hours=0,
        ),
        {
            "segment_crosses": ",".join("+".join(cross) for cross in CROSSES),
            "segment_limit": str(segment_limit),
            "follow_up_sla_hours": "0",  # corpora are of the past: all would be overdue, whenever a worker is idle
            "score_changed_transitions": ",".join(TRANSITIONS),
            "windows": ",".join(WINDOWS),
            "scores_interval_s": "1",
        },
    )


def now_us() -> int:
    return time.time_ns() // 1000


def within(seconds: float, check: Callable[[], T]) -> T:
    """What `check` returns; let it raise AssertionErrors for so long."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
