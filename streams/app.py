"""The composition root: builds a worker from its settings, runs it, and takes it down in order.

`nps worker` calls `run_worker`. `streams.app:app` is the Faust application, for whoever brings their own runner; built
from the environment when it is first asked for.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Never

import uvloop
from aiokafka.admin import AIOKafkaAdminClient
from mode import Service
from prometheus_client import CollectorRegistry

from schemas.access import Roles
from schemas.times import US_PER_DAY, US_PER_HOUR
from schemas.topics import Topics
from streams.engine.access import check_access
from streams.engine.app import ProcessorApp
from streams.engine.config import EngineConfig
from streams.engine.decider import DecidingConfig
from streams.engine.state_directory import Owner, StateDirectory
from streams.engine.topics import RefusedToStart, ensure_topics, reach_broker
from streams.engine.watch import TopicWatch
from streams.event_loop import EventLoopWatch
from streams.http.endpoints import Endpoints
from streams.http.server import CannotListen, HttpServer
from streams.logs import configure_logging
from streams.metrics import Metrics
from streams.rules.counts import HOURS_A_DAY
from streams.rules.decisions import RulesConfig
from streams.rules.windows import Window
from streams.scoreboard.board import Scoreboard
from streams.scoreboard.publisher import ScorePublisher
from streams.scoreboard.reader import CountsReader
from streams.scoreboard.table import CASES
from streams.settings import Settings

logger = logging.getLogger(__name__)

LEAVE_TIMEOUT_S = 8.0
"""After SIGTERM, how long the last commits and the goodbye may take; what is not committed by then is read again."""


class Worker:
    """Everything that a worker process consists of."""

    def __init__(
        self,
        settings: Settings,
        partitions: int,
        instance_id: str,
        probe: Callable[[str], None] | None = None,
    ) -> None:
        """`instance_id` names this worker from start to start, for static membership."""
        topics = Topics(settings.topic_prefix)
        config = engine_config(settings, topics, partitions, instance_id, probe)
        scoreboard = Scoreboard(settings.windows, partitions, lambda: time.time_ns() // 1000)
        kept = Window("kept", (settings.counts_retention_days + 1) * HOURS_A_DAY)
        cases = Scoreboard(settings.windows, partitions, lambda: time.time_ns() // 1000, CASES, of_own=kept)
        metrics = Metrics(CollectorRegistry(), scoreboard, cases, version("nps-streams"), settings.state_dir)
        self.app = ProcessorApp(config, metrics, scoreboard, cases)
        metrics.attach(self.app.engine)
        token = settings.http_token.get_secret_value() if settings.http_token is not None else None
        endpoints = Endpoints(scoreboard, cases, self.app.engine, metrics.render, token)
        beacon = self.app.beacon  # what makes a service crash ends the worker
        reader = CountsReader(scoreboard, config.kafka, topics.segment_counts, partitions, beacon=beacon)
        scoreboard.attach(reader)
        case_reader = CountsReader(cases, config.kafka, topics.case_counts, partitions, beacon=beacon)
        cases.attach(case_reader)
        self._services: tuple[Service, ...] = (
            HttpServer(settings.http_host, settings.http_port, endpoints.by_path(), beacon=beacon),
            reader,
            case_reader,
            EventLoopWatch(metrics.event_loop_stalled, beacon=beacon),
            TopicWatch(
                config.kafka,
                topics,
                partitions,
                self.app.engine.check_ends,
                self.app.processing_failed,
                beacon=beacon,
            ),
            ScorePublisher(
                scoreboard, config.kafka, topics.segment_scores, settings.scores_interval_s, cases, beacon=beacon
            ),
        )

    async def start(self) -> None:
        """Start serving, reading and processing. Raises CannotListen when the HTTP port is taken."""
        for service in self._services:
            await service.start()
        await self.app.start()

    async def stop(self) -> None:
        """Leave the group, committed; then stop the rest."""
        await self.app.leave()
        await asyncio.gather(*(service.stop() for service in self._services))


def engine_config(
    settings: Settings,
    topics: Topics,
    partitions: int,
    instance_id: str,
    probe: Callable[[str], None] | None = None,
) -> EngineConfig:
    """Translate settings into what the engine is told."""
    retention_us = settings.counts_retention_days * US_PER_DAY
    config = EngineConfig(
        kafka=settings.kafka(),
        group_id=settings.group_id,
        deciding=DecidingConfig(
            topics=topics,
            partitions=partitions,
            rules=RulesConfig(
                cooldown_us=settings.passive_cooldown_days * US_PER_DAY,
                event_max_age_us=settings.event_max_age_days * US_PER_DAY,
                counts_retention_us=retention_us,
                transitions=settings.score_changed_transitions,
                follow_up_sla_us=settings.follow_up_sla_hours * US_PER_HOUR,
                playbook=settings.playbook(),
            ),
            segment_limit=settings.segment_limit,
            segment_crosses=settings.segment_crosses,
            event_source=settings.event_source,
        ),
        state_dir=settings.state_dir,
        counts_retention_us=retention_us,
        commit_interval_ms=settings.commit_interval_ms,
        transaction_timeout_ms=settings.transaction_timeout_ms,
        session_timeout_ms=settings.session_timeout_ms,
        compression_type=settings.compression_type,
        group_instance_id=instance_id if settings.static_membership else None,
    )
    return config if probe is None else dataclasses.replace(config, probe=probe)


async def prepare(settings: Settings) -> tuple[int, StateDirectory]:
    """Reach the broker, have the topics, take the state directory; returns the number of partitions and the directory.

    Raises RefusedToStart, NotAuthorized or StateDirectoryError, each with a sentence.
    """
    topics = Topics(settings.topic_prefix)
    admin = await reach_broker(settings.kafka(), settings.broker_wait_s)
    try:
        rights = Roles(topics, settings.group_id).worker(creates_topics=settings.create_topics)
        await check_access(admin, rights)
        partitions = await ensure_topics(
            admin,
            topics,
            settings.partitions,
            settings.replication_factor,
            settings.create_topics,
        )
        owner = Owner(await _cluster_id(admin), settings.group_id, settings.topic_prefix)
    finally:
        await admin.close()
    return partitions, StateDirectory(settings.state_dir, owner).acquire()


async def _cluster_id(admin: AIOKafkaAdminClient) -> str:
    described = await admin.describe_cluster()
    return str(described["cluster_id"])


def run_worker(settings: Settings, probe: Callable[[str], None] | None = None) -> Never:
    """Run a worker until SIGTERM or SIGINT, then exit the process: 0 after an orderly stop, 1 otherwise.

    Exits by itself, because Faust's threads would hold the interpreter for another minute. Raises, before anything
    runs, what `prepare` raises, and CannotListen.
    """
    # Until `_run` does better; the first process of a container would not end by the signal alone.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    configure_logging(settings.log_level, settings.log_format)
    logger.info(
        "nps-streams %s starts: group %s, topics %s*, Kafka at %s, state in %s",
        version("nps-streams"),
        settings.group_id,
        settings.topic_prefix,
        settings.bootstrap_servers,
        settings.state_dir,
        extra={"group": settings.group_id},
    )
    tame_garbage_collection()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        partitions, directory = runner.run(prepare(settings))
        try:
            code = runner.run(_run(settings, partitions, directory.instance_id, probe))
        except CannotListen:  # nothing was begun
            raise
        except Exception:
            logger.critical("the worker failed", exc_info=True)
            code = 1
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


async def _run(settings: Settings, partitions: int, instance_id: str, probe: Callable[[str], None] | None) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    worker = Worker(settings, partitions, instance_id, probe)
    crashed = asyncio.create_task(worker.app.crashed_with())
    starting = asyncio.create_task(worker.start())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([starting, crashed, stopped], return_when=asyncio.FIRST_COMPLETED)
    if crashed.done():  # it waits for an assignment that will not come, and there is nothing to leave in order
        _say_last(crashed.result())
        return 1
    if not starting.done():  # nor when it is told to stop before it has begun
        return 0
    starting.result()
    gc.freeze()
    await asyncio.wait([stopped, crashed], return_when=asyncio.FIRST_COMPLETED)
    logger.info("stopping")
    began = time.monotonic()
    code = 0
    try:
        async with asyncio.timeout(LEAVE_TIMEOUT_S):
            await worker.stop()
        took_s = time.monotonic() - began
        logger.info("stopped in %.1f s", took_s, extra={"seconds": round(took_s, 3)})
    except TimeoutError:
        logger.error("not everything was committed within %.0f s: it will be read again", LEAVE_TIMEOUT_S)
        code = 1
    if crashed.done():
        _say_last(crashed.result())
        code = 1
    return code


def _say_last(error: BaseException) -> None:
    """Log what ended the worker, where people look first; Faust's threads, which end with the process, say no more."""
    logger.critical("stopped because of: %s", error)
    logging.disable()


def tame_garbage_collection() -> None:
    """Collect cycles seldom: state is many small objects without cycles, and walking them costs more than deciding. But
    never so many at once that it takes long: 10,000 young objects are some 10 ms.
    """
    gc.set_threshold(10_000, 5, 200)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    settings = Settings.from_environment()
    partitions, directory = asyncio.run(prepare(settings))
    worker = Worker(settings, partitions, directory.instance_id)
    globals().update(app=worker.app, _directory=directory)  # the directory is locked as long as it is referred to
    return worker.app


__all__ = ["RefusedToStart", "Worker", "engine_config", "prepare", "run_worker"]
