"""Publishing a file of responses: each is judged exactly as a worker would judge it, then sent or refused."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka.errors import KafkaError

from schemas.response import Rejected, accept, response_key
from schemas.topics import Topics
from streams.cli import kafka
from streams.cli.choices import RecordTime
from streams.cli.console import Failure, plural
from streams.cli.file_lines import Lines
from streams.cli.response_files import Line
from streams.cli.sending import MAX_UNACKNOWLEDGED, UnderWay
from streams.engine.access import REFUSALS
from streams.settings import Settings

BATCH_LINES = 500
BATCH_BYTES = 1024 * 1024
"""A batch ends with the line that brings it here, so that what is read ahead takes some MB, however long lines are."""
BATCHES_READ_AHEAD = 4
UNREADABLE = "invalid_csv"
"""Beside the reasons of dead letters: a row that cannot be made into a value at all."""


class Ready(NamedTuple):
    """A response that is fit to publish."""

    key: bytes
    value: bytes
    timestamp_ms: int | None
    """None: the producer's clock."""


class Refusal(NamedTuple):
    """A line that is not published."""

    line: Line
    reason: str
    message: str


@dataclass
class Summary:
    """What became of a file's lines."""

    published: int = 0
    """Acknowledged by Kafka."""
    expired: int = 0
    """Published under a record time that is older than the topic keeps records: Kafka may drop them unread."""
    refused: Counter[str] = field(default_factory=Counter)
    """By reason."""

    def count_published(self, _: None = None) -> None:
        """Count one."""
        self.published += 1

    @property
    def so_far(self) -> str:
        """How far it came, and how to go on, for the end of a sentence."""
        return (
            f"after {plural(self.published, 'response')} of the file;"
            " publish it again: what is there already is recognised by its response_id"
        )


class CannotRead(Exception):
    """The rest of what is published can't be read, and why."""


def judge(line: Line, record_time: RecordTime, now_ms: int) -> Ready | Refusal:
    """Decide as a worker would that reads the record now: key, value and time together."""
    if line.problem is not None:
        return Refusal(line, UNREADABLE, line.problem)
    try:
        key = response_key(line.value)
        response = accept(key, line.value, now_ms)
    except Rejected as rejected:
        return Refusal(line, str(rejected.reason), rejected.message)
    if record_time is RecordTime.RESPONDED_AT:
        return Ready(key, line.value, max(0, response.responded_at // 1000))  # Kafka has no times before 1970
    return Ready(key, line.value, None)


async def publish(
    settings: Settings,
    lines: Lines,
    responses: Iterator[Line],
    record_time: RecordTime,
    summary: Summary,
    on_refusal: Callable[[Refusal], None],
    on_progress: Callable[[], None],
) -> None:
    """Send every response that is fit, in the file's order, and wait until Kafka has acknowledged all.

    The summary is kept all along: it holds also when this is interrupted.

    Raises:
        Failure: the topic does not exist, or Kafka stopped taking records; it says how many were published.
        CannotRead: the file.
    """
    topic = Topics(settings.topic_prefix).responses
    retention_ms = await _retention_ms(settings, topic, record_time)
    try:
        with UnderWay[None](summary.count_published) as under_way:
            async with kafka.connected(settings, kafka.producer(settings)) as producer:
                async for batch in _read_ahead(lines, responses):
                    now_ms = time.time_ns() // 1_000_000
                    for line in batch:
                        verdict = judge(line, record_time, now_ms)
                        if isinstance(verdict, Refusal):
                            summary.refused[verdict.reason] += 1
                            on_refusal(verdict)
                            continue
                        key, value, timestamp_ms = verdict
                        if timestamp_ms is not None and retention_ms >= 0 and timestamp_ms < now_ms - retention_ms:
                            summary.expired += 1
                        under_way.add(await producer.send(topic, value, key, timestamp_ms=timestamp_ms), None)
                    await under_way.acknowledged(down_to=MAX_UNACKNOWLEDGED)
                    await asyncio.sleep(0)  # lets the sender work although the file never makes this loop wait
                    on_progress()
                await under_way.acknowledged()
    except REFUSALS:
        raise
    except KafkaError as error:
        raise Failure(f"Kafka stopped taking responses ({type(error).__name__}) {summary.so_far}") from None
    on_progress()


async def _retention_ms(settings: Settings, topic: str, record_time: RecordTime) -> int:
    """How long the topic keeps records; -1: for ever, or it makes no difference since they are of now."""
    async with kafka.connected(settings, kafka.admin(settings)) as admin:
        kafka.existing_topic(await kafka.topics(admin), topic)
        if record_time is RecordTime.NOW:
            return -1
        configuration = (await kafka.topic_configurations(admin, [topic]))[topic]
    return int(configuration["retention.ms"])


async def _read_ahead(lines: Lines, responses: Iterator[Line]) -> AsyncIterator[list[Line]]:
    """Batches of responses, read in a thread of its own so that a slow pipe holds up nothing.

    A batch ends where the next line would have to be waited for, so that what arrives is published at once. The thread
    is a daemon: it may wait in a read that never returns, which must not keep the command from ending.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[list[Line] | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(BATCHES_READ_AHEAD)

    def put(item: list[Line] | BaseException | None) -> None:
        room.acquire()
        loop.call_soon_threadsafe(queue.put_nowait, item)

    def read_all() -> None:
        try:
            batch: list[Line] = []
            size_bytes = 0
            for line in responses:
                batch.append(line)
                size_bytes += len(line.original)
                if lines.waiting or len(batch) == BATCH_LINES or size_bytes >= BATCH_BYTES:
                    put(batch)
                    batch = []
                    size_bytes = 0
            put(batch)
            put(None)
        except OSError as error:
            with suppress(RuntimeError):
                put(CannotRead(error.strerror))
        except Exception as error:
            with suppress(RuntimeError):  # the loop is closed: the command has ended already and nobody listens
                put(error)

    threading.Thread(target=read_all, name="response-file", daemon=True).start()
    while (item := await queue.get()) is not None:
        room.release()
        if isinstance(item, BaseException):
            raise item
        yield item
