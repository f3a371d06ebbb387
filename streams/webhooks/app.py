"""`nps webhooks run`: every endpoint's reader, the dead letters, HTTP; from its start to an orderly end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry

from schemas.access import Roles
from schemas.topics import Topics
from streams.engine.access import check_access
from streams.engine.topics import ensure_topic, reach_broker, require_topics
from streams.http.server import HttpServer
from streams.process import serve, unless_stopped
from streams.settings import Settings
from streams.webhooks.config import Endpoint, read_endpoints
from streams.webhooks.dead_letters import DeadLetters
from streams.webhooks.delivery import Delivery
from streams.webhooks.endpoints import HttpEndpoints
from streams.webhooks.metrics import Metrics
from streams.webhooks.reading import Reader, Reading
from streams.webhooks.retries import Retries
from streams.webhooks.sending import Sender

logger = logging.getLogger(__name__)

STOP_GRACE_S: Final = 3.0
"""After SIGTERM, for requests under way, and as long again for the last commits."""


def run_webhooks(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; return the exit code. Raises what keeps it from starting."""
    return serve(settings, partial(deliver, settings, read_endpoints(settings)))


async def deliver(settings: Settings, endpoints: Sequence[Endpoint], stop: asyncio.Event) -> None:
    """Deliver until asked to stop, then stop in order. Raises what cannot be helped by trying again."""
    topics = Topics(settings.topic_prefix)
    if not await unless_stopped(stop, _prepare(settings, topics)):
        return
    metrics = Metrics(CollectorRegistry(), version("nps-streams"))
    readers: list[Reader] = []
    http = HttpServer(settings.http_host, settings.http_port, HttpEndpoints(readers, metrics.render).by_path())
    async with AsyncExitStack() as stack:
        await http.start()
        stack.push_async_callback(http.stop)
        dead_letters = DeadLetters(settings.kafka(), topics.webhook_dead_letter)
        await dead_letters.start()
        stack.push_async_callback(dead_letters.stop)
        for endpoint in endpoints:
            concurrency = endpoint.concurrency or settings.webhooks_concurrency
            sender = await stack.enter_async_context(Sender(endpoint, settings.webhooks_timeout_s, concurrency))
            counted = metrics.endpoint(endpoint.name)
            delivery = Delivery(endpoint.name, sender, dead_letters, retries(settings), counted, concurrency)
            readers.append(Reader(endpoint, delivery, counted, _reading(settings, topics)))
        metrics.attach(lambda: [reader.state() for reader in readers])
        await _run(readers, stop)


async def _run(readers: Sequence[Reader], stop: asyncio.Event) -> None:
    running = [asyncio.create_task(reader.run()) for reader in readers]
    stopped = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([*running, stopped], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*running, stopped):
            task.cancel()
        await asyncio.wait([*running, stopped])
        await asyncio.gather(*(reader.stop(STOP_GRACE_S) for reader in readers))
    for task in done:
        task.result()


async def _prepare(settings: Settings, topics: Topics) -> None:
    admin = await reach_broker(settings.kafka(), settings.broker_wait_s)
    try:
        await check_access(admin, Roles(topics, settings.group_id).webhooks())
        partitions = await require_topics(admin, topics.events)
        for spec in topics.of_webhooks():
            await ensure_topic(admin, spec, partitions, settings.replication_factor, settings.create_topics)
    finally:
        await admin.close()


def retries(settings: Settings) -> Retries:
    """Return when to try again, as set."""
    return Retries(settings.webhooks_retry_first_s, settings.webhooks_retry_longest_s, settings.webhooks_retry_for_s)


def _reading(settings: Settings, topics: Topics) -> Reading:
    return Reading(
        kafka=settings.kafka(),
        group_prefix=f"{settings.group_id}-webhooks",
        topics=topics.events,
        session_timeout_ms=settings.session_timeout_ms,
        pending_limit=settings.webhooks_pending,
    )
