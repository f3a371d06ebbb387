"""Publishes the score rows that changed to `nps.segment-scores`, from one worker of the group.

The publisher is the worker that owns partition 0 of the responses, and only while its scores are complete. There is no
transaction: a row is keyed and absolute, so publishing it again changes nothing, and whoever publishes next repairs
what a predecessor left behind. To know what that is, a new publisher first reads the topic: a row that has responses
there and none now is published once more, with nulls.

Every worker runs this service, for it is also what keeps the worker's scoreboard from piling up rows to be counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from mode import Service

from schemas.times import US_PER_HOUR
from streams.engine.clients import close_producer, make_patient, stop_consumer
from streams.scoreboard.board import Scoreboard
from streams.scoreboard.published import Message, Name, has_responses, left_by_another, left_by_us, messages
from streams.scoreboard.snapshot import Snapshot
from streams.scoreboard.table import Ints

logger = logging.getLogger(__name__)

FIRST_PARTITION: Final = 0
"""Whoever owns this partition of the responses publishes."""
ROWS_PER_CHUNK: Final = 500
"""Rows encoded at a time, in a thread."""
BATCH_BYTES: Final = 512 * 1024
PUBLISH_TIMEOUT_S: Final = 90.0
"""For all of a round, reading what a predecessor left included."""
STOP_TIMEOUT_S: Final = 2.0
LOG_INTERVAL_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Published:
    """What the topic holds, as far as this publisher knows."""

    hour: int
    series: Sequence[Name]
    counters: Ints
    """[series, window, counter]."""


class ScorePublisher(Service):  # type: ignore[misc]
    """Publishes a scoreboard every interval, while this worker is the one to do so."""

    mundane_level = "debug"

    def __init__(
        self,
        board: Scoreboard,
        kafka: Mapping[str, Any],
        topic: str,
        interval_s: float,
        beside: Scoreboard | None = None,
        **options: Any,
    ) -> None:
        """`kafka` is what every client of aiokafka is given: servers, security. `beside` is a board that is kept
        counted as this one is, whoever asks or not: what was put into one waits in memory until it is counted.
        """
        super().__init__(**options)
        self._board = board
        self._beside = beside
        self._kafka = dict(kafka)
        self._topic = TopicPartition(topic, 0)
        self._interval_s = interval_s
        self._producer: AIOKafkaProducer | None = None
        self._published: _Published | None = None
        self._logged_at_s = float("-inf")

    @property
    def publishing(self) -> bool:
        """Is this worker the publisher, and has it published at least once?"""
        return self._published is not None

    @Service.task  # type: ignore[untyped-decorator, unused-ignore]
    async def _run(self) -> None:
        while not self.should_stop:
            began_s = time.monotonic()
            if self._beside is not None:
                await self._beside.refresh()
            snapshot = await self._board.refresh()
            if self._is_publisher():
                try:
                    async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                        await self._publish(snapshot)
                except (KafkaError, OSError) as error:
                    await self._resign()
                    self._log_failure(error)
            elif self._producer is not None:
                await self._resign()
            await self.sleep(max(0.0, self._interval_s - (time.monotonic() - began_s)))

    async def on_stop(self) -> None:
        """Let go of the producer."""
        await self._resign()

    def _is_publisher(self) -> bool:
        return self._board.owns(FIRST_PARTITION)

    async def _publish(self, snapshot: Snapshot) -> None:
        if not snapshot.complete:
            return  # what was published stays true as of then; the next round may know more
        hour = snapshot.as_of_us // US_PER_HOUR
        producer = await self._started_producer()
        published = self._published
        if published is None:
            before, gone = await asyncio.to_thread(left_by_another, snapshot, await self._live_keys())
        else:
            # Once an hour, when most rows change anyway, all: should a publisher that lost its place have written
            # after us, this repairs it.
            all_again = hour != published.hour
            before, gone = await asyncio.to_thread(
                left_by_us, snapshot, published.series, published.counters, all_again=all_again
            )
        series, windows = (snapshot.totals != before).any(axis=2).nonzero()
        changed = list(zip(series.tolist(), windows.tolist(), strict=True))
        for start in range(0, len(changed), ROWS_PER_CHUNK):
            rows = await asyncio.to_thread(messages, snapshot, changed[start : start + ROWS_PER_CHUNK])
            if not await self._send(producer, rows):
                return
        if not await self._send(producer, gone):
            return
        self._published = _Published(hour, snapshot.series, snapshot.totals)

    async def _started_producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = AIOKafkaProducer(**self._kafka, enable_idempotence=True, max_batch_size=BATCH_BYTES)
            make_patient(self._producer.client)
            await self._producer.start()
        return self._producer

    async def _send(self, producer: AIOKafkaProducer, rows: Sequence[Message]) -> bool:
        """Send these; false, and nothing or a part is sent, when this worker no longer is the publisher."""
        batch = producer.create_batch()
        sent = []
        for key, value in rows:
            if batch.append(key=key, value=value, timestamp=None) is None:
                sent.append(await producer.send_batch(batch, self._topic.topic, partition=self._topic.partition))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        if not self._is_publisher():
            await self._resign()
            return False
        if batch.record_count():
            sent.append(await producer.send_batch(batch, self._topic.topic, partition=self._topic.partition))
        await asyncio.gather(*sent)
        return True

    async def _live_keys(self) -> set[bytes]:
        """Read the topic to its end: the keys of rows that have responses."""
        consumer = AIOKafkaConsumer(**self._kafka, auto_offset_reset="earliest", enable_auto_commit=False)
        make_patient(consumer._client)
        live: set[bytes] = set()
        try:
            await consumer.start()
            consumer.assign([self._topic])
            consumer.seek(self._topic, (await consumer.beginning_offsets([self._topic]))[self._topic])
            end = (await consumer.end_offsets([self._topic]))[self._topic]
            while await consumer.position(self._topic) < end:
                for records in (await consumer.getmany(timeout_ms=500, max_records=1_000)).values():
                    for record in records:
                        (live.add if has_responses(record.value) else live.discard)(record.key)
        finally:
            await stop_consumer(consumer)
        live.discard(None)
        return live

    async def _resign(self) -> None:
        """Forget what was published, which another may now change."""
        self._published = None
        producer, self._producer = self._producer, None
        if producer is not None:
            # Its own way of stopping waits for what was sent to be delivered, and tries for ever.
            await close_producer(producer, STOP_TIMEOUT_S)

    def _log_failure(self, error: BaseException) -> None:
        now_s = time.monotonic()
        if now_s - self._logged_at_s >= LOG_INTERVAL_S:
            self._logged_at_s = now_s
            logger.warning("Scores cannot be published, trying again: %s", str(error) or type(error).__name__)
