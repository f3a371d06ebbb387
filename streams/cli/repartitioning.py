"""Copying the inputs to the topics of another prefix, with other partitions: nothing lost, nothing twice.

Records keep key, value, headers and record time, so that a worker of the other prefix decides them as they were decided
before. Responses and follow-ups are copied in the order of their record times: then a customer's stay in their order,
and no partition of the copy sees a time long past beside one of now, which would make it forget anonymous responses too
early.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import murmur2

from schemas.topics import Topics
from streams.cli import kafka
from streams.cli.console import Failure
from streams.cli.sending import UnderWay
from streams.engine.records import Record, read_as_bytes
from streams.settings import Settings

UNIT_RECORDS: Final = 5_000
"""Records of a transaction."""
WAITING_RECORDS: Final = 5_000
"""Of a partition, read and waiting for older ones of the others; above it is not read further."""
TRANSACTION_TIMEOUT_MS: Final = 60_000
ABORTS_WITHIN_S: Final = 5.0


@dataclass
class _Source:
    """A partition that is copied."""

    tp: TopicPartition
    end: int
    """What is there now: not before it is reached does a partition without records have nothing older."""
    waiting: deque[Record] = field(default_factory=deque)
    position: int = 0

    @property
    def silent(self) -> bool:
        """Nothing waits, but something older than all that waits elsewhere may still come."""
        return not self.waiting and self.position < self.end

    @property
    def copied(self) -> int:
        """Offset of the first record that is not handed over."""
        return self.waiting[0].offset if self.waiting else self.position


class Merge:
    """Records of several partitions in the order of their record times, each partition's own order kept."""

    def __init__(self, sources: dict[TopicPartition, _Source]) -> None:
        self._sources = sources

    def take(self, most: int) -> Iterator[Record]:
        """Yield what may go, the oldest first; ends where a partition might still bring something older."""
        if any(source.silent for source in self._sources.values()):
            return
        heads = [(source.waiting[0].timestamp, tp) for tp, source in self._sources.items() if source.waiting]
        heapq.heapify(heads)
        for _ in range(most):
            if not heads:
                return
            _, tp = heads[0]
            source = self._sources[tp]
            yield source.waiting.popleft()
            if source.waiting:
                heapq.heapreplace(heads, (source.waiting[0].timestamp, tp))
            elif source.silent:
                return
            else:
                heapq.heappop(heads)


async def copy(
    settings: Settings,
    from_prefix: str,
    follow: bool,
    stop: asyncio.Event,
    on_progress: Callable[[int, int], None],
) -> int:
    """Copy responses and follow-ups from the other prefix to that of the settings; returns how many of both.

    Ends with what is there now, or, with `follow`, when asked to. Where a copy ended, however it ended, the next one
    begins: the group `<group>-repartition` keeps its place, in the transactions that hold the copies. `on_progress` is
    told how many were copied and how many are still there.

    Raises:
        Failure: a topic does not exist, both prefixes are the same, or others have written to the copy's topics before.
    """
    read_as_bytes()
    if from_prefix == settings.topic_prefix:
        raise Failure(f"--from-prefix is that of NPS_TOPIC_PREFIX, {from_prefix}: name two different ones")
    target_of = dict(zip(Topics(from_prefix).inputs, Topics(settings.topic_prefix).inputs, strict=True))
    partitions = await kafka.partitions_of(settings, target_of)
    targets = await kafka.partitions_of(settings, target_of.values())
    counts = Counter(tp.topic for tp in targets)
    group_id = f"{settings.group_id}-repartition"
    copied = 0
    async with (
        kafka.connected(settings, kafka.consumer(settings, group_id)) as consumer,
        kafka.connected(settings, _producer(settings, f"{group_id}-{from_prefix}")) as producer,
    ):
        if not await _committed(consumer, partitions):
            await _refuse_used(settings, targets)
        consumer.assign(partitions)
        sources = await _placed(consumer, partitions)
        merge = Merge(sources)
        while not stop.is_set():
            await _read(consumer, sources)
            unit = list(merge.take(UNIT_RECORDS))
            if unit:
                async with _transaction(producer):
                    under_way = UnderWay[None]()
                    for record in unit:
                        target = target_of[record.topic]
                        sent = await _send(producer, target, _partition(record, counts[target]), record)
                        under_way.add(sent, None)
                    await under_way.acknowledged()  # aiokafka commits, whatever became of what was sent
                    places = {tp: source.copied for tp, source in sources.items()}
                    await producer.send_offsets_to_transaction(places, group_id)
                copied += len(unit)
            ends = await consumer.end_offsets(partitions)
            left = sum(max(0, end - sources[tp].copied) for tp, end in ends.items())
            on_progress(copied, left)
            if follow:
                for tp, end in ends.items():
                    sources[tp].end = end
            elif all(source.copied >= source.end for source in sources.values()):
                break
    return copied


