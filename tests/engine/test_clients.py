"""Kafka clients when the broker is not as it was."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

import aiokafka.client
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import GroupLoadInProgressError, KafkaConnectionError, KafkaError, NotCoordinatorForGroupError
from aiokafka.protocol.commit import OffsetFetchRequest, OffsetFetchResponse_v3
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from schemas.topics import Topics
from streams.broker import Broker
from streams.cli import kafka
from streams.engine import clients
from streams.engine.clients import make_patient, stop_consumer
from streams.engine.topics import ensure_topics, reach_broker
from streams.settings import Settings


async def made_topics(broker: Broker, prefix: str) -> Topics:
    topics = Topics(prefix)
    admin = await reach_broker({"bootstrap_servers": broker.bootstrap_servers}, 10)
    await ensure_topics(admin, topics, 1, 1, create=True)
    await admin.close()
    return topics


@pytest.mark.parametrize("error", [GroupLoadInProgressError, NotCoordinatorForGroupError])
async def test_an_error_of_the_answer_as_a_whole_is_no_group_without_offsets(
    monkeypatch: pytest.MonkeyPatch, error: type[KafkaError]
) -> None:
    admin = AIOKafkaAdminClient()

    async def answer(*_: object, **__: object) -> object:
        return OffsetFetchResponse_v3(0, [], error.errno)

    monkeypatch.setattr(clients, "_send", answer)
    with pytest.raises(error):
        await admin.list_consumer_group_offsets("g", 1, [TopicPartition("t", 0)])


async def test_a_connection_that_was_just_lost_is_an_error_of_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other ends aiokafka's own tasks, and nobody notices."""

    async def lost(*_: object, **__: object) -> object:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    monkeypatch.setattr(clients, "_send", lost)
    with pytest.raises(KafkaConnectionError, match="was lost"):
        await AIOKafkaAdminClient()._client.send(1, MetadataRequest([]))


async def test_no_client_has_topics_made(broker: Broker, unique: str) -> None:
    """Where the broker makes what it is asked about, one that was deleted under workers would be back at once."""
    asked = MetadataRequest([unique])
    admin = await reach_broker({"bootstrap_servers": broker.bootstrap_servers}, 10)
    await admin._client.send(admin._client.get_random_node(), asked)
    await admin.close()
    assert asked._allow_auto_topic_creation is False


async def test_a_consumer_that_has_stopped_fetching_says_so(broker: Broker, unique: str) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers)
    await consumer.start()
    try:
        clients.check_alive(consumer)
        consumer._fetcher._fetch_task.cancel()
        await asyncio.wait([consumer._fetcher._fetch_task])
        with pytest.raises(KafkaConnectionError, match="has stopped fetching"):
            clients.check_alive(consumer)
    finally:
        await stop_consumer(consumer)


async def test_a_leader_that_moves_while_offsets_are_asked_for_ends_no_fetching() -> None:
    """Two tasks then hear that nothing was committed, and aiokafka's own would end at the second. Tried often: which of
    the two is looked at first is chance.
    """

    async def once() -> bool:
        leader, at = 1, TopicPartition("t", 0)

        async def unanswered(*_: object) -> None:
            await asyncio.sleep(30)

        client: Any = Mock(send=unanswered, _metadata_max_age_ms=1e5)
        client.force_metadata_update = lambda: asyncio.get_running_loop().create_future()
        client.cluster.leader_for_partition = lambda _: leader
        subscriptions = SubscriptionState()
        fetcher = Fetcher(client, subscriptions, auto_offset_reset="none")
        subscriptions.subscribe({"t"})
        subscriptions.assign_from_subscribed({at})
        await asyncio.sleep(0.3)
        leader = 2
        await asyncio.sleep(0.5)
        subscriptions.subscription.assignment.state_value(at).update_committed(OffsetAndMetadata(-1, ""))
        await asyncio.sleep(0.3)
        ended = bool(fetcher._fetch_task.done())
        await fetcher.close()
        return ended

    assert not any(await asyncio.gather(*(once() for _ in range(60))))


async def test_nor_is_it_to_a_consumer_which_asks_again(
    broker: Broker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = await made_topics(broker, f"{unique}.")
    settings = Settings(bootstrap_servers=broker.bootstrap_servers)
    tp = TopicPartition(topics.responses, 0)
    async with kafka.connected(settings, kafka.consumer(settings, unique)) as consumer:
        consumer.assign([tp])
        await consumer.commit({tp: 5})
    send, errors = clients._send, [GroupLoadInProgressError, NotCoordinatorForGroupError]

    async def refusing(self: object, node_id: int, request: object, **how: Any) -> Any:
        if isinstance(request, OffsetFetchRequest) and errors:
            return OffsetFetchResponse_v3(0, [], errors.pop().errno)
        return await send(self, node_id, request, **how)

    monkeypatch.setattr(clients, "_send", refusing)
    async with kafka.connected(settings, kafka.consumer(settings, unique)) as consumer:
        assert await consumer.committed(tp) == 5
    assert not errors


@pytest.mark.slow
async def test_a_broker_that_is_away_is_not_asked_thousands_of_times(
    fresh_broker: Broker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a partition has no leader, aiokafka's fetcher asks for it again without a pause."""
    topics = await made_topics(fresh_broker, f"{unique}.")
    attempts = 0
    connect = aiokafka.client.create_conn

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal attempts
        attempts += 1
        return await connect(*args, **kwargs)

    monkeypatch.setattr(aiokafka.client, "create_conn", counted)
    consumer = AIOKafkaConsumer(bootstrap_servers=fresh_broker.bootstrap_servers, fetch_max_wait_ms=50)
    make_patient(consumer._client)
    await consumer.start()
    consumer.assign([TopicPartition(topics.responses, 0)])
    await consumer.getmany(timeout_ms=500)
    before = attempts
    # As a broker that is going to stop tells it, if it is asked in time.
    monkeypatch.setattr(consumer._client.cluster, "leader_for_partition", lambda _: -1)
    await asyncio.to_thread(fresh_broker.stop)
    await asyncio.sleep(2)
    await stop_consumer(consumer)
    assert attempts - before < 100
