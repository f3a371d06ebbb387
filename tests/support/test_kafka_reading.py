"""What the helpers read from a real broker is what was published, and only what was committed."""

from __future__ import annotations

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streams.broker import Broker
from tests.support.corpus import Produced, as_logs, corpus
from tests.support.kafka_reading import (
    committed_offsets,
    end_offsets,
    latest_values,
    partitions_of,
    publish,
    read_topic,
    wait_until_committed,
)

NOW_MS = 1_763_000_000_000
KEEP_FOREVER = {"retention.ms": "-1"}


def create(broker: Broker, topic: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic(topic, partitions, 1, config=KEEP_FOREVER)])[topic].result(30)


def test_records_come_back_as_they_were_published(broker: Broker, unique: str) -> None:
    assert partitions_of(broker.bootstrap_servers, unique) == []
    create(broker, unique, 4)
    produced = [*corpus(3, 600, NOW_MS), Produced(2, b"", b"", NOW_MS), Produced(3, None, None, NOW_MS)]
    assert publish(broker.bootstrap_servers, unique, produced) == 602
    logs = as_logs(produced, 4)
    assert read_topic(broker.bootstrap_servers, unique) == logs
    assert end_offsets(broker.bootstrap_servers, unique) == {partition: len(log) for partition, log in logs.items()}


def test_only_what_is_committed_is_seen(broker: Broker, unique: str) -> None:
    create(broker, unique, 1)
    settings = {"bootstrap.servers": broker.bootstrap_servers, "transactional.id": unique}
    producer = Producer(settings)
    producer.init_transactions(30)
    group = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": unique})
    assert committed_offsets(broker.bootstrap_servers, unique, unique) == {0: None}
    for value, commits in ((b"kept", True), (b"aborted", False), (None, True), (b"last", True)):
        producer.begin_transaction()
        producer.produce(unique, key=b"key", value=value)
        if commits:
            position = [TopicPartition(unique, 0, 7)]
            producer.send_offsets_to_transaction(position, group.consumer_group_metadata(), 30)
            producer.commit_transaction(30)
        else:
            producer.flush(30)
            producer.abort_transaction(30)
    group.close()
    [records] = read_topic(broker.bootstrap_servers, unique).values()
    assert [record.value for record in records] == [b"kept", None, b"last"]
    assert latest_values(records) == {b"key": b"last"}
    assert latest_values(records[:2]) == {}
    wait_until_committed(broker.bootstrap_servers, unique, unique, {0: 7})
    assert committed_offsets(broker.bootstrap_servers, unique, unique) == {0: 7}
