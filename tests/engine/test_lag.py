"""Lag is what waits to be processed, and no more: what transactions leave at the end of a log is nothing to process."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import Producer

from streams.broker import Broker
from tests.support.kafka_reading import end_offsets
from tests.support.stage import stage_for, within
from tests.support.worker import WorkerProcess

PARTITIONS = 2


def by_partition(worker: WorkerProcess, name: str) -> dict[str, float]:
    return {dict(labels)["partition"]: value for (each, labels), value in worker.metrics().items() if each == name}


def test_marks_of_transactions_and_what_was_aborted_are_no_lag(broker: Broker, unique: str, tmp_path: Path) -> None:
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path, partitions=PARTITIONS)
    with stage.worker() as worker:
        worker.wait_ready()
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": unique})
        producer.init_transactions(30)

        def publish(number: int) -> None:
            now = datetime.now(UTC).isoformat()
            value = {"response_id": f"r-{number}", "survey_id": "s", "score": 8, "responded_at": now}
            producer.produce(stage.topics.responses, key=f"r-{number}", value=json.dumps(value), partition=0)

        producer.begin_transaction()
        publish(1)
        producer.commit_transaction(30)
        producer.begin_transaction()
        publish(2)
        producer.flush(30)
        producer.abort_transaction(30)
        assert end_offsets(broker.bootstrap_servers, stage.topics.responses)[0] == 4, "two records and two marks"

        def processed() -> None:
            assert sum(value for (name, _), value in worker.metrics().items() if name == "nps_responses_total") == 1
            assert by_partition(worker, "nps_consumer_lag_records") == {"0": 0, "1": 0}

        within(30, processed)
        time.sleep(1)
        assert by_partition(worker, "nps_consumer_lag_seconds") == {"0": 0, "1": 0}, "it does not grow either"

        worker.freeze()
        producer.begin_transaction()
        publish(3)
        producer.commit_transaction(30)
        worker.thaw()
        within(30, lambda: assert_processed(worker, 2))
        assert worker.sigterm() == 0


def assert_processed(worker: WorkerProcess, count: int) -> None:
    assert sum(value for (name, _), value in worker.metrics().items() if name == "nps_responses_total") == count
