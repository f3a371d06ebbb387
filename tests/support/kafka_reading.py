"""Kafka as others see it: topics, group offsets and publishing by librdkafka, a client that the product doesn't use.

Every wait is bounded by a timeout in seconds; what takes longer raises TimeoutError.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from tests.support.corpus import Produced
from tests.support.oracle_reading import Record

TIMEOUT_S = 60.0
PUBLISH_TIMEOUT_MS = 10_000
"""After which a request without an answer is sent again; 60 s by default, in which nothing else is sent either."""
LEADS_SOON = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
"""What a broker says of a partition that has just been made. librdkafka waits for it when it reads or writes, not when
it asks for offsets.
"""
QUIET = logging.Logger("librdkafka", logging.CRITICAL + 1)
"""For a client that lives through failures of its broker: it says so again and again."""


def _consumer(bootstrap_servers: str, group_id: str, **settings: Any) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": group_id,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            **settings,
        }
    )


def partitions_of(bootstrap_servers: str, topic: str, timeout_s: float = TIMEOUT_S) -> list[int]:
    """The topic's partitions; an empty list when it does not exist."""
    with closing(_consumer(bootstrap_servers, "reads-metadata")) as consumer:
        metadata = consumer.list_topics(topic, timeout=timeout_s).topics[topic]
        return sorted(metadata.partitions)


def end_offsets(bootstrap_servers: str, topic: str, timeout_s: float = TIMEOUT_S) -> dict[int, int]:
    """Partition → the offset that the next record gets."""
    partitions = partitions_of(bootstrap_servers, topic, timeout_s)
    deadline = time.monotonic() + timeout_s
    with closing(_consumer(bootstrap_servers, "reads-offsets")) as consumer:
        return {
            partition: _end_offset(consumer, TopicPartition(topic, partition), deadline) for partition in partitions
        }


def _end_offset(consumer: Consumer, partition: TopicPartition, deadline: float) -> int:
    while True:
        try:
            end: int = consumer.get_watermark_offsets(partition, timeout=max(deadline - time.monotonic(), 0.1))[1]
            return end
        except KafkaException as error:
            if error.args[0].code() not in LEADS_SOON or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def committed_offsets(
    bootstrap_servers: str, group_id: str, topic: str, timeout_s: float = TIMEOUT_S
) -> dict[int, int | None]:
    """Partition → the group's committed offset, None where it has none. Does not join the group.

    Offsets of open transactions don't count, and are not waited for, as `read_committed` would.
    """
    positions = [TopicPartition(topic, partition) for partition in partitions_of(bootstrap_servers, topic, timeout_s)]
    settings = {"isolation.level": "read_uncommitted"}
    with closing(_consumer(bootstrap_servers, group_id, **settings)) as consumer:
        found = consumer.committed(positions, timeout=timeout_s)
        return {position.partition: position.offset if position.offset >= 0 else None for position in found}


def read_records(
    bootstrap_servers: str,
    topic: str,
    timeout_s: float = TIMEOUT_S,
    only: Collection[int] | None = None,
    **settings: Any,
) -> Iterator[Record]:
    """Yield what a `read_committed` reader sees from each partition's beginning to its end, in order per partition.

    `only` names the partitions to read. What the caller does in between counts for the timeout.
    """
    partitions = partitions_of(bootstrap_servers, topic, timeout_s)
    assert partitions, f"{topic} does not exist"
    if only is not None:
        partitions = [partition for partition in partitions if partition in only]
    deadline = time.monotonic() + timeout_s
    settings = {"enable.partition.eof": True, **settings}
    with closing(_consumer(bootstrap_servers, "reads-records", **settings)) as consumer:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        unfinished = set(partitions)
        while unfinished:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic}: partitions {sorted(unfinished)} not read to the end in {timeout_s:g} s")
            found: list[Any] = consumer.consume(1000, timeout=0.2)
            for message in found:
                error = message.error()
                if error is None:
                    yield record_of(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    unfinished.discard(message.partition())
                elif not error.retriable():
                    raise KafkaException(error)


def record_of(message: Any) -> Record:
    """A message of librdkafka."""
    return Record(
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        message.timestamp()[1],
        tuple(message.headers() or ()),
    )


def read_topic(bootstrap_servers: str, topic: str, timeout_s: float = TIMEOUT_S) -> dict[int, list[Record]]:
    """Every partition's committed records, from beginning to end; a partition without any has an empty list."""
    records: dict[int, list[Record]] = {
        partition: [] for partition in partitions_of(bootstrap_servers, topic, timeout_s)
    }
    for record in read_records(bootstrap_servers, topic, timeout_s):
        records[record.partition].append(record)
    return records


def latest_values(records: Iterable[Record]) -> dict[bytes, bytes]:
    """What a compacted partition comes to: the last value of each key, nulls gone."""
    latest: dict[bytes, bytes] = {}
    for record in records:
        assert record.key is not None, "a compacted topic has keys"
        if record.value is None:
            latest.pop(record.key, None)
        else:
            latest[record.key] = record.value
    return latest


def publish(
    bootstrap_servers: str,
    topic: str,
    records: Iterable[Produced],
    timeout_s: float = TIMEOUT_S,
    ends: dict[int, int] | None = None,
) -> int:
    """Publish to the partitions and with the times that the records name, in order; return how many. In `ends` is put,
    by partition, the offset after the last one.
    """
    refused: list[KafkaError] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,  # order is kept through retries
            "linger.ms": 5,
            "socket.timeout.ms": PUBLISH_TIMEOUT_MS,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 100_000,
        },
        logger=QUIET,  # what was not delivered is raised below
    )

    def delivered(error: KafkaError | None, message: Any) -> None:
        if error is not None:
            refused.append(error)
        elif ends is not None:
            ends[message.partition()] = message.offset() + 1  # in order, as idempotence keeps it

    count = 0
    for record in records:
        while True:
            try:
                producer.produce(
                    topic,
                    value=record.value,
                    key=record.key,
                    partition=record.partition,
                    timestamp=record.timestamp_ms,
                    headers=list(record.headers),
                    on_delivery=delivered,
                )
                break
            except BufferError:
                producer.poll(0.1)
        count += 1
        if count % 1000 == 0:
            producer.poll(0)
    unsent = producer.flush(timeout_s)
    if unsent:
        raise TimeoutError(f"{topic}: {unsent} records not acknowledged in {timeout_s:g} s")
    if refused:
        raise KafkaException(refused[0])
    return count


def wait_until_committed(
    bootstrap_servers: str,
    group_id: str,
    topic: str,
    targets: Mapping[int, int],
    timeout_s: float = TIMEOUT_S,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Return once the group has committed at least these offsets. `check` runs at each look and may raise."""
    deadline = time.monotonic() + timeout_s
    while True:
        check()
        committed = committed_offsets(bootstrap_servers, group_id, topic)
        behind = {
            partition: (committed.get(partition), target)
            for partition, target in targets.items()
            if (committed.get(partition) or 0) < target
        }
        if not behind:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not committed in {timeout_s:g} s, partition: (committed, awaited): {behind}")
        time.sleep(0.2)
