"""What publishes goes on after a partition had no leader, and after a batch was refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka.admin import AdminClient, NewTopic

from streams.broker import Broker
from streams.intake import publishing
from streams.intake.publishing import Publisher, Record, Unavailable
from streams.webhooks.dead_letters import DeadLetters
from tests.support.kafka_reading import read_records

pytestmark = pytest.mark.kafka

REQUEST_TIMEOUT_MS = 1_000
LEADERLESS_S = 2.0
MAX_RECORD_BYTES = 1_000


@pytest.fixture
def topic(broker: Broker, unique: str) -> str:
    config = {"max.message.bytes": str(MAX_RECORD_BYTES)}
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic(unique, 1, 1, config=config)])[unique].result(30)
    return unique


@asynccontextmanager
async def publishing_to(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Publisher]:
    monkeypatch.setattr(publishing, "REQUEST_TIMEOUT_MS", REQUEST_TIMEOUT_MS)
    monkeypatch.setattr(publishing, "ACKNOWLEDGED_WITHIN_S", LEADERLESS_S)
    publisher = Publisher({"bootstrap_servers": broker.bootstrap_servers})
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


def lose_the_leader(producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as a producer can see: metadata that name no leader for the partition."""
    monkeypatch.setattr(producer.client.cluster, "leader_for_partition", lambda _: -1)


async def values_in(broker: Broker, topic: str) -> list[bytes | None]:
    return await asyncio.to_thread(lambda: [each.value for each in read_records(broker.bootstrap_servers, topic)])


async def test_the_intake_goes_on_once_a_leader_is_back(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with publishing_to(broker, monkeypatch) as publisher:
        await publisher.publish(topic, [Record(b"k", b"before")])
        with monkeypatch.context() as without:
            lose_the_leader(publisher._producer, without)
            with pytest.raises(Unavailable):
                await publisher.publish(topic, [Record(b"k", b"meanwhile")])
        await publisher.publish(topic, [Record(b"k", b"afterwards")])
    assert await values_in(broker, topic) == [b"before", b"meanwhile", b"afterwards"]


async def test_the_intake_goes_on_after_a_batch_was_refused(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with publishing_to(broker, monkeypatch) as publisher:
        await publisher.publish(topic, [Record(b"k", b"before")])
        for value in (b"x" * 2 * MAX_RECORD_BYTES, b"refused for the gap"):
            with pytest.raises(Unavailable):
                await publisher.publish(topic, [Record(b"k", value)])
        for value in (b"afterwards", b"and on"):
            await publisher.publish(topic, [Record(b"k", value)])
    assert await values_in(broker, topic) == [b"before", b"afterwards", b"and on"]


async def test_dead_letters_are_kept_once_a_leader_is_back(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letters = DeadLetters(
        {"bootstrap_servers": broker.bootstrap_servers, "request_timeout_ms": REQUEST_TIMEOUT_MS}, topic
    )
    await dead_letters.start()

    async def keep(value: bytes) -> None:
        event: Any = SimpleNamespace(topic="events", partition=0, offset=0, key=b"k", value=value, headers=())
        await dead_letters.keep(event, "crm", "http_400", "the endpoint answered 400")

    try:
        await keep(b"before")
        with monkeypatch.context() as without:
            lose_the_leader(dead_letters._producer, without)
            kept = asyncio.create_task(keep(b"meanwhile"))
            await asyncio.sleep(LEADERLESS_S)
        async with asyncio.timeout(10):
            await kept
    finally:
        await dead_letters.stop()
    assert await values_in(broker, topic) == [b"before", b"meanwhile"]
