"""Events that Kafka deletes before they were delivered: nobody will be told of these customers, and that is said."""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.topics import Topics
from tests.support.kafka_reading import end_offsets
from tests.webhooks.events import PARTITIONS, WebhooksProcess
from tests.webhooks.scene import Scene, until

pytestmark = pytest.mark.kafka

CUSTOMERS = [f"c{number}" for number in range(8)]
LOST = 3 * len(CUSTOMERS)


def delete_all(scene: Scene) -> None:
    topic = Topics(scene.prefix).passive_detected
    admin = AdminClient({"bootstrap.servers": scene.broker.bootstrap_servers})
    ends = end_offsets(scene.broker.bootstrap_servers, topic)
    for deleted in admin.delete_records([TopicPartition(topic, *end) for end in ends.items()]).values():
        deleted.result(20)


def counted(process: WebhooksProcess) -> float:
    return process.metrics()["nps_webhook_deleted_records_total", (("endpoint", "crm"),)]


def arrived(scene: Scene) -> set[str]:
    return {request.id for request in scene.receiver.came(scene.path("crm"))}


def test_while_nobody_ran(scene: Scene) -> None:
    with scene.process("crm") as process:
        before = scene.publisher.send_all(CUSTOMERS, 1)
        until(lambda: scene.lag("crm") == 0)
        assert process.sigterm() == 0
        lost = scene.publisher.send_all(CUSTOMERS, 3)
        delete_all(scene)
        after = scene.publisher.send_all(CUSTOMERS, 1)
        process.start()
        until(lambda: scene.lag("crm") == 0)
        assert counted(process) == LOST
        assert process.sigterm() == 0
        process.start()
        process.wait_ready()
        assert counted(process) == 0, "once"
    assert process.log().count("were deleted by retention before they were delivered") == len(
        end_offsets(scene.broker.bootstrap_servers, Topics(scene.prefix).passive_detected)
    )
    assert arrived(scene) == before | after
    assert not arrived(scene) & lost


def test_a_topic_made_anew_under_a_running_process_is_read_from_its_beginning(scene: Scene) -> None:
    topic = Topics(scene.prefix).passive_detected
    admin = AdminClient({"bootstrap.servers": scene.broker.bootstrap_servers})
    with scene.process("crm", session_timeout_ms="30000") as process:
        before = scene.publisher.send_all(CUSTOMERS, 3)
        until(lambda: scene.lag("crm") == 0)
        process.freeze()
        process.wait_frozen()
        admin.delete_topics([topic])[topic].result(20)
        until(lambda: topic not in admin.list_topics(timeout=10).topics)
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)
        after = scene.publisher.send_all(CUSTOMERS, 1)
        process.thaw()
        until(lambda: before | after <= arrived(scene))
        assert "was made anew: reading it from its beginning" in process.log()


def test_under_a_running_process(scene: Scene) -> None:
    """All but what a fetch that was under way had brought."""
    with scene.process("crm", session_timeout_ms="30000") as process:
        before = scene.publisher.send_all(CUSTOMERS, 1)
        until(lambda: scene.lag("crm") == 0)
        process.freeze()
        process.wait_frozen()
        lost = scene.publisher.send_all(CUSTOMERS, 1) | scene.publisher.send_all(CUSTOMERS, 2)
        delete_all(scene)
        after = scene.publisher.send_all(CUSTOMERS, 1)
        process.thaw()
        until(lambda: scene.lag("crm") == 0 and after <= arrived(scene))
        missing = len(lost - arrived(scene))
        assert 0 < missing == counted(process)
        assert before <= arrived(scene)
