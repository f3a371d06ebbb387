"""Reads the events for one endpoint, at that endpoint's pace, and commits behind what is brought to an end.

Each endpoint has a consumer and a group of its own: one that is slow or dead holds up nobody else, neither now nor
after a restart (docs/decisions/0150).

Somewhat longer than most files here: the group, reading, handing out and committing share what is known of each
partition, and a rebalance may come between any two of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import ConsumerRecord

from schemas.webhooks import NoEvent, envelope
from streams.engine.access import REFUSALS
from streams.engine.clients import NO_POLL_INTERVAL_MS, check_alive, has_leader, make_patient, stop_consumer
from streams.engine.header_names import read_any_header_names
from streams.webhooks.config import Endpoint
from streams.webhooks.delivery import Delivery, Event
from streams.webhooks.lanes import Lanes
from streams.webhooks.merging import Merge, Unheard
from streams.webhooks.metrics import EndpointMetrics, EndpointState
from streams.webhooks.progress import Commit, Progress, resume

logger = logging.getLogger(__name__)

COMMIT_INTERVAL_S: Final = 0.5
ENDS_INTERVAL_S: Final = 5.0
"""How often the ends of the topics are asked for, which nobody tells while an endpoint is too far behind to read on."""
POLL_TIMEOUT_MS: Final = 200
HELD_POLL_TIMEOUT_MS: Final = 20
"""The same while records are held until the broker has answered for their other topics: it may have none of these."""
FETCH_WAIT_MS: Final = 200
"""After which the broker answers without records."""
RECORDS_PER_POLL: Final = 500
HELD_AHEAD: Final = 100
"""Records of a topic's partition that are held in order to read several topics in one order."""
FETCH_MAX_BYTES: Final = 4 << 20
PARTITION_FETCH_BYTES: Final = 128 << 10
HAND_OVER_GRACE_S: Final = 3.0
"""When partitions go to another process: for requests under way, so that their events are not sent again."""
RETRY_S: Final = 1.0
ANSWERS_WITHIN_S: Final = 3.0
"""Whatever is asked of the broker beside reading: less than a session, and others wait meanwhile."""


class Reading(NamedTuple):
    """What every endpoint's reader is told."""

    kafka: Mapping[str, Any]
    group_prefix: str
    """What the endpoints' groups begin with; a hyphen and the endpoint's name follow."""
    topics: Sequence[str]
    session_timeout_ms: int
    pending_limit: int


class _Work(NamedTuple):
    event: Event
    progress: Progress


