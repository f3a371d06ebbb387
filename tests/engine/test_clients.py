"""Where a group stands is known or refused, and never guessed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from aiokafka.errors import GroupLoadInProgressError, KafkaError, NotCoordinatorForGroupError
from aiokafka.protocol.commit import OffsetFetchResponse_v3
from aiokafka.structs import TopicPartition
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka import TopicPartition as OffsetOf
from confluent_kafka.admin import AdminClient as SecondClient

from schemas.topics import Topics
from streams.broker import Broker
from streams.engine.clients import AdminClient
from streams.engine.topics import ensure_topics, reach_broker


@pytest.mark.parametrize("error", [GroupLoadInProgressError, NotCoordinatorForGroupError])
async def test_an_error_of_the_answer_as_a_whole_is_no_group_without_offsets(
    monkeypatch: pytest.MonkeyPatch, error: type[KafkaError]
) -> None:
    admin = AdminClient()

    async def answer(*_: object) -> object:
        return OffsetFetchResponse_v3(0, [], error.errno)

    monkeypatch.setattr(admin._client, "send", answer)
    with pytest.raises(error):
        await admin.list_consumer_group_offsets("g", 1, [TopicPartition("t", 0)])


@pytest.mark.slow
async def test_a_coordinator_that_comes_back_never_says_that_nothing_was_committed(
    fresh_broker: Broker, unique: str
) -> None:
    """It stands still for so long that the controller takes its partitions away, and gets them back."""
    topics = Topics(f"{unique}.")
    bootstrap_servers = fresh_broker.bootstrap_servers
    admin = await reach_broker({"bootstrap_servers": bootstrap_servers}, 10)
    await ensure_topics(admin, topics, 1, 1, create=True)
    await admin.close()
    committed = ConsumerGroupTopicPartitions(unique, [OffsetOf(topics.responses, 0, 7)])
    second = SecondClient({"bootstrap.servers": bootstrap_servers})
    second.alter_consumer_group_offsets([committed])[unique].result(20)
    asked = AdminClient(bootstrap_servers=bootstrap_servers)
    await asked.start()
    found: Counter[int | str | None] = Counter()
    for _ in range(2):
        fresh_broker.pause()
        await asyncio.sleep(5)
        fresh_broker.resume()
        end = time.monotonic() + 4
        while time.monotonic() < end:
            try:
                source = TopicPartition(topics.responses, 0)
                offsets = await asked.list_consumer_group_offsets(unique, partitions=[source])
                found[offsets[source].offset if source in offsets else None] += 1
            except (KafkaError, OSError) as error:
                found[type(error).__name__] += 1
            await asyncio.sleep(0.005)
    await asked.close()
    numbers = {each: count for each, count in found.items() if not isinstance(each, str)}
    assert set(numbers) == {7}, found
