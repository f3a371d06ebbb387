"""Following the event topics, `read_committed`: what a CRM sees, in the order it is committed per customer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple

from aiokafka.structs import ConsumerRecord

from schemas.times import format_rfc3339
from schemas.topics import Topics
from streams.cli import kafka
from streams.cli.choices import EventType
from streams.settings import Settings


class Tail(NamedTuple):
    """Which events to show."""

    types: frozenset[EventType]
    from_beginning: bool
    follow: bool
    limit: int | None


class Shown(NamedTuple):
    """An event and where it is."""

    type: str
    id: str
    time: str
    """As the event says: when the answer was given."""
    record_time: str
    """When it was published, RFC 3339."""
    topic: str
    partition: int
    offset: int
    data: Any
    """An object, of every event that a worker wrote."""


async def tail(settings: Settings, wanted: Tail) -> AsyncIterator[Shown]:
    """Events as they are committed, those of one customer in their order.

    Raises:
        Failure: a topic does not exist, or Kafka cannot be reached.
    """
    topics = Topics(settings.topic_prefix)
    names = {
        EventType.PASSIVE_DETECTED: topics.passive_detected,
        EventType.SCORE_CHANGED: topics.score_changed,
        EventType.PASSIVE_WITHDRAWN: topics.passive_withdrawn,
        EventType.FOLLOW_UP_OVERDUE: topics.follow_up_overdue,
    }
    partitions = await kafka.partitions_of(settings, [names[each] for each in EventType if each in wanted.types])
    shown = 0
    async with kafka.connected(settings, kafka.consumer(settings)) as client:
        client.assign(partitions)
        starts, ends = await kafka.starts_and_ends(client, partitions)
        if wanted.from_beginning:
            async for records in kafka.read_between(client, starts, ends):
                for event in _in_time(records):
                    yield event
                    shown += 1
                    if shown == wanted.limit:
                        return
        if not wanted.follow:
            return
        for partition in partitions:
            client.seek(partition, ends[partition])
        while True:
            batches = await client.getmany(timeout_ms=kafka.POLL_MS)
            for event in _in_time(record for batch in batches.values() for record in batch):
                yield event
                shown += 1
                if shown == wanted.limit:
                    return


def _in_time(records: Iterable[ConsumerRecord]) -> list[Shown]:
    """By record time. Sorting is stable, and a partition's record times never go back: its order stays."""
    return [_shown(record) for record in sorted(records, key=lambda record: record.timestamp)]


def _shown(record: ConsumerRecord) -> Shown:
    return Shown(
        type=kafka.header(record, "ce_type") or "",
        id=kafka.header(record, "ce_id") or "",
        time=kafka.header(record, "ce_time") or "",
        record_time=format_rfc3339(record.timestamp * 1000),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        data=_data(record.value),
    )


def _data(value: bytes | None) -> Any:
    """The event's data; None for what another program wrote there that is no JSON."""
    try:
        return json.loads(value or b"null")
    except ValueError:
        return None