@asynccontextmanager
async def _transaction(producer: AIOKafkaProducer) -> AsyncIterator[None]:
    """As aiokafka's own, whose aborting has no limit. What is not aborted is so when the next copy begins."""
    await producer.begin_transaction()
    try:
        yield
        await producer.commit_transaction()
    except BaseException:
        with suppress(Exception):
            async with asyncio.timeout(ABORTS_WITHIN_S):
                await producer.abort_transaction()
        raise


def _producer(settings: Settings, transactional_id: str) -> AIOKafkaProducer:
    """One copy at a time: a second one fences the first."""
    return AIOKafkaProducer(
        client_id=kafka.CLIENT_ID,
        transactional_id=transactional_id,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        linger_ms=kafka.LINGER_MS,
        max_batch_size=kafka.BATCH_BYTES,
        request_timeout_ms=kafka.REQUEST_TIMEOUT_MS,
        **settings.kafka(),
        **kafka.AS_IT_WAS,
    )


async def _send(producer: AIOKafkaProducer, topic: str, partition: int, record: Record) -> asyncio.Future[object]:
    """Behind what was sent there before; the future is for Kafka's acknowledgement."""
    key, value, headers = record.key, record.value, list(record.headers)
    if key is not None or value is not None:
        sent = await producer.send(topic, value, key, partition, record.timestamp, headers)
    else:  # it will be a dead letter; Kafka takes it, and aiokafka only as a batch
        batch = producer.create_batch()
        batch.append(timestamp=record.timestamp, key=key, value=value, headers=headers)
        sent = await producer.send_batch(batch, topic, partition=partition)
    return cast("asyncio.Future[object]", sent)


def _partition(record: Record, partitions: int) -> int:
    """The Java client's partition; what has no key, and so will be a dead letter, goes by the partition it was on."""
    if record.key is None:
        return int(record.partition) % partitions
    return int(murmur2(record.key) & 0x7FFFFFFF) % partitions


async def _refuse_used(settings: Settings, targets: list[TopicPartition]) -> None:
    """Raise Failure when others have published there: their records would come before older ones."""
    async with kafka.connected(settings, kafka.consumer(settings)) as consumer:
        consumer.assign(targets)
        async for _ in kafka.read_between(consumer, *await kafka.starts_and_ends(consumer, targets)):
            raise Failure(
                f"topics of NPS_TOPIC_PREFIX, {settings.topic_prefix}, hold records that no copy has brought: "
                "choose a prefix whose topics are empty"
            )


async def _committed(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Where the last copy ended, of the partitions that it has begun."""
    found = {}
    for tp in partitions:
        offset = await kafka.with_coordinator(lambda tp=tp: consumer.committed(tp))  # type: ignore[misc]
        if offset is not None:
            found[tp] = offset
    return found


async def _placed(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> dict[TopicPartition, _Source]:
    """Each partition from where the last copy ended."""
    beginnings, ends = await kafka.starts_and_ends(consumer, partitions)
    committed = await _committed(consumer, partitions)
    sources = {}
    for tp in partitions:
        source = _Source(tp, ends[tp], position=max(beginnings[tp], committed.get(tp, 0)))
        consumer.seek(tp, source.position)
        sources[tp] = source
    return sources


async def _read(consumer: AIOKafkaConsumer, sources: dict[TopicPartition, _Source]) -> None:
    """Take in what has arrived, for a moment; of partitions that are ahead of the others nothing more."""
    wanted = [tp for tp, source in sources.items() if len(source.waiting) < WAITING_RECORDS]
    if not wanted:
        return
    may_go = any(source.waiting for source in sources.values()) and not any(
        source.silent for source in sources.values()
    )
    timeout_ms = 0 if may_go else kafka.POLL_MS
    fetched = await consumer.getmany(*wanted, timeout_ms=timeout_ms, max_records=UNIT_RECORDS)
    for tp, records in fetched.items():
        sources[tp].waiting += records
    for tp in wanted:  # past the marks of transactions too, which are no records
        sources[tp].position = await consumer.position(tp)
