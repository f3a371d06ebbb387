"""Lag is what waits to be processed, and no more: what transactions leave at the end of a log is nothing to process."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import Producer

from streams.broker import Broker
from tests.support.kafka_reading import end_offsets
from tests.support.oracle_reading import time_text
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


def test_follow_ups_that_cannot_be_read_yet_wait_and_say_so(broker: Broker, unique: str, tmp_path: Path) -> None:
    """Of a transaction that is open, nobody may read anything; one that was aborted leaves nothing to read."""
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path, partitions=PARTITIONS)
    with stage.worker() as worker:
        worker.wait_ready()
        within(10, lambda: assert_lag_of_follow_ups(worker, 0))
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": unique})
        producer.init_transactions(30)
        value = {
            "follow_up_id": "f",
            "customer_id": "c",
            "survey_id": "s",
            "status": "contacted",
            "action": "other",
            "occurred_at": time_text(time.time_ns() // 1_000),
        }
        for end in (producer.abort_transaction, producer.commit_transaction):
            producer.begin_transaction()
            for _ in range(3):
                producer.produce(stage.topics.follow_ups, key="c", value=json.dumps(value), partition=0)
            producer.flush(30)
            within(10, lambda: assert_lag_of_follow_ups(worker, 3))
            before_s = by_partition(worker, "nps_follow_ups_lag_seconds")
            time.sleep(1)
            after_s = by_partition(worker, "nps_follow_ups_lag_seconds")
            assert after_s["0"] > before_s["0"] + 0.9
            assert after_s["1"] == 0
            assert by_partition(worker, "nps_consumer_lag_records") == {"0": 0, "1": 0}, "responses are another input"
            end(30)
            within(10, lambda: assert_lag_of_follow_ups(worker, 0))
            assert by_partition(worker, "nps_follow_ups_lag_seconds") == {"0": 0, "1": 0}
        assert stage.committed(follow_ups=True)[0] == 7, "of eight: three aborted, a mark, three, a mark"
        assert worker.sigterm() == 0


def test_follow_ups_of_a_broker_that_does_not_answer_are_not_known_to_be_none(
    fresh_broker: Broker, unique: str, tmp_path: Path
) -> None:
    stage = stage_for(fresh_broker.bootstrap_servers, unique, tmp_path, partitions=PARTITIONS)
    with stage.worker() as worker:
        worker.wait_ready()

        def is_late() -> None:
            assert min(by_partition(worker, "nps_follow_ups_lag_seconds").values()) > 5

        within(10, lambda: assert_lag_of_follow_ups(worker, 0))
        fresh_broker.pause()
        within(20, is_late)
        fresh_broker.resume()
        within(20, lambda: assert_in_time(worker))


def assert_lag_of_follow_ups(worker: WorkerProcess, records: int) -> None:
    assert by_partition(worker, "nps_follow_ups_lag_records") == {"0": records, "1": 0}


def assert_in_time(worker: WorkerProcess) -> None:
    assert by_partition(worker, "nps_follow_ups_lag_seconds") == {"0": 0, "1": 0}


def assert_processed(worker: WorkerProcess, count: int) -> None:
    assert sum(value for (name, _), value in worker.metrics().items() if name == "nps_responses_total") == count
