"""Scores and window gauges of real workers that share the partitions: each answers for all, together they add up."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

from streams.broker import Broker
from tests.support.comparing import assert_score_rows, assert_scores, assert_window_gauges
from tests.support.corpus import corpus
from tests.support.kafka_reading import latest_values, read_topic
from tests.support.oracle import HOUR_US, total_counts
from tests.support.stage import PARTITIONS, WINDOWS, now_us, stage_for, within
from tests.support.worker import WorkerProcess


def test_each_worker_answers_for_all_and_the_survivor_of_a_kill_too(
    broker: Broker, unique: str, tmp_path: Path
) -> None:
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path)
    produced = list(corpus(7, 1_500, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    counts = total_counts(stage.oracles(produced).values())

    def check_gauges(*workers: WorkerProcess) -> None:
        before_us = now_us()
        summed: Counter[object] = Counter()
        owned = []
        for worker in workers:
            samples = worker.metrics()
            owned.append(samples["nps_owned_partitions", ()])
            summed.update({at: value for at, value in samples.items() if at[0] == "nps_window_responses"})
        assert sum(owned) == PARTITIONS
        assert all(owned)
        if before_us // HOUR_US == now_us() // HOUR_US:
            assert_window_gauges(dict(summed), counts, before_us, WINDOWS)  # type: ignore[arg-type]

    def check_published() -> None:
        [log] = read_topic(stage.bootstrap_servers, stage.topics.segment_scores).values()
        rows = {tuple(json.loads(key)): json.loads(value) for key, value in latest_values(log).items()}
        assert_score_rows(rows, counts, now_us(), WINDOWS)

    with stage.worker("one") as one, stage.worker("two") as two:
        one.wait_ready()
        two.wait_ready()
        stage.publish(produced[:1_000])
        stage.wait_until_done(one, two)
        stage.publish(produced[1_000:])
        stage.wait_until_done(one, two)
        for worker in (one, two):
            within(10, lambda worker=worker: assert_scores(worker.scores(), counts, WINDOWS))  # type: ignore[misc]
        within(10, lambda: check_gauges(one, two))
        within(20, check_published)

        two.sigkill()
        within(60, lambda: check_gauges(one))
        within(20, lambda: assert_scores(one.scores(), counts, WINDOWS))
        assert one.status("/readyz") == 200
        within(20, check_published)
