"""Topics that are deleted, cut short or given partitions end a worker with a sentence: nobody may go on in silence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from streams.broker import Broker
from tests.support.corpus import Produced, corpus
from tests.support.stage import Stage, stage_for
from tests.support.worker import WorkerProcess

PARTITIONS = 2
ENDS_WITHIN_S = 30.0


@pytest.fixture
def stage(broker: Broker, unique: str, tmp_path: Path) -> Stage:
    return stage_for(broker.bootstrap_servers, unique, tmp_path, partitions=PARTITIONS)


@pytest.fixture
def worker(stage: Stage) -> Iterator[WorkerProcess]:
    with stage.worker() as worker:
        worker.wait_ready()
        yield worker


@pytest.fixture
def admin(stage: Stage) -> AdminClient:
    return AdminClient({"bootstrap.servers": stage.bootstrap_servers})


def records(seed: int, count: int) -> list[Produced]:
    return list(corpus(seed, count, time.time_ns() // 1_000_000, "tables", PARTITIONS))


def assert_ends(worker: WorkerProcess, *words: str) -> None:
    """With status 1, and a last line that holds these words; again and again."""
    assert worker.wait(ENDS_WITHIN_S) == 1
    last = worker.last_words(1)
    for word in words:
        assert word in last, last
    assert "Traceback" not in worker.last_words()


def test_a_committed_offset_beyond_the_end_stops_the_worker(
    stage: Stage, worker: WorkerProcess, admin: AdminClient
) -> None:
    assert worker.sigterm() == 0
    beyond = ConsumerGroupTopicPartitions(stage.group_id, [TopicPartition(stage.topics.responses, 1, 99)])
    admin.alter_consumer_group_offsets([beyond])[stage.group_id].result(20)
    worker.start()
    assert_ends(worker, f"has committed offset 99 of {stage.topics.responses} partition 1, which ends at 0")


@pytest.mark.slow
def test_responses_that_are_deleted_and_created_again_under_it(
    stage: Stage, worker: WorkerProcess, admin: AdminClient
) -> None:
    """None of the new one passes for processed: a worker that notices by its offsets stops, and says so; once Kafka has
    forgotten the group's offsets with the topic, it is read from its beginning.
    """
    topic = stage.topics.responses
    stage.publish(records(1, 300))
    stage.wait_until_done(worker)
    admin.delete_topics([topic])[topic].result(20)
    _until(lambda: admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20))
    stage.publish(records(2, 50))
    try:
        stage.wait_until_done(worker)
    except AssertionError:
        assert_ends(worker, "the topic was recreated or lost records")
        worker.start()
        stage.wait_until_done(worker)
    assert "yet the changelogs hold state" in worker.log()
    assert sum(offset or 0 for offset in stage.committed().values()) == 50
    assert worker.sigterm() == 0


@pytest.mark.slow
@pytest.mark.parametrize("which", ["responses", "journeys"])
def test_a_topic_that_is_deleted_under_it(stage: Stage, worker: WorkerProcess, admin: AdminClient, which: str) -> None:
    stage.publish(records(3, 100))
    topic = getattr(stage.topics, which)
    admin.delete_topics([topic])[topic].result(20)
    assert_ends(worker, "topics that this worker uses are gone", topic)


@pytest.mark.slow
def test_partitions_that_are_added_under_it(stage: Stage, worker: WorkerProcess, admin: AdminClient) -> None:
    added = admin.create_partitions([NewPartitions(stage.topics.responses, PARTITIONS + 1)])
    added[stage.topics.responses].result(20)
    assert_ends(worker, "the number of partitions was changed", stage.topics.responses)
    worker.start()
    assert_ends(worker, "partition counts disagree")


def _until(act: Callable[[], object]) -> None:
    """A topic of the same name can be created when the deletion is through."""
    deadline = time.monotonic() + 20
    while True:
        try:
            act()
            return
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
