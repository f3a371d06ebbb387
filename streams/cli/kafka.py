"""Kafka for commands: clients that explain themselves when they cannot connect, topics as they are, bounded reading."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
    for_code,
)
from aiokafka.structs import ConsumerRecord

from streams.cli.console import Failure
from streams.engine.access import REFUSALS
from streams.engine.clients import stop_consumer, stop_producer
from streams.engine.header_names import read_any_header_names
from streams.engine.producer import Producer
from streams.engine.refusals import refusal
from streams.settings import Settings

CLIENT_ID = "nps-cli"
REQUEST_TIMEOUT_MS = 15_000
POLL_MS = 500
IDLE_LIMIT_S = 30.0
"""A read towards an end that is known gives up after this long without a record: something holds it back."""
COORDINATOR_WAIT_S = 10.0
COORDINATOR_RETRY_S = 0.2
LINGER_MS = 10
BATCH_BYTES = 256 * 1024
AS_IT_WAS = {"max_request_size": 32 * 1024 * 1024, "compression_type": "lz4"}
"""For a producer of records that were in Kafka before: one may be large, or fit only if it is compressed."""

# The client logs every attempt to connect; what a person needs to know is in the one sentence of a Failure.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class _Client(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


C = TypeVar("C", bound=_Client)
T = TypeVar("T")


class Topic(NamedTuple):
    """A topic of the cluster."""

    name: str
    partitions: int
    replicas: int
    """Of the partition that has the fewest."""
    without_leader: int
    """Partitions that cannot be read or written now."""


@asynccontextmanager
async def connected(settings: Settings, client: C) -> AsyncIterator[C]:
    """Start the client, stop it afterwards.

    Raises:
        Failure: no broker answers, or those that do refuse our settings.
    """
    try:
        try:
            await client.start()
        except REFUSALS:
            raise
        except (KafkaError, OSError) as error:
            refused = await refusal(settings.kafka())
            raise Failure(refused.sentence if refused else unreachable(settings, error)) from None
        yield client
    finally:
        await _stop(client)


async def _stop(client: _Client) -> None:
    """In a bounded time, whatever has become of the broker."""
    match client:
        case AIOKafkaAdminClient():
            await client.close()
        case AIOKafkaConsumer():
            await stop_consumer(client)
        case AIOKafkaProducer():
            await stop_producer(client)
        case _:
            await client.stop()


def unreachable(settings: Settings, error: Exception) -> str:
    """Why no broker answers, and what to do."""
    hint = "start it (nps broker start) or set NPS_BOOTSTRAP_SERVERS"
    if settings.security_protocol != "PLAINTEXT":
        hint += f"; NPS_SECURITY_PROTOCOL is {settings.security_protocol}"
    return f"Kafka cannot be reached at {settings.bootstrap_servers} ({type(error).__name__}): {hint}"


def admin(settings: Settings) -> AIOKafkaAdminClient:
    """For topics, configurations, groups."""
    return AIOKafkaAdminClient(client_id=CLIENT_ID, request_timeout_ms=REQUEST_TIMEOUT_MS, **settings.kafka())


def producer(settings: Settings, **more: Any) -> Producer:
    """Idempotent, `acks=all`; the default partitioner is the Java client's, murmur2 of the key."""
    return Producer(
        client_id=CLIENT_ID,
        linger_ms=LINGER_MS,
        max_batch_size=BATCH_BYTES,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **settings.kafka(),
        **more,
    )


def consumer(settings: Settings, group_id: str | None = None) -> AIOKafkaConsumer:
    """Reads what is committed, of partitions assigned by hand; with a group only for the offsets it commits."""
    read_any_header_names()
    return AIOKafkaConsumer(
        client_id=CLIENT_ID,
        group_id=group_id,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **settings.kafka(),
    )


async def topics(client: AIOKafkaAdminClient) -> dict[str, Topic]:
    """Every topic of the cluster by name. Asked for all at once: asking for one by name may create it."""
    found: dict[str, Topic] = {}
    for topic in await client.describe_topics():
        partitions = topic["partitions"]
        if not partitions:
            continue
        found[topic["topic"]] = Topic(
            name=topic["topic"],
            partitions=len(partitions),
            replicas=min(len(partition["replicas"]) for partition in partitions),
            without_leader=sum(partition["leader"] < 0 for partition in partitions),
        )
    return found


async def topic_configurations(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Each topic's configuration as it is in force, the broker's defaults included."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    found: dict[str, dict[str, str]] = {}
    for response in await client.describe_configs(resources):
        for code, message, _, name, entries, *_ in response.resources:
            if code:
                error = for_code(code)
                raise error(name if error in REFUSALS else message)
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


async def partitions_of(settings: Settings, names: Iterable[str]) -> list[TopicPartition]:
    """All partitions of these topics.

    Raises:
        Failure: a topic does not exist.
    """
    async with connected(settings, admin(settings)) as client:
        existing = await topics(client)
    return [
        TopicPartition(name, number) for name in names for number in range(existing_topic(existing, name).partitions)
    ]


def existing_topic(existing: dict[str, Topic], name: str) -> Topic:
    """The topic of this name.

    Raises:
        Failure: there is none; it says what to do.
    """
    if name not in existing:
        raise Failure(
            f"topic {name} does not exist, or this Kafka user may not see it:"
            " start a worker, create it with nps topics --create, or grant the right"
        )
    return existing[name]


async def read_between(
    client: AIOKafkaConsumer,
    starts: dict[TopicPartition, int],
    ends: dict[TopicPartition, int],
    max_records: int | None = None,
) -> AsyncIterator[list[ConsumerRecord]]:
    """Batches of the records from each partition's start up to its end offset, exclusive; of at most so many records.

    The partitions must be assigned. Offsets that transactions use for their own marks count too, so a batch may be
    the last although its newest record is not at the end.

    Raises:
        Failure: nothing arrived for a long time before the end.
    """
    todo = {partition for partition, end in ends.items() if starts[partition] < end}
    for partition in todo:
        client.seek(partition, starts[partition])
    last_progress = time.monotonic()
    while todo:
        batches = await client.getmany(*todo, timeout_ms=POLL_MS, max_records=max_records)
        records = [record for tp, batch in batches.items() for record in batch if record.offset < ends[tp]]
        if records:
            yield records
        done = {partition for partition in todo if await client.position(partition) >= ends[partition]}
        if records or done:
            last_progress = time.monotonic()
        elif time.monotonic() - last_progress > IDLE_LIMIT_S:
            stuck = sorted(f"{partition.topic}-{partition.partition}" for partition in todo)
            raise Failure(f"nothing arrived for {IDLE_LIMIT_S:g} s, though not read to the end: {', '.join(stuck)}")
        todo -= done


async def starts_and_ends(
    client: AIOKafkaConsumer, partitions: list[TopicPartition]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """The first offset that is still there, and the end as it is now (committed data alone), of each partition."""
    if not partitions:
        return {}, {}
    return await client.beginning_offsets(partitions), await client.end_offsets(partitions)


async def with_coordinator(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call about a consumer group, again while its coordinator is not ready, as after a broker's start."""
    deadline = time.monotonic() + COORDINATOR_WAIT_S
    while True:
        try:
            return await call()
        except (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(COORDINATOR_RETRY_S)


def header(record: ConsumerRecord, name: str) -> str | None:
    """The value of a record's header in text; where it is there more than once the last one counts."""
    for key, value in reversed(record.headers):
        if key == name:
            return None if value is None else bytes(value).decode(errors="replace")
    return None
