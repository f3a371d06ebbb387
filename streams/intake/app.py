"""`nps intake`: HTTP in front of Kafka, from its start to an orderly end."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from importlib.metadata import version

from prometheus_client import CollectorRegistry

from schemas.access import Roles
from schemas.intake import DOORS
from schemas.topics import Topics
from streams.engine.access import check_access
from streams.engine.topics import reach_broker, require_topics
from streams.http.server import HttpServer
from streams.intake.endpoints import IntakeEndpoints
from streams.intake.limits import TokenBucket
from streams.intake.metrics import Metrics
from streams.intake.publishing import Publisher
from streams.process import serve, unless_stopped
from streams.settings import Settings, SettingsError


def run_intake(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; return the exit code. Raises what keeps it from starting."""
    if settings.intake_tokens is None:
        raise SettingsError(["NPS_INTAKE_TOKENS: must be set for nps intake (openssl rand -hex 32 makes one)"])
    return serve(settings, partial(take_in, settings))


async def take_in(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until asked to stop."""
    topics = Topics(settings.topic_prefix)
    if not await unless_stopped(stop, _prepare(settings, topics)):
        return
    publisher = Publisher(settings.kafka())
    endpoints = IntakeEndpoints(
        topics,
        publisher,
        settings.intake_token_list(),
        lambda: TokenBucket(settings.intake_rate, settings.intake_burst, time.monotonic),
        Metrics(CollectorRegistry(), version("nps-streams")),
    )
    http = HttpServer(settings.http_host, settings.http_port, endpoints.to_read(), endpoints.to_write())
    await publisher.start()
    try:
        await http.start()
        try:
            await stop.wait()
        finally:
            await http.stop()
    finally:
        await publisher.stop()


async def _prepare(settings: Settings, topics: Topics) -> None:
    """Reach the broker; what is published to must be there, for producing may create it with too few partitions."""
    admin = await reach_broker(settings.kafka(), settings.broker_wait_s)
    try:
        await check_access(admin, Roles(topics, settings.group_id).intake())
        await require_topics(admin, (door.topic(topics) for door in DOORS))
    finally:
        await admin.close()
