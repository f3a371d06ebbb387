"""The broker dies or stands still under load: the worker waits, goes on, and what it writes stays exact."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streams.broker import Broker
from tests.support.corpus import as_logs, corpus
from tests.support.kafka_reading import read_topic
from tests.support.oracle import run
from tests.support.pacing import paced
from tests.support.stage import PARTITIONS, stage_for

pytestmark = pytest.mark.slow


def _restarted(broker: Broker) -> None:
    broker.kill()
    time.sleep(2)
    broker.start()


def _frozen(broker: Broker) -> None:
    broker.pause()
    time.sleep(6)
    broker.resume()


@pytest.mark.parametrize(("fail", "seed"), [(_restarted, 51), (_frozen, 52)])
def test_a_broker_that_fails_under_load(
    fresh_broker: Broker, unique: str, tmp_path: Path, fail: Callable[[Broker], None], seed: int
) -> None:
    """It stands still for longer than a session and a transaction may take, so both have timed out when it goes on."""
    stage = stage_for(fresh_broker.bootstrap_servers, unique, tmp_path).with_settings(
        session_timeout_ms="2000", transaction_timeout_ms="4000"
    )
    produced = list(corpus(seed, 4_000, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    with stage.worker() as worker, ThreadPoolExecutor(1) as background:
        worker.wait_ready()
        publishing = background.submit(stage.publish, paced(produced, per_second=300))
        time.sleep(2)
        fail(fresh_broker)
        assert not publishing.done()
        publishing.result()
        stage.wait_until_done(worker)
        assert worker.sigterm() == 0
    logs = read_topic(stage.bootstrap_servers, stage.topics.responses)
    for partition, expected in as_logs(produced, PARTITIONS).items():
        assert {record.value for record in logs[partition]} == {record.value for record in expected}, "all arrived"
    # The log counts, not what was published: what a broker had written and not yet acknowledged may be in it twice,
    # since once restarted it has forgotten producers whose last record is a day old by its time, as the corpus' are.
    stage.assert_topics_and_offsets(run(logs, stage.oracle_config))