class Reader(ConsumerRebalanceListener):  # type: ignore[misc]
    """Of one endpoint."""

    def __init__(self, endpoint: Endpoint, delivery: Delivery, metrics: EndpointMetrics, reading: Reading) -> None:
        self._endpoint = endpoint
        self._delivery = delivery
        self._metrics = metrics
        self._reading = reading
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes: Lanes[_Work] = Lanes(self._deliver, self._fail)
        self._progress: dict[TopicPartition, Progress] = {}
        self._merges: dict[int, Merge] = {}
        self._committed: dict[TopicPartition, Commit] = {}
        self._commit_due_s = 0.0
        self._ends: dict[TopicPartition, int] = {}
        self._ends_due_s = 0.0
        self._heard_at_s = time.time()
        self._waiting: list[TopicPartition] = []
        """Ours, and not begun with: nobody leads them."""
        read_any_header_names()
        self._consumer = AIOKafkaConsumer(
            **reading.kafka,
            group_id=f"{reading.group_prefix}-{endpoint.name}",
            client_id=f"nps-webhooks-{endpoint.name}",
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",  # else it would go on elsewhere without a word
            # Gives a partition number of all topics to one member: they are merged.
            partition_assignment_strategy=(RangePartitionAssignor,),
            max_poll_interval_ms=NO_POLL_INTERVAL_MS,
            session_timeout_ms=reading.session_timeout_ms,
            heartbeat_interval_ms=max(reading.session_timeout_ms // 6, 1),
            rebalance_timeout_ms=max(2 * reading.session_timeout_ms, 30_000),
            fetch_max_wait_ms=FETCH_WAIT_MS,
            fetch_max_bytes=FETCH_MAX_BYTES,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
        )
        make_patient(self._consumer._client)
        self.joined = False
        """Whether the group has given us our share of the partitions."""

    @property
    def name(self) -> str:
        """The endpoint's."""
        return self._endpoint.name

    async def run(self) -> None:
        """Read and deliver until cancelled; `stop` comes after. Raises what cannot be helped by trying again."""
        self._consumer.subscribe(self._reading.topics, listener=self)
        await self._consumer.start()
        while True:
            if self._failure.done():
                self._failure.result()
            check_alive(self._consumer)
            try:
                await self._read()
                self._hand_out()
                if time.monotonic() >= self._commit_due_s:
                    await self._commit()
                if self._waiting:
                    await self._place(self._waiting)
                if time.monotonic() >= self._ends_due_s:
                    await self._look_at_ends()
            except REFUSALS:
                raise
            except OffsetOutOfRangeError as error:
                await self._begin_again(error.args[0])
            except NoOffsetForPartitionError:
                logger.debug("%s: read in the middle of a rebalance", self.name)  # `_place` tells where to go on
            except KafkaError as error:
                logger.warning("%s: Kafka cannot be read (%s): trying again", self._endpoint.name, error)
                self._join_again_without_heartbeat()
                await asyncio.sleep(RETRY_S)

    async def stop(self, grace_s: float) -> None:
        """Let what is under way end, commit, leave the group."""
        if not self._failure.cancel():
            self._failure.exception()  # it was looked at, or is of no matter now
        await self._let_go(grace_s)
        await stop_consumer(self._consumer)

    def state(self) -> EndpointState:
        """Return the endpoint as it is now."""
        return EndpointState(
            self._endpoint.name, self._lanes.pending, self._lag(), self._delivery.disabled, self._heard_at_s
        )

    def _join_again_without_heartbeat(self) -> None:
        """At an answer that it does not know, aiokafka's heartbeat ends, and no other begins before the group is joined
        anew. Until then every read fails with that answer.
        """
        coordinator = self._consumer._coordinator
        if coordinator._heartbeat_task is not None and coordinator._heartbeat_task.done():
            coordinator.request_rejoin()

    # From the group

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Give everything back: whoever gets it goes on behind what is committed here."""
        try:
            if revoked:
                await self._let_go(HAND_OVER_GRACE_S)
        except Exception as error:
            self._fail(error)

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Take our share."""
        try:
            await self._begin(sorted(assigned))
            self._delivery.open()
            self.joined = True
        except Exception as error:  # aiokafka would log it and go on
            self._fail(error)

    async def _begin(self, assigned: list[TopicPartition]) -> None:
        for tp in assigned:
            self._merges.setdefault(tp.partition, Merge(t.topic for t in assigned if t.partition == tp.partition))
        self._consumer.pause(*assigned)
        await self._place(assigned)

    async def _place(self, wanted: Sequence[TopicPartition]) -> None:
        """Begin with what has a leader, of which ends are to be had; the others wait for one."""
        placed = [tp for tp in wanted if has_leader(self._consumer, tp)]
        self._waiting = [tp for tp in wanted if tp not in placed]
        if self._waiting:
            self._consumer._client.force_metadata_update()
        if not placed:
            return
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                notes = await self._consumer._coordinator.fetch_committed_offsets(placed)
                beginnings = await self._consumer.beginning_offsets(placed)
                ends = await self._consumer.end_offsets(placed)
        except REFUSALS:
            raise
        except (KafkaError, TimeoutError) as error:
            logger.warning("%s: where to begin cannot be asked (%r): trying again", self._endpoint.name, error)
            self._waiting = list(wanted)
            return
        for tp in placed:
            found = notes.get(tp)
            if found is None or found.offset < 0:
                first = Commit(ends[tp] if self._endpoint.start == "now" else beginnings[tp], "")
            elif found.offset > ends[tp]:
                logger.error("%s: %s was made anew: reading it from its beginning", self._endpoint.name, tp.topic)
                first = Commit(beginnings[tp], "")
            else:
                first = self._committed[tp] = Commit(found.offset, found.metadata or "")
            self._progress[tp], problem = resume(first, ends[tp])
            if problem:
                logger.warning(
                    "%s: %s-%d: %s: what follows may be sent again", self.name, tp.topic, tp.partition, problem
                )
            self._consumer.seek(tp, first.offset)
            self._pass_over_deleted(tp, first.offset, beginnings[tp])
        self._consumer.resume(*placed)
        # Also where nothing was read yet: a new endpoint begins here, whatever happens before its first event.
        await self._commit()

    def _pass_over_deleted(self, tp: TopicPartition, offset: int, beginning: int) -> None:
        """Go on where the topic begins now, if that is behind this offset, and tell what nobody will be told of."""
        if beginning <= offset:
            return
        progress = self._progress[tp]
        if deleted := progress.left_before(beginning):
            logger.error(
                "%s: %s-%d: %d records were deleted by retention before they were delivered",
                self.name,
                tp.topic,
                tp.partition,
                deleted,
            )
            self._metrics.deleted(deleted)
        progress.passed(beginning)
        self._consumer.seek(tp, beginning)

    async def _begin_again(self, out_of_range: Mapping[TopicPartition, int]) -> None:
        """Of partitions that do not go on where they were read to: they were deleted up to there and further, or end
        before that. If nobody says where they begin, the next attempt to read comes here again.
        """
        placed = {tp: offset for tp, offset in out_of_range.items() if tp in self._progress and self._placed(tp)}
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                beginnings = await self._consumer.beginning_offsets(list(placed))
        except (KafkaError, TimeoutError) as error:
            logger.warning("%s: where to go on cannot be asked (%r): trying again", self.name, error)
            return
        for tp, offset in placed.items():
            if tp not in self._progress or not self._placed(tp):
                continue  # it was given back meanwhile
            if beginnings[tp] <= offset:
                logger.error("%s: %s was made anew: reading it from its beginning", self.name, tp.topic)
                self._merges[tp.partition].forget(tp.topic)
                self._progress[tp] = Progress(Commit(beginnings[tp], ""))
                self._consumer.seek(tp, beginnings[tp])
            else:
                self._pass_over_deleted(tp, offset, beginnings[tp])

    async def _look_at_ends(self) -> None:
        """For the lag. One partition without a leader would hold up the answer about all, and with it the endpoint."""
        led = [tp for tp in self._progress if has_leader(self._consumer, tp)]
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                self._ends |= await self._consumer.end_offsets(led) if led else {}
            if self.joined and (led or not (self._progress or self._waiting)):  # who has no share has nothing to ask
                self._heard_at_s = time.time()
        except TimeoutError:
            logger.debug("%s: nobody says where the topics end", self._endpoint.name)
        finally:
            self._ends_due_s = time.monotonic() + ENDS_INTERVAL_S

    async def _let_go(self, grace_s: float) -> None:
        await self._delivery.close(grace_s)
        try:
            async with asyncio.timeout(grace_s):
                await self._commit()
        except (KafkaError, TimeoutError) as error:
            logger.warning("%s: what was delivered last could not be committed: %r", self._endpoint.name, error)
        self._progress.clear()
        self._merges.clear()
        self._committed.clear()
        self._waiting = []
        self.joined = False
        await self._lanes.clear()

    # The work

    async def _read(self) -> None:
        """Read where there is room, waiting a little where there is nothing."""
        open_ = []
        if self._lanes.pending <= self._reading.pending_limit // 2 and not self._delivery.disabled:
            open_ = [
                tp
                for tp in self._progress
                if self._placed(tp) and self._merges[tp.partition].waiting(tp.topic) < HELD_AHEAD
            ]
        if not open_:
            self._lanes.changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_TIMEOUT_MS / 1000):
                    await self._lanes.changed.wait()
            return
        for tp, records in (await self._fetch(open_)).items():
            progress = self._progress.get(tp)
            if progress is None:  # it was given back meanwhile
                continue
            new = [record for record in records if not progress.is_done(record.offset)]
            for record in new:
                progress.begin(record.offset)
            self._merges[tp.partition].add(tp.topic, new, self._unheard(tp))

    async def _fetch(self, open_: Sequence[TopicPartition]) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """Where one partition fails, what aiokafka has taken of others is lost with the error: go back before it, so
        that it is read again and not committed as if it had been.
        """
        holds = any(merge.waiting(topic) for merge in self._merges.values() for topic in merge.topics)
        timeout_ms = HELD_POLL_TIMEOUT_MS if holds else POLL_TIMEOUT_MS
        before = [(tp, state, state.position) for tp in open_ if (state := self._placed(tp))]
        try:
            fetched: Mapping[TopicPartition, Sequence[ConsumerRecord]]
            fetched = await self._consumer.getmany(*open_, timeout_ms=timeout_ms, max_records=RECORDS_PER_POLL)
        except BaseException:
            for tp, state, position in before:
                if self._placed(tp) is state and state.position != position:  # else it was given back, or anew
                    self._consumer.seek(tp, position)
            raise
        return fetched

    def _hand_out(self) -> None:
        """Take one of each partition in turn, so that one with much to catch up with does not hold up the others."""
        ready = list(self._merges)
        while ready:
            for number in ready[:]:
                if self._lanes.pending >= self._reading.pending_limit:
                    return
                record = self._merges[number].take(partial(self._at_end, number))
                if record is None:
                    ready.remove(number)
                else:
                    self._hand_out_one(record, self._progress[TopicPartition(record.topic, number)])

    def _hand_out_one(self, record: ConsumerRecord, progress: Progress) -> None:
        try:
            found = envelope(record.headers, record.value)
        except NoEvent as error:
            event = Event(record, None, str(error))
        else:
            if not self._endpoint.filter.wants(found.type, record.value):
                progress.done(record.offset)
                return
            event = Event(record, found)
        self._lanes.put(record.key, _Work(event, progress))

    async def _deliver(self, work: _Work) -> None:
        await self._delivery.deliver(work.event)
        work.progress.done(work.event.record.offset)

    async def _commit(self) -> None:
        """Commit what has changed."""
        self._commit_due_s = time.monotonic() + COMMIT_INTERVAL_S
        due = {}
        for tp, progress in self._progress.items():
            progress.passed(self._position(tp))
            if (commit := progress.commit()) != self._committed.get(tp):
                due[tp] = commit
        if not due:
            return
        try:
            await self._consumer.commit({tp: (commit.offset, commit.note) for tp, commit in due.items()})
        except (CommitFailedError, IllegalStateError):
            return  # the group is about to give the partitions anew
        for tp, commit in due.items():
            if tp in self._progress:
                self._committed[tp] = commit

    # Of aiokafka's state, which its own methods tell only to those who can wait

    def _position(self, tp: TopicPartition) -> int:
        """The next offset to be given; 0 while that is not known."""
        state = self._placed(tp)
        return int(state.position) if state else 0

    def _placed(self, tp: TopicPartition) -> Any:
        """The state of a partition that is ours, None while its position is not known."""
        state = self._state(tp)
        return state if state is not None and state.has_valid_position else None

    def _unheard(self, came: TopicPartition) -> dict[str, object]:
        """Topics of the same partition number of which no answer came with this one's, or later; and their last."""
        answered = {
            topic: getattr(self._state(TopicPartition(topic, came.partition)), "timestamp", None)
            for topic in self._merges[came.partition].topics
        }
        now = answered[came.topic] or 0
        return {topic: when for topic, when in answered.items() if when is None or when < now}

    def _at_end(self, number: int, topic: str, unheard: Unheard) -> bool:
        """Up to the high watermark: behind the last stable offset may be what is about to be committed."""
        tp = TopicPartition(topic, number)
        state = self._state(tp)
        if state is None or state.highwater is None or (topic in unheard and unheard[topic] == state.timestamp):
            return False
        return self._position(tp) >= int(state.highwater)

    def _state(self, tp: TopicPartition) -> Any:
        subscription = self._consumer._subscription.subscription
        if subscription is None or subscription.assignment is None or tp not in subscription.assignment.tps:
            return None
        return subscription.assignment.state_value(tp)

    def _lag(self) -> int:
        return sum(max(self._ends.get(tp, 0) - progress.commit().offset, 0) for tp, progress in self._progress.items())

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)
