"""Reading dead letters, and publishing them again, each once.

The place of a replay is kept in Kafka, as the committed offsets of a consumer group: per partition, the offset is
where the reason that is furthest behind continues (so ordinary lag tools show what is left), and the commit's metadata
says, as JSON, how far the reasons are that are ahead of it. Offsets are committed after Kafka has acknowledged what was
published: at least once, and a second time is a `duplicate` to the workers.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata

from schemas.dead_letters import (
    CLASS_NAME_HEADER,
    MESSAGE_HEADER,
    OFFSET_HEADER,
    PARTITION_HEADER,
    REASON_HEADER,
    TOPIC_HEADER,
)
from schemas.times import format_rfc3339
from schemas.topics import Topics
from streams.cli import kafka
from streams.cli.choices import DeadLetterReason
from streams.cli.console import Failure
from streams.cli.sending import UnderWay
from streams.settings import Settings

ERROR_HEADERS = frozenset(
    {REASON_HEADER, TOPIC_HEADER, PARTITION_HEADER, OFFSET_HEADER, CLASS_NAME_HEADER, MESSAGE_HEADER}
)
UNKNOWN = "unknown"
"""The reason of a dead letter that another program wrote without saying one."""
REPLAYED_REASONS = (*(reason for reason in DeadLetterReason if reason is not DeadLetterReason.TOO_LARGE), UNKNOWN)
"""What is too large stays too large: it is never replayed. Nor is what has no key, under whatever reason."""


class DeadLetter(NamedTuple):
    """Why and from where; its content stays where it is."""

    partition: int
    offset: int
    time_ms: int
    reason: str
    message: str
    source_topic: str
    source_partition: str
    source_offset: str

    @property
    def time(self) -> str:
        """When it became a dead letter, RFC 3339."""
        return format_rfc3339(self.time_ms * 1000)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        row: dict[str, Any] = self._asdict()
        del row["time_ms"]
        for name in ("source_partition", "source_offset"):
            row[name] = int(row[name]) if row[name].isdecimal() else None
        return {"time": self.time} | row


def _reason(record: ConsumerRecord) -> str:
    reason = kafka.header(record, REASON_HEADER) or UNKNOWN
    return reason if reason in tuple(DeadLetterReason) else UNKNOWN


def _dead_letter(record: ConsumerRecord) -> DeadLetter:
    def text(name: str) -> str:
        return kafka.header(record, name) or "?"

    return DeadLetter(
        partition=record.partition,
        offset=record.offset,
        time_ms=record.timestamp,
        reason=_reason(record),
        message=text(MESSAGE_HEADER),
        source_topic=text(TOPIC_HEADER),
        source_partition=text(PARTITION_HEADER),
        source_offset=text(OFFSET_HEADER),
    )


async def newest(
    settings: Settings, reason: DeadLetterReason | None, limit: int, *, follow_ups: bool = False
) -> tuple[list[DeadLetter], int]:
    """The newest dead letters of responses (or of follow-ups), oldest first, and how many there are in all."""
    _, letters = _topics(settings, follow_ups=follow_ups)
    partitions = await kafka.partitions_of(settings, [letters])
    kept: dict[int, deque[DeadLetter]] = {tp.partition: deque(maxlen=limit) for tp in partitions}
    total = 0
    async with kafka.connected(settings, kafka.consumer(settings)) as client:
        client.assign(partitions)
        async for records in kafka.read_between(client, *await kafka.starts_and_ends(client, partitions)):
            for record in records:
                if reason is None or _reason(record) == reason:
                    total += 1
                    kept[record.partition].append(_dead_letter(record))
    in_time = sorted((letter for part in kept.values() for letter in part), key=lambda letter: letter.time_ms)
    return in_time[-limit:], total


@dataclass
class Place:
    """How far a partition was replayed: for each reason, the first offset that was not."""

    next_offset: dict[str, int]

    @classmethod
    def of(cls, committed: OffsetAndMetadata | None, beginning: int) -> Place:
        """Read what the group committed. What retention has taken away since is behind everybody."""
        if committed is None or committed.offset < 0:
            return cls(dict.fromkeys(REPLAYED_REASONS, beginning))
        ahead = json.loads(committed.metadata) if committed.metadata else {}
        return cls({reason: max(beginning, ahead.get(reason, committed.offset)) for reason in REPLAYED_REASONS})

    def commit(self) -> tuple[int, str]:
        """Offset and metadata for the group."""
        lowest = min(self.next_offset.values())
        return lowest, json.dumps({reason: at for reason, at in self.next_offset.items() if at > lowest})


async def replay(
    settings: Settings,
    reason: DeadLetterReason | None,
    dry_run: bool,
    on_progress: Callable[[int, int], None],
    *,
    follow_ups: bool = False,
) -> Counter[str]:
    """Publish dead letters of responses (or of follow-ups) again that were not before, up to the newest there is now;
    how many, by reason.

    `on_progress` is told how many offsets were read, and of how many. A dry run publishes and commits nothing.

    Raises:
        Failure: a topic does not exist, or Kafka cannot be reached.
    """
    topic, letters = _topics(settings, follow_ups=follow_ups)
    partitions = await kafka.partitions_of(settings, [letters])
    await kafka.partitions_of(settings, [topic])  # it exists: producing must not create it
    wanted = frozenset(REPLAYED_REASONS if reason is None else {str(reason)})
    group_id = f"{settings.group_id}-dead-letter-replay"
    replayed: Counter[str] = Counter()
    async with (
        kafka.connected(settings, kafka.consumer(settings, group_id)) as client,
        kafka.connected(settings, kafka.producer(settings, **kafka.AS_IT_WAS)) as producer,
    ):
        client.assign(partitions)
        beginnings, ends = await kafka.starts_and_ends(client, partitions)
        places = await _places(settings, group_id, beginnings)
        starts = {tp: min(places[tp].next_offset[each] for each in wanted) for tp in partitions}
        total = sum(max(0, ends[tp] - starts[tp]) for tp in partitions)
        read = 0
        async for records in kafka.read_between(client, starts, ends):
            chosen = [record for record in records if _is_due(record, places, wanted)]
            replayed.update(map(_reason, chosen))
            if not dry_run:
                await _publish(producer, topic, chosen)
                reached = {TopicPartition(each.topic, each.partition): each.offset + 1 for each in records}
                await _advance(client, places, wanted, reached)
            read += len(records)
            on_progress(min(read, total), total)
        if not dry_run:
            await _advance(client, places, wanted, ends)
    return replayed


def _topics(settings: Settings, *, follow_ups: bool) -> tuple[str, str]:
    """An input, and where what is refused of it goes."""
    topics = Topics(settings.topic_prefix)
    return list(zip(topics.inputs, topics.dead_letters, strict=True))[follow_ups]


async def _places(
    settings: Settings, group_id: str, beginnings: dict[TopicPartition, int]
) -> dict[TopicPartition, Place]:
    async with kafka.connected(settings, kafka.admin(settings)) as admin:
        try:
            committed = await kafka.with_coordinator(
                lambda: admin.list_consumer_group_offsets(group_id, partitions=list(beginnings))
            )
        except GroupAuthorizationFailedError as error:  # aiokafka's says so in a sentence of its own
            raise GroupAuthorizationFailedError(group_id) from error
    return {tp: Place.of(committed.get(tp), beginning) for tp, beginning in beginnings.items()}


def _is_due(record: ConsumerRecord, places: dict[TopicPartition, Place], wanted: frozenset[str]) -> bool:
    reason = _reason(record)
    place = places[TopicPartition(record.topic, record.partition)]
    return record.key is not None and reason in wanted and record.offset >= place.next_offset[reason]


async def _publish(producer: AIOKafkaProducer, topic: str, records: list[ConsumerRecord]) -> None:
    """Publish and wait for the acknowledgements. The error headers are those of the last refusal, not the record's."""
    under_way = UnderWay[None]()
    for record in records:
        headers = [(name, value) for name, value in record.headers if name not in ERROR_HEADERS]
        under_way.add(await producer.send(topic, record.value, record.key, headers=headers), None)
    await under_way.acknowledged()


async def _advance(
    client: AIOKafkaConsumer,
    places: dict[TopicPartition, Place],
    wanted: frozenset[str],
    reached: dict[TopicPartition, int],
) -> None:
    """Move the wanted reasons' places forward, and commit."""
    for tp, offset in reached.items():
        for reason in wanted:
            places[tp].next_offset[reason] = max(places[tp].next_offset[reason], offset)
    if not reached:
        return
    try:
        async with asyncio.timeout(kafka.IDLE_LIMIT_S):  # aiokafka would try for ever
            await client.commit({tp: places[tp].commit() for tp in reached})
    except TimeoutError:
        raise Failure(
            f"Kafka did not keep the place for {kafka.IDLE_LIMIT_S:g} s: what was published last, some hundreds at"
            " most, the next replay publishes once more"
        ) from None
