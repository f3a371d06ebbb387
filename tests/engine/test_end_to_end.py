"""A worker on a real broker says exactly what the oracle says: every topic, the offsets, scores and metrics.

The input reaches every row of the rules; a failure prints the corpus seed by its parameter, and the log's tail.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.topics import Topics
from streams.broker import Broker
from tests.support.comparing import (
    assert_all_topics,
    assert_metrics,
    assert_score_rows,
    assert_scores,
    assert_window_gauges,
)
from tests.support.corpus import Produced, as_logs, corpus
from tests.support.kafka_reading import (
    committed_offsets,
    end_offsets,
    latest_values,
    publish,
    read_topic,
    wait_until_committed,
)
from tests.support.oracle import HOUR_US, OracleConfig, PartitionOracle, run, total_counts
from tests.support.oracle_reading import Record
from tests.support.worker import Samples, WorkerProcess, worker_environment

PARTITIONS = 4
WINDOWS = {"1d": 24, "7d": 168, "30d": 720, "90d": 2160, "400d": 9600}
TRANSITIONS = ("passive_to_promoter", "passive_to_detractor", "detractor_to_promoter", "promoter_to_detractor")


@dataclass
class Stage:
    """Where one test's worker plays: its settings, its topics, and the oracle's settings to match."""

    bootstrap_servers: str
    topics: Topics
    group_id: str
    environment: dict[str, str]
    oracle_config: OracleConfig
    directory: Path

    def worker(self) -> WorkerProcess:
        return WorkerProcess(self.environment, self.directory / "worker.log")

    def publish(self, produced: list[Produced]) -> None:
        publish(self.bootstrap_servers, self.topics.responses, produced)

    def wait_until_done(self, worker: WorkerProcess) -> None:
        """Until the group has committed all that is published now."""
        targets = end_offsets(self.bootstrap_servers, self.topics.responses)
        wait_until_committed(
            self.bootstrap_servers, self.group_id, self.topics.responses, targets, 120, worker.check_running
        )

    def oracles(self, produced: list[Produced]) -> dict[int, PartitionOracle]:
        return run(as_logs(produced, PARTITIONS), self.oracle_config)

    def assert_topics_and_offsets(self, oracles: dict[int, PartitionOracle]) -> None:
        assert committed_offsets(self.bootstrap_servers, self.group_id, self.topics.responses) == {
            partition: oracle.next_offset for partition, oracle in oracles.items()
        }

        def read(topic: str) -> dict[int, list[Record]]:
            return read_topic(self.bootstrap_servers, topic)

        assert_all_topics(read, self.topics, oracles, now_us(), self.oracle_config.retention_days)


@pytest.fixture
def stage(broker: Broker, unique: str, unique_prefix: str, free_port: int, tmp_path: Path) -> Callable[..., Stage]:
    def made(segment_limit: int = 10_000) -> Stage:
        environment = worker_environment(
            broker.bootstrap_servers,
            unique_prefix,
            unique,
            free_port,
            tmp_path / "state",
            PARTITIONS,
            segment_crosses="country+industry,tier+channel+country",
            segment_limit=str(segment_limit),
            score_changed_transitions=",".join(TRANSITIONS),
            windows=",".join(WINDOWS),
            scores_interval_s="1",
        )
        config = OracleConfig(
            partitions=PARTITIONS,
            transitions=frozenset(TRANSITIONS),
            crosses=(("country", "industry"), ("tier", "channel", "country")),
            segment_limit=segment_limit,
        )
        return Stage(broker.bootstrap_servers, Topics(unique_prefix), unique, environment, config, tmp_path)

    return made


def now_us() -> int:
    return time.time_ns() // 1000


def within(seconds: float, check: Callable[[], None]) -> None:
    """Let `check` raise AssertionErrors for so long."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.mark.parametrize(("seed", "segment_limit"), [(1, 10_000), (2, 12)])
def test_all_that_a_worker_writes_and_says_equals_the_oracle(
    stage: Callable[..., Stage], seed: int, segment_limit: int
) -> None:
    playing = stage(segment_limit)
    produced = list(corpus(seed, 3000, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    oracles = playing.oracles(produced)
    counts = total_counts(oracles.values())
    with playing.worker() as worker:
        worker.wait_ready()
        playing.publish(produced)
        playing.wait_until_done(worker)

        within(5, lambda: assert_scores(worker.scores(), counts, WINDOWS))
        within(5, lambda: assert_metrics(worker.metrics(), oracles.values()))

        def check_gauges() -> None:
            before_us = now_us()
            samples: Samples = worker.metrics()
            if before_us // HOUR_US == now_us() // HOUR_US:
                assert_window_gauges(samples, counts, before_us, WINDOWS)

        within(5, check_gauges)

        def check_published_scores() -> None:
            [log] = read_topic(playing.bootstrap_servers, playing.topics.segment_scores).values()
            rows = {tuple(json.loads(key)): json.loads(value) for key, value in latest_values(log).items()}
            assert all(key == (row["survey_id"], row["segment"], row["window"]) for key, row in rows.items())
            assert_score_rows(rows, counts, now_us(), WINDOWS)

        within(15, check_published_scores)
        assert worker.sigterm() == 0
    playing.assert_topics_and_offsets(oracles)


def test_a_worker_that_is_stopped_and_started_goes_on_where_it_was(stage: Callable[..., Stage]) -> None:
    playing = stage()
    produced = list(corpus(3, 1500, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    with playing.worker() as worker:
        worker.wait_ready()
        for part in (produced[:500], produced[500:1000], produced[1000:]):
            playing.publish(part)
            playing.wait_until_done(worker)
            assert worker.sigterm() == 0
            worker.start()
            worker.wait_ready()
        oracles = playing.oracles(produced)
        within(5, lambda: assert_scores(worker.scores(), total_counts(oracles.values()), WINDOWS))
        assert worker.sigterm() == 0
    playing.assert_topics_and_offsets(oracles)
