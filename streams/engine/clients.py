"""Kafka clients whose failures are not overlooked."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import KafkaConnectionError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import TopicPartition

METADATA_INTERVAL_S: Final = 0.1
CLOSE_TIMEOUT_S: Final = 1.0
STOP_WITHIN_S: Final = 5.0
"""What is under way when a producer is stopped is waited for so long."""
NO_POLL_INTERVAL_MS: Final = 100 * 365 * 24 * 3600 * 1000
"""`max_poll_interval_ms` of consumers that stay in their group without fetching, for days: while an endpoint is away,
as a standby without partitions. That we live is the heartbeat's business. (Brokers are not told of it.)"""


_send = AIOKafkaClient.send


async def _mended_send(self: AIOKafkaClient, node_id: int, request: Any, **how: Any) -> Any:
    """In place of the client's own, for every consumer, producer and admin client of the process.

    * The client overlooks an error of an answer about offsets as a whole: it makes of a coordinator that has moved, or
      is still loading, a group that has never committed anything, and would begin anew.
    * uvloop raises RuntimeError where it is written to a connection that was lost a moment ago. That ends the client's
      own tasks, which nobody notices: it would fetch and send nothing more.
    * Asking about a topic has brokers create it where they are set to, with their defaults: also one that was deleted.
    """
    if isinstance(request, MetadataRequest):
        request._allow_auto_topic_creation = False
    try:
        response = await _send(self, node_id, request, **how)
    except RuntimeError as error:
        raise KafkaConnectionError(f"the connection to node {node_id} was lost: {error}") from error
    if isinstance(request, OffsetFetchRequest) and response.error_code:
        raise for_code(response.error_code)
    return response


AIOKafkaClient.send = _mended_send


_set_error = Fetcher._set_error


def _mended_set_error(self: Fetcher, at: TopicPartition, error: Exception) -> None:
    """In place of the fetcher's own, which asserts that nothing of the partition waits to be taken, and ends its task
    where something does: such as the same error, of a partition without a committed offset whose leader has moved while
    that was asked for. An error that holds comes again.
    """
    if at not in self._records:
        _set_error(self, at, error)


Fetcher._set_error = _mended_set_error


def check_alive(consumer: AIOKafkaConsumer) -> None:
    """Raise KafkaConnectionError where a task has ended without which the consumer gives nothing more, and no error."""
    for task in (consumer._fetcher._fetch_task, consumer._client._sync_task):
        if task is not None and task.done():
            raise KafkaConnectionError("the Kafka client has stopped fetching")


def has_leader(consumer: AIOKafkaConsumer, at: TopicPartition) -> bool:
    """Would anybody answer what is asked of the partition? One without would hold up what is asked of all."""
    return consumer._client.cluster.leader_for_partition(at) not in (None, -1)


async def connected_admin(kafka: dict[str, Any]) -> AIOKafkaAdminClient:
    """Return an admin client that is connected. One that cannot be, or whose start is cancelled, is closed."""
    admin = AIOKafkaAdminClient(**kafka)
    try:
        await admin.start()
    except BaseException:
        await admin.close()
        raise
    return admin


def make_patient(client: AIOKafkaClient) -> None:
    """Let a client wait between two questions for what the cluster is like. While a partition has no leader, aiokafka's
    fetcher and sender ask without a pause: thousands of times a second, perhaps on the machine on which the broker
    tries to start.
    """
    update = client._metadata_update
    asked_at_s = float("-inf")

    async def patient_update(*args: Any) -> Any:
        nonlocal asked_at_s
        await asyncio.sleep(asked_at_s + METADATA_INTERVAL_S - time.monotonic())
        asked_at_s = time.monotonic()
        return await update(*args)

    client._metadata_update = patient_update


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer. With fetches that wait to be tried again, aiokafka's own stop cancels them and then ends as if
    its caller had been cancelled: a task that takes that for its own end is gone without a word. And it waits for the
    broker's goodbye, which over TLS may take half a minute: not here, where all that is to be closed is closing.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            try:
                await consumer.stop()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                await consumer._client.close()  # what it had not come to


async def stop_producer(producer: AIOKafkaProducer) -> None:
    """Stop a producer. With a broker that is away aiokafka's own stop would wait for it."""
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await AIOKafkaProducer.stop(producer)
    except TimeoutError:
        await close_producer(producer, CLOSE_TIMEOUT_S)


async def close_producer(producer: AIOKafkaProducer, timeout_s: float) -> bool:
    """Let go of a producer at once, of what it has not delivered too; False where something of it lives on."""
    producer._closed = True  # stop() would wait for batches that may never be delivered
    tasks = _tasks_of(producer._sender)
    for task in tasks:
        task.cancel()
    # Waited for like this, it ends in time even where a task swallows being cancelled, as the client's closing may.
    closing = asyncio.create_task(producer.client.close())
    done, pending = await asyncio.wait([closing, *tasks], timeout=timeout_s)
    for task in done:
        if not task.cancelled():
            task.exception()  # nobody else asks for it, and asyncio would say so
    if pending:
        closing.cancel()
    return not pending


def _tasks_of(sender: object) -> list[asyncio.Task[Any]]:
    """Return aiokafka's tasks that work for a sender. Cancelled, its main task waits for the others, and they may wait
    for ever: for a coordinator, or for news of the cluster that a closed client will never have. With them would stay
    everything that the last unit wrote.

    No other task's frame is looked into: Python keeps what it shows of one, an error that is being handled with all
    that its traceback holds, for as long as the frame lives.
    """
    of_class = f"{type(sender).__name__}."
    coroutines = ((task, task.get_coro()) for task in asyncio.all_tasks())
    return [
        task
        for task, coroutine in coroutines
        if getattr(coroutine, "__qualname__", "").startswith(of_class)
        and (frame := getattr(coroutine, "cr_frame", None)) is not None
        and frame.f_locals.get("self") is sender
    ]
