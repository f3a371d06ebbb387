"""A worker on a real broker says exactly what the oracle says: every topic, the offsets, scores and metrics.

The input reaches every row of the rules; a failure prints the corpus seed by its parameter, and the log's tail.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.broker import Broker
from tests.support.comparing import assert_metrics, assert_score_rows, assert_scores, assert_window_gauges
from tests.support.corpus import corpus
from tests.support.kafka_reading import latest_values, read_topic
from tests.support.oracle import HOUR_US, total_counts
from tests.support.stage import PARTITIONS, WINDOWS, Stage, now_us, stage_for, within
from tests.support.worker import Samples


@pytest.fixture
def stage(broker: Broker, unique: str, tmp_path: Path) -> Callable[..., Stage]:
    return lambda segment_limit=10_000: stage_for(broker.bootstrap_servers, unique, tmp_path, segment_limit)


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
