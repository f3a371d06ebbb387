"""A CRM for simulated life: it reads what is detected, and tells what it has done about it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from heapq import heappop, heappush
from itertools import count
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import Topics
from streams.cli import kafka
from streams.cli.console import Failure
from streams.cli.sending import UnderWay
from streams.cli.stopping import stopped_within
from streams.settings import Settings
from streams.simulation import Life
from streams.simulation.crm import Planned, follow_ups

LOOK_S = 0.2
CALL_EVERY_S = 0.5
IDLE_LIMIT_S = 60.0
"""A worker that commits nothing for so long, though there is something to be processed, does not run."""


class Crm:
    """Given every detection that is read; sends what is due when it is told to."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, life: Life, seed: int) -> None:
        self.sent = 0
        """Follow-ups that Kafka has acknowledged."""
        self._producer = producer
        self._under_way = UnderWay[None](self._count)
        self._topic = topic
        self._life = life
        self._seed = seed
        self._planned: list[tuple[int, int, Planned]] = []
        self._numbers = count()

    def detected(self, data: Mapping[str, Any]) -> None:
        """Take note of a detection."""
        for planned in follow_ups(self._seed, data):
            heappush(self._planned, (planned.occurred_us, next(self._numbers), planned))

    async def send_until(self, until_us: int) -> None:
        """Send what happens before this time, which is simulated. Raises KafkaError."""
        while self._planned and self._planned[0][0] < until_us:
            planned = heappop(self._planned)[2]
            self._life.followed_up(planned.customer_id, planned.survey_id, planned.action)
            await self._send(planned.key, planned.value, planned.occurred_us // 1_000)
        await self._under_way.acknowledged()

    @asynccontextmanager
    async def at_speed(self, speed: float, start_us: int) -> AsyncIterator[None]:
        """Meanwhile send what is due in simulated time, which begins at `start_us`. Raises KafkaError in the end."""
        calling = asyncio.create_task(self._call(speed, start_us))
        try:
            yield
        finally:
            calling.cancel()
            await asyncio.wait([calling])
        if not calling.cancelled():
            calling.result()

    async def _call(self, speed: float, start_us: int) -> None:
        started = time.monotonic()
        while True:
            await asyncio.sleep(CALL_EVERY_S)
            await self.send_until(start_us + int((time.monotonic() - started) * speed * 1_000_000))

    async def send_one(self, key: bytes, value: bytes) -> None:
        """Send a follow-up of one's own, now. Raises KafkaError."""
        await self._send(key, value, time.time_ns() // 1_000_000)
        await self._under_way.acknowledged()

    async def _send(self, key: bytes, value: bytes, record_time_ms: int) -> None:
        self._under_way.add(await self._producer.send(self._topic, value, key, timestamp_ms=record_time_ms), None)

    def _count(self, _: None) -> None:
        self.sent += 1


class Detections:
    """What the workers of a group detect from now on, told to a CRM as it is read."""

    def __init__(self, settings: Settings, admin: AIOKafkaAdminClient, client: AIOKafkaConsumer, crm: Crm) -> None:
        topics = Topics(settings.topic_prefix)
        self._group_id = settings.group_id
        self._inputs = topics.inputs
        self._detections = topics.passive_detected
        self._admin = admin
        self._client = client
        self._crm = crm
        self._partitions: dict[str, list[TopicPartition]] = {}
        self._reading: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[None]:
        """Read in the background.

        Raises:
            Failure: a topic does not exist.
        """
        existing = await kafka.topics(self._admin)
        for name in (*self._inputs, self._detections):
            numbers = range(kafka.existing_topic(existing, name).partitions)
            self._partitions[name] = [TopicPartition(name, number) for number in numbers]
        detections = self._partitions[self._detections]
        self._client.assign(detections)
        for partition, end in (await self._client.end_offsets(detections)).items():
            self._client.seek(partition, end)
        reading = self._reading = asyncio.create_task(self._read())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _read(self) -> None:
        while True:
            for records in (await self._client.getmany(timeout_ms=kafka.POLL_MS)).values():
                for record in records:
                    with suppress(ValueError, LookupError, TypeError):  # another program wrote it
                        self._crm.detected(json.loads(record.value or b"null"))

    async def all_read(self, stop: asyncio.Event) -> None:
        """Return when all that is sent by now is processed and what was detected in it is read, or when asked to stop.

        Raises:
            Failure: no worker makes progress.
            KafkaError: detections cannot be read.
        """
        inputs = [partition for name in self._inputs for partition in self._partitions[name]]
        ends = await self._client.end_offsets(inputs)
        left, moved_at = -1, time.monotonic()
        while not stop.is_set():
            known = await kafka.with_coordinator(lambda: self._admin.list_consumer_group_offsets(self._group_id))
            done = {partition: known[partition].offset if partition in known else 0 for partition in inputs}
            before, left = left, sum(max(end - done[partition], 0) for partition, end in ends.items())
            if not left:
                break
            if left != before:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > IDLE_LIMIT_S:
                raise Failure(
                    f"the group {self._group_id} has committed nothing for {IDLE_LIMIT_S:g} s, though {left:,} records"
                    " wait: a CRM needs to be told of passives, so start a worker (nps worker)"
                )
            await stopped_within(stop, LOOK_S)
        detections = await self._client.end_offsets(self._partitions[self._detections])
        for partition, end in detections.items():
            while await self._client.position(partition) < end and not stop.is_set():
                if self._reading is not None and self._reading.done():
                    self._reading.result()  # raises what ended it; nothing more would be read
                await stopped_within(stop, LOOK_S)
