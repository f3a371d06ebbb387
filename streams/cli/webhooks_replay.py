"""Sending the dead letters of an endpoint again, each once.

The place of a replay is kept as that of `nps webhooks run` is: the group's committed offset, and the note beside it
(streams/webhooks/progress.py). Whatever ends a replay early, what it has brought to an end is not sent again. Only when
it is killed, or Kafka takes no commit, are the last ones: at least once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from schemas.topics import Topics
from schemas.webhooks import ENDPOINT_HEADER, Envelope, NoEvent, envelope
from streams.cli import kafka
from streams.cli.console import Failure, say
from streams.cli.stopping import sigterm_interrupts
from streams.settings import Settings
from streams.webhooks.config import Endpoint
from streams.webhooks.dead_letters import DeadLetters
from streams.webhooks.progress import Commit, Progress, resume
from streams.webhooks.reading import COMMIT_INTERVAL_S
from streams.webhooks.sending import Outcome, Sender, Verdict

ROUND_RECORDS: Final = 500
"""Taken at a time: those of a round that are still open fit into a note of progress, whichever they are."""
PASSES: Final = frozenset({"http_429", "connection"})
"""What is no sign that an endpoint does not answer."""
WAITS_S: Final = (0.2, 1.0, 2.0, 4.0)
"""Before an event is tried again for that, unless the endpoint asks for more (`Retry-After`) …"""
WAIT_MAX_S: Final = 60.0
"""… up to this. After the last one the replay stops."""
LAST_COMMIT_S: Final = 15.0
"""How long the last commit may take: aiokafka tries for ever, and the person waits."""


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
    sigterm_interrupts()
    topic = Topics(settings.topic_prefix).webhook_dead_letter
    partitions = await kafka.partitions_of(settings, [topic])
    group_id = f"{settings.group_id}-webhooks-{endpoint.name}.replay"
    concurrency = endpoint.concurrency or settings.webhooks_concurrency
    dead_letters = DeadLetters(settings.kafka(), topic)
    async with (
        kafka.connected(settings, kafka.consumer(settings, group_id)) as client,
        kafka.connected(settings, dead_letters),
        Sender(endpoint, settings.webhooks_timeout_s, concurrency) as sender,
    ):
        client.assign(partitions)
        beginnings, ends = await kafka.starts_and_ends(client, partitions)
        place = await _Place.of_group(client, beginnings, ends)
        round_ = _Round(endpoint, sender, dead_letters, asyncio.Semaphore(concurrency), place)
        try:
            async for records in kafka.read_between(client, place.starts(), ends, ROUND_RECORDS):
                own = [record for record in records if kafka.header(record, ENDPOINT_HEADER) == endpoint.name]
                due = place.begin(records, own)
                round_.result.found += len(due)
                if not dry_run:
                    await round_.send(due)
                if round_.result.stopped:
                    break
        finally:  # also where somebody breaks it off
            if not dry_run:
                await place.commit_at_last()
    return round_.result


class _Place:
    """How far the replay is in each partition, and the group that keeps it."""

    def __init__(self, client: AIOKafkaConsumer, progress: Mapping[TopicPartition, Progress]) -> None:
        self._client = client
        self._progress = progress

    @classmethod
    async def of_group(
        cls, client: AIOKafkaConsumer, beginnings: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> _Place:
        """Where the last replay ended; what retention has deleted since is passed over."""
        committed = await client._coordinator.fetch_committed_offsets(list(beginnings))
        progress = {}
        for tp, beginning in beginnings.items():
            at = Commit(beginning, "")
            if (found := committed.get(tp)) is not None and 0 <= found.offset <= ends[tp]:  # else it was made anew
                at = Commit(found.offset, found.metadata or "")
            progress[tp], problem = resume(at, ends[tp])
            progress[tp].passed(beginning)
            if problem:
                say(f"{tp.topic}-{tp.partition}: {problem}: what follows may be sent again")
        return cls(client, progress)

    def starts(self) -> dict[TopicPartition, int]:
        """Where to read on: at what is not done yet."""
        return {tp: progress.commit().offset for tp, progress in self._progress.items()}

    def begin(self, records: list[ConsumerRecord], own: list[ConsumerRecord]) -> list[ConsumerRecord]:
        """Take note of what was read; return those of the endpoint that were not done before."""
        due = [record for record in own if not self._of(record).is_done(record.offset)]
        for record in due:
            self._of(record).begin(record.offset)
        for record in records:
            self._of(record).passed(record.offset + 1)
        return due

    def done(self, record: ConsumerRecord) -> None:
        """Delivered, or kept as a new dead letter."""
        self._of(record).done(record.offset)

    async def commit(self) -> None:
        """Have the group keep it."""
        commits = {tp: progress.commit() for tp, progress in self._progress.items()}
        await self._client.commit({tp: (commit.offset, commit.note) for tp, commit in commits.items()})

    async def commit_now_and_then(self) -> None:
        """Until cancelled, so that little is sent again after a kill. What keeps Kafka from it the last commit says."""
        while True:
            await asyncio.sleep(COMMIT_INTERVAL_S)
            with suppress(KafkaError):
                await self.commit()

    async def commit_at_last(self) -> None:
        """Raises Failure where it takes too long."""
        try:
            async with asyncio.timeout(LAST_COMMIT_S):
                await self.commit()
        except TimeoutError:
            raise Failure(
                f"the place of the replay could not be kept within {LAST_COMMIT_S:g} s: "
                "what was sent last will be sent again"
            ) from None

    def _of(self, record: ConsumerRecord) -> Progress:
        return self._progress[TopicPartition(record.topic, record.partition)]


class _Round:
    """Sends batches: within a customer one after the other, the customers side by side."""

    def __init__(
        self, endpoint: Endpoint, sender: Sender, dead_letters: DeadLetters, slots: asyncio.Semaphore, place: _Place
    ) -> None:
        self._endpoint = endpoint
        self._sender = sender
        self._dead_letters = dead_letters
        self._slots = slots
        self._place = place
        self.result = Replay()

    async def send(self, records: list[ConsumerRecord]) -> None:
        customers: dict[bytes | None, list[ConsumerRecord]] = defaultdict(list)
        for record in records:
            customers[record.key].append(record)
        committing = asyncio.create_task(self._place.commit_now_and_then())
        try:
            async with asyncio.TaskGroup() as group:
                for each in customers.values():
                    group.create_task(self._send_in_order(each))
        finally:
            committing.cancel()

    async def _send_in_order(self, records: list[ConsumerRecord]) -> None:
        for record in records:
            async with self._slots:
                if self.result.stopped:  # while this waited for its turn
                    return
                if await self._send_one(record):
                    self._place.done(record)

    async def _send_one(self, record: ConsumerRecord) -> bool:
        """Return whether that was its end: it was not where the endpoint does not answer."""
        try:
            event = envelope(record.headers, record.value)
        except NoEvent:  # it is none today either: it stays where it is
            self.result.refused += 1
            return True
        outcome = await self._send_patiently(event)
        if outcome.verdict is Verdict.DELIVERED:
            self.result.delivered += 1
        elif outcome.verdict is Verdict.REFUSED:
            await self._dead_letters.keep(record, self._endpoint.name, outcome.cause, outcome.message)
            self.result.refused += 1
        else:
            self.result.stopped = outcome.message
            return False
        return True

    async def _send_patiently(self, event: Envelope) -> Outcome:
        """Send an event; again where the endpoint only asks for patience, or a kept connection had died."""
        for wait_s in WAITS_S:
            outcome = await self._sender.send(event)
            if outcome.cause not in PASSES or self.result.stopped:
                return outcome
            await asyncio.sleep(min(max(wait_s, outcome.retry_after_s or 0.0), WAIT_MAX_S))
        return await self._sender.send(event)
