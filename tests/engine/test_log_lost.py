"""An input that ends before what was processed has lost records: nobody may skip that in silence."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import Topics
from streams.broker import Broker, free_port
from tests.support.worker import WorkerProcess, worker_environment


def test_a_committed_offset_beyond_the_end_stops_the_worker(
    broker: Broker, unique: str, unique_prefix: str, tmp_path: Path
) -> None:
    environment = worker_environment(
        broker.bootstrap_servers, unique_prefix, unique, free_port(), tmp_path / "state", 2
    )
    with WorkerProcess(environment, tmp_path / "worker.log") as worker:
        worker.wait_ready()
        assert worker.sigterm() == 0
        responses = Topics(unique_prefix).responses
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
        beyond = ConsumerGroupTopicPartitions(unique, [TopicPartition(responses, 1, 99)])
        admin.alter_consumer_group_offsets([beyond])[unique].result(20)
        worker.start()
        assert worker.wait(30) == 1
        assert f"has committed offset 99 of {responses} partition 1, which ends at 0" in worker.last_words()
        assert "Traceback" not in worker.last_words()
