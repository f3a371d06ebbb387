"""Bringing simulated life to Kafka or to a file, at its pace, and counting what arrived."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, Self

from aiokafka import AIOKafkaProducer

from schemas.dead_letters import Reason
from streams.cli.sending import MAX_UNACKNOWLEDGED, UnderWay
from streams.cli.stopping import stopped_within
from streams.simulation import Simulated
from streams.simulation.life import Kind

RECORDS_BETWEEN_YIELDS = 250
SHORTEST_WAIT_S = 0.002


@dataclass
class Tally:
    """Records that arrived, by what they are."""

    kinds: Counter[Kind] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    """Broken ones by the reason that they must be dead-lettered for."""
    left_out: int = 0
    """Erasures that a file of values cannot carry."""

    @property
    def records(self) -> int:
        """All that arrived."""
        return self.kinds.total()

    def add(self, record: Simulated) -> None:
        """Count one."""
        self.kinds[record.kind] += 1
        if record.reason is not None:
            self.reasons[record.reason] += 1


class Sink(Protocol):
    """Where records go."""

    tally: Tally

    async def send(self, record: Simulated, record_time_ms: int) -> None:
        """Take a record; it may be counted later."""

    async def flush(self) -> None:
        """Return when everything taken has arrived and is counted."""


class KafkaSink:
    """The topic of responses. Keys go where the Java client would put them; without a key, anywhere.

    As a context manager, around the producer's: in the end all that has arrived is counted.
    """

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self.tally = Tally()
        self.sent = 0
        """Records that were handed to the producer."""
        self._producer = producer
        self._topic = topic
        self._under_way = UnderWay[Simulated](self.tally.add)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._under_way.__exit__(*error)

    async def send(self, record: Simulated, record_time_ms: int) -> None:
        """Raises KafkaError when Kafka refused an earlier one."""
        sent = await self._producer.send(self._topic, record.value, record.key, timestamp_ms=record_time_ms)
        self.sent += 1
        self._under_way.add(sent, record)
        await self._under_way.acknowledged(down_to=MAX_UNACKNOWLEDGED)

    async def flush(self) -> None:
        """Raises KafkaError when Kafka refused one."""
        await self._under_way.acknowledged()


class LinesSink:
    """One value a line (NDJSON, but for the broken ones). A null value has no line."""

    def __init__(self, stream: BinaryIO) -> None:
        self.tally = Tally()
        self._stream = stream

    async def send(self, record: Simulated, record_time_ms: int) -> None:  # noqa: ARG002 - a line has no record time
        """Write the line."""
        if record.value is None:
            self.tally.left_out += 1
            return
        self._stream.write(record.value + b"\n")
        self.tally.add(record)

    async def flush(self) -> None:
        """Hand everything to the operating system."""
        self._stream.flush()


DueTime = Callable[[int, Simulated], float]
"""Number of a record in its stream, from 0, and the record → seconds after the start at which it is due."""


def at_rate(per_second: float) -> DueTime:
    """Evenly, so many a second."""
    return lambda number, _: number / per_second


def at_speed(speed: float, start_us: int) -> DueTime:
    """At the simulated times, which pass `speed` times as fast as ours and begin at `start_us`."""
    return lambda _, record: (record.record_time_ms * 1_000 - start_us) / 1_000_000 / speed


async def feed(
    records: Iterable[Simulated],
    sink: Sink,
    stop: asyncio.Event,
    *,
    due: DueTime | None = None,
    record_time_now: bool = False,
    on_progress: Callable[[Tally], None] = lambda _: None,
) -> None:
    """Send the records when they are due, at once without `due`; ends with the records or when asked to stop.

    Everything taken has arrived when it returns. The record time is the simulated one, or with `record_time_now` ours.
    """
    started = time.monotonic()
    for number, record in enumerate(records):
        wait_s = 0.0 if due is None else due(number, record) - (time.monotonic() - started)
        if wait_s > SHORTEST_WAIT_S:
            on_progress(sink.tally)
            await stopped_within(stop, wait_s)
        elif number % RECORDS_BETWEEN_YIELDS == 0:
            on_progress(sink.tally)
            await asyncio.sleep(0)  # lets the sender and whatever watches work
        if stop.is_set():
            break
        time_ms = max(record.record_time_ms, time.time_ns() // 1_000_000) if record_time_now else record.record_time_ms
        await sink.send(record, time_ms)
    await sink.flush()
    on_progress(sink.tally)
