"""Reads the counts of partitions that other workers own, from the changelog, into the scoreboard.

One consumer without a group is assigned every partition; those that this worker owns are paused. A partition that is
lost is set to where the engine's rows ended and resumed; one that is gained is paused. So a change of hands moves one
partition and disturbs no other.

How current a partition is, is measured: every second the end of each partition is asked for, and once the position has
passed that end, everything that was committed at that moment is known. A partition is current as long as that moment
is not older than `STALE_AFTER_S`: a broker that does not answer makes the scores incomplete, and nobody has to notice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from mode import Service

from streams.engine.changelog_records import count_rows
from streams.engine.clients import check_alive, has_leader, make_patient, stop_consumer
from streams.engine.formats import Unreadable
from streams.scoreboard.board import Scoreboard, UnreadableCounts

logger = logging.getLogger(__name__)

STALE_AFTER_S: Final = 15.0
"""Scores are complete while nothing older than this is missing."""
PROBE_INTERVAL_S: Final = 1.0
PROBE_TIMEOUT_S: Final = 10.0
RECORDS_PER_POLL: Final = 1_000
"""About 10 ms of decoding between two chances for others to run."""
POLL_TIMEOUT_MS: Final = 200
FETCH_BYTES: Final = 4 << 20
"""Bounds what is fetched ahead, of all partitions together and of one."""
RETRY_S: Final = 1.0
LOG_INTERVAL_S: Final = 5.0


class _Followed:
    """A partition that another worker owns."""

    def __init__(self, next_offset: int | None) -> None:
        self.next_offset = next_offset
        """Of the next record to give; None: the beginning of the changelog, wherever that is."""
        self.moved = True
        """The consumer has to be set to `next_offset` first."""
        self.end: tuple[int, float] | None = None
        """An end that the position has yet to reach, and when it was asked for (monotonic)."""
        self.current_at_s = float("-inf")
        """Everything committed until then was given (monotonic)."""

    def reached(self) -> bool:
        """Note whether the position has reached the end asked for; true the first time that it has."""
        if self.moved or self.end is None or self.next_offset is None or self.next_offset < self.end[0]:
            return False
        first = self.current_at_s == float("-inf")
        self.current_at_s = self.end[1]
        self.end = None
        return first


class CountsReader(Service):  # type: ignore[misc]
    """Feeds a scoreboard, to which it has to be attached. Implements `Follower`."""

    mundane_level = "debug"

    def __init__(
        self, board: Scoreboard, kafka: Mapping[str, Any], topic: str, partitions: int, **options: Any
    ) -> None:
        """`kafka` is what every client of aiokafka is given: servers, security."""
        super().__init__(**options)
        self._board = board
        self._kafka = dict(kafka)
        self._topics = [TopicPartition(topic, number) for number in range(partitions)]
        self._followed: dict[int, _Followed] = {}
        self._logged_at_s = float("-inf")

    # From the board

    def follow(self, partition: int, next_offset: int | None) -> None:
        """Read the partition from this offset on; None: from the beginning."""
        self._followed[partition] = _Followed(next_offset)

    def leave(self, partition: int) -> None:
        """Read the partition no more."""
        self._followed.pop(partition, None)

    def is_current(self, partition: int) -> bool:
        """Have all rows been given that were committed until `STALE_AFTER_S` ago?"""
        followed = self._followed.get(partition)
        return followed is not None and time.monotonic() - followed.current_at_s < STALE_AFTER_S

    # The work

    @Service.task  # type: ignore[untyped-decorator]
    async def _run(self) -> None:
        while not self.should_stop:
            try:
                await self._read()
            except (KafkaError, OSError) as error:
                self._log_failure(error)
                await self.sleep(RETRY_S)

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            **self._kafka,
            # Without it a seek to the beginning races with the default reset to the end, and nothing is read.
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            enable_auto_commit=False,
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=FETCH_BYTES // 4,
            retry_backoff_ms=int(RETRY_S * 1000),
        )
        make_patient(consumer._client)
        try:
            await consumer.start()
            consumer.assign(self._topics)
            for followed in self._followed.values():
                followed.moved = True
                followed.end = None
            probe_at_s = time.monotonic()
            while not self.should_stop:
                await self._move(consumer)
                if time.monotonic() >= probe_at_s:
                    await self._probe(consumer)
                    probe_at_s = time.monotonic() + PROBE_INTERVAL_S
                check_alive(consumer)
                self._give(await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=RECORDS_PER_POLL))
                await self._settle(consumer)
                await asyncio.sleep(0)  # while there is something fetched, nothing else here waits
        finally:
            await stop_consumer(consumer)

    async def _move(self, consumer: AIOKafkaConsumer) -> None:
        """Set the consumer to what is followed now: pause, seek, resume."""
        moved = [at for at in self._topics if at.partition in self._followed and self._followed[at.partition].moved]
        unknown = [at for at in moved if self._followed[at.partition].next_offset is None and has_leader(consumer, at)]
        beginnings = await consumer.beginning_offsets(unknown) if unknown else {}
        # From here on nothing is awaited: what is followed stays as it is.
        consumer.pause(*[at for at in self._topics if at.partition not in self._followed])
        for at in moved:
            followed = self._followed.get(at.partition)
            if followed is None:
                continue
            if followed.next_offset is None:
                if at not in beginnings:
                    continue
                followed.next_offset = beginnings[at]
            consumer.seek(at, followed.next_offset)
            consumer.resume(at)
            followed.moved = False

    def _give(self, fetched: Mapping[TopicPartition, list[Any]]) -> None:
        for at, records in fetched.items():
            followed = self._followed.get(at.partition)
            if followed is None or followed.moved:
                continue
            try:
                rows = count_rows(at, records, self._board.layout.format)
            except Unreadable as error:
                raise UnreadableCounts(str(error)) from error
            self._board.followed_rows(at.partition, rows)

    async def _settle(self, consumer: AIOKafkaConsumer) -> None:
        """Take over the positions: the last record may be followed by markers of transactions, which are no records."""
        for at in self._topics:
            followed = self._followed.get(at.partition)
            if followed is None or followed.moved:
                continue
            position = await consumer.position(at)
            if followed is not self._followed.get(at.partition):
                continue
            followed.next_offset = position
            if followed.reached():
                self._board.followed_to_end(at.partition)

    async def _probe(self, consumer: AIOKafkaConsumer) -> None:
        """Ask for the ends of those partitions that have reached the last one asked for."""
        asked = {
            at: self._followed[at.partition]
            for at in self._topics
            if at.partition in self._followed and self._followed[at.partition].end is None and has_leader(consumer, at)
        }
        if not asked:
            return
        asked_at_s = time.monotonic()
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            # The last stable offsets, since the consumer reads what is committed.
            ends = await consumer.end_offsets(list(asked))
        for at, followed in asked.items():
            followed.end = (ends[at], asked_at_s)

    def _log_failure(self, error: BaseException) -> None:
        now_s = time.monotonic()
        if now_s - self._logged_at_s >= LOG_INTERVAL_S:
            self._logged_at_s = now_s
            why = str(error) or type(error).__name__
            logger.warning("The counts of other workers' partitions cannot be read, trying again: %s", why)
