"""Sending the dead letters of an endpoint again, each once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from schemas.topics import Topics
from schemas.webhooks import ENDPOINT_HEADER, NoEvent, envelope
from streams.cli import kafka
from streams.settings import Settings
from streams.webhooks.config import Endpoint
from streams.webhooks.dead_letters import DeadLetters
from streams.webhooks.sending import Sender, Verdict


@dataclass
class Replay:
    """What became of an endpoint's dead letters."""

    found: int = 0
    delivered: int = 0
    refused: int = 0
    """Kept as new dead letters."""
    stopped: str = ""
    """Why the replay ended before the newest; what is left stays."""


async def replay(settings: Settings, endpoint: Endpoint, dry_run: bool) -> Replay:
    """Send what is there now, in order per customer, and keep the place of what is done.

    Raises:
        Failure: the topic does not exist, or Kafka cannot be reached.
    """
    topic = Topics(settings.topic_prefix).webhook_dead_letter
    partitions = await kafka.partitions_of(settings, [topic])
    group_id = f"{settings.group_id}-webhooks-{endpoint.name}.replay"
    result = Replay()
    concurrency = endpoint.concurrency or settings.webhooks_concurrency
    dead_letters = DeadLetters(settings.kafka(), topic)
    async with (
        kafka.connected(settings, kafka.consumer(settings, group_id)) as client,
        kafka.connected(settings, dead_letters),
        Sender(endpoint, settings.webhooks_timeout_s, concurrency) as sender,
    ):
        client.assign(partitions)
        starts, ends = await kafka.starts_and_ends(client, partitions)
        for tp in partitions:
            starts[tp] = max(starts[tp], await client.committed(tp) or 0)
        round_ = _Round(endpoint, sender, dead_letters, asyncio.Semaphore(concurrency), result)
        async for records in kafka.read_between(client, starts, ends):
            own = [record for record in records if kafka.header(record, ENDPOINT_HEADER) == endpoint.name]
            result.found += len(own)
            if dry_run:
                continue
            await round_.send(own)
            if result.stopped:
                break
            await client.commit({TopicPartition(each.topic, each.partition): each.offset + 1 for each in records})
    return result


class _Round:
    """Sends batches: within a customer one after the other, the customers side by side."""

    def __init__(
        self, endpoint: Endpoint, sender: Sender, dead_letters: DeadLetters, slots: asyncio.Semaphore, result: Replay
    ) -> None:
        self._endpoint = endpoint
        self._sender = sender
        self._dead_letters = dead_letters
        self._slots = slots
        self._result = result

    async def send(self, records: list[ConsumerRecord]) -> None:
        customers: dict[bytes | None, list[ConsumerRecord]] = defaultdict(list)
        for record in records:
            customers[record.key].append(record)
        async with asyncio.TaskGroup() as group:
            for each in customers.values():
                group.create_task(self._send_in_order(each))

    async def _send_in_order(self, records: list[ConsumerRecord]) -> None:
        for record in records:
            if self._result.stopped:
                return
            try:
                event = envelope(record.headers, record.value)
            except NoEvent:  # it is none today either: it stays where it is
                self._result.refused += 1
                continue
            async with self._slots:
                outcome = await self._sender.send(event)
            if outcome.verdict is Verdict.DELIVERED:
                self._result.delivered += 1
            elif outcome.verdict is Verdict.REFUSED:
                await self._dead_letters.keep(record, self._endpoint.name, outcome.cause, outcome.message)
                self._result.refused += 1
            else:
                self._result.stopped = outcome.message
