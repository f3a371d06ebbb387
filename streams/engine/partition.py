"""The life of one owned partition: fence, restore, then decide and commit side by side until told to stop.

    open ──► process ──► pause ──► start (still ours after a rebalance) ──► process …
      ▲         │           └────► close  (someone else's now)
      └─────────┘ a transaction failed: let go of the producer, open again from what is committed

While one unit commits, the next is being decided: at most two units are in memory, and each is bounded. What is waiting
to be decided is bounded by `INBOX_RECORDS_MAX`, above which the partition is not fetched.

Longer than most files here: opening, processing and letting go share all of this state, and apart none is simpler.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from aiokafka.errors import KafkaError

from streams.engine.access import NotAuthorized, refusal_in
from streams.engine.changelog import Progress, restore
from streams.engine.committing import Committing
from streams.engine.config import EngineConfig
from streams.engine.cut_off import CutOffs
from streams.engine.decider import Decider
from streams.engine.housekeeping import HOUSEKEEPING_INTERVAL_S, Housekeeping
from streams.engine.inbox import Inbox
from streams.engine.input_order import InputOrder
from streams.engine.lag import FollowUpsLag, age_s, oldest_follow_up_ms, oldest_response_ms
from streams.engine.observer import CountsListener, EngineObserver, PartitionStatus
from streams.engine.overdue import OVERDUE_INTERVAL_S, OverdueWatch
from streams.engine.pace import oldest_undecided_ms
from streams.engine.positions import CutOff, Next, Positions, check_not_back, next_offset, tell_of_deleted
from streams.engine.records import Record
from streams.engine.shared import Shared
from streams.engine.state_directory import partition_directory
from streams.engine.store import Checkpoint, Store
from streams.engine.transaction import Fenced, OffsetNote, TransactionFailed, Transactor

logger = logging.getLogger(__name__)

RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0
"""Pause before a partition is opened again after a failure; doubles up to the maximum."""
NOTHING_COMMITTED = OffsetNote()
HELD_LOOK_S = 0.5
"""Between two looks whether an input still has to wait for the other, where nothing of that comes."""


class Partition:
    """One owned partition of both inputs. Commands: `start`, `pause`, `close`; the two `deliver…` feed it."""

    def __init__(
        self,
        config: EngineConfig,
        number: int,
        positions: Positions,
        observer: EngineObserver,
        listeners: tuple[CountsListener, CountsListener],
        shared: Shared,
        on_crash: Callable[[BaseException], Awaitable[None]],
    ) -> None:
        self.number = number
        self.token = object()
        """Changes with every move of the position: batches fetched before are not taken."""
        self.ready = asyncio.Event()
        """Restored and processing."""
        self._config = config
        self._positions = positions
        self._observer = observer
        self._listener, self._case_listener = listeners
        self._shared = shared
        self._turn = shared.turn
        self._on_crash = on_crash
        self._store: Store | None = None
        self._transactor: Transactor | None = None
        self._decider: Decider | None = None
        known = self.known = Committing(config, number, observer, listeners, shared)
        """What is committed."""
        self._taken_ms = time.time_ns() // 1_000_000
        self._end = 0
        """End of the responses as seen when opening; the consumer knows better once it has fetched."""
        self._inbox = Inbox()
        self._follow_up_inbox = Inbox()
        self._order = InputOrder(number, self._inbox, self._follow_up_inbox, positions)
        self.follow_ups_lag = FollowUpsLag()
        self._cut_offs = CutOffs(known.follow_ups, self._follow_up_inbox, self._inbox, positions)
        self._overdue = OverdueWatch(known.responses, known.follow_ups, positions, config.now_us)
        self._housekeeping = Housekeeping(number, config.counts_retention_us)
        self._progress = Progress()
        self._wake = asyncio.Event()
        self._stopping = False
        self._life: asyncio.Task[None] | None = None
        self._commit: asyncio.Task[None] | None = None

    # --- commands -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open (or go on with) the partition and process it, in a task of its own."""
        self._stopping = False
        self._life = asyncio.create_task(self._live(), name=f"partition-{self.number}")

    async def pause(self) -> None:
        """Commit what is decided and stop processing; producer and store stay open."""
        opening = not self.ready.is_set() and not self._stopping
        self._stopping = True
        self._wake.set()
        self.ready.clear()
        life = self._life
        if life is None:
            return
        if opening:
            life.cancel()
        # The rebalance waits for us no longer than the transaction could take. A worker asked to stop in the middle of
        # one waits here for a second time: what comes next must not be done while the last unit is being committed.
        await asyncio.wait([life], timeout=self._config.transaction_timeout_ms / 1000)
        if not life.done():
            life.cancel()
            await asyncio.wait([life])
        if self._life is life:
            self._life = None
        self._clear_inboxes()

    async def close(self) -> None:
        """Stop, and let go of everything."""
        await self.pause()
        await self._let_go()
        if self._store is not None:
            await self._housekeeping.stop(self._store)
            await asyncio.to_thread(self._store.close)
            self._store = None
        self._listener.partition_closed(self.number, self.known.checkpoint.counts_offset or None)
        self._case_listener.partition_closed(self.number, self.known.checkpoint.cases_offset or None)
        self._observer.partition_gone(self.number)

    # --- the consumer's side ------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """May more be fetched?"""
        return self.ready.is_set() and self._inbox.has_room and self.known.responses not in self._cut_offs

    def deliver(self, records: Sequence[Record]) -> None:
        """Take fetched records in; those before the position are dropped."""
        self._inbox.put(records)
        self._wake.set()

    @property
    def has_room_for_follow_ups(self) -> bool:
        """May more of them be fetched?"""
        return self.ready.is_set() and self._follow_up_inbox.has_room and self.known.follow_ups not in self._cut_offs

    def deliver_follow_ups(self, records: Sequence[Record]) -> None:
        """Take fetched records of the other input in; those before the position are dropped."""
        self._follow_up_inbox.put(records)
        self._wake.set()

    def follow_ups_read_on(self) -> None:
        """Take note that they were read further, with or without records."""
        if self._inbox:  # which may have waited for that
            self._wake.set()

    def responses_cut_off(self, offset: int) -> None:
        """Take note that the topic does not go on at this offset, up to which they were fetched."""
        self._cut_offs.note(self.known.responses, offset)
        self._wake.set()

    def follow_ups_cut_off(self, offset: int) -> None:
        """Take note that the topic does not go on at this offset, up to which they were read."""
        self._cut_offs.note(self.known.follow_ups, offset)
        self._wake.set()

    def _clear_inboxes(self) -> None:
        oldest_ms = oldest_follow_up_ms(self._decider, self._follow_up_inbox)
        self.follow_ups_lag.set_back(oldest_ms, self._positions.follow_ups_read(self.number))
        self._positions.leave(self.number, self)
        self._inbox.clear()
        self._follow_up_inbox.clear()

    # --- life ---------------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        retry_s, failed = RETRY_MIN_S, False
        while True:
            try:
                if failed:  # opening fences whoever holds the partition: first make sure that it is still ours to open
                    await self._positions.still_member()
                await self._open()
                retry_s = RETRY_MIN_S
                await self._process()
                return
            except (TransactionFailed, KafkaError, OSError) as error:
                failed = True
                await self._let_go()
                if isinstance(error, TransactionFailed):
                    self._observer.commit_failed(self.number, "fenced" if isinstance(error, Fenced) else "aborted")
                if self._stopping:
                    return
                if (refused := refusal_in(error)) is not None:  # and would be refused again
                    await self._on_crash(NotAuthorized(refused))
                    return
                logger.warning(
                    "partition %d: opening it again in %.1f s: %s",
                    self.number,
                    retry_s,
                    error,
                    extra={"partition": self.number},
                )
            except asyncio.CancelledError:
                await self._let_go()
                raise
            except Exception as error:
                await self._let_go()
                await self._on_crash(error)
                return
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, RETRY_MAX_S)

    async def _let_go(self) -> None:
        """Drop what is not committed, and the producer."""
        self.ready.clear()
        if self._commit is not None:
            self._commit.cancel()
            with contextlib.suppress(BaseException):
                await self._commit
            self._commit = None
        transactor, self._transactor = self._transactor, None
        self._clear_inboxes()
        if self._decider is not None:
            self._decider.ledger.close()
            self._decider.cases.close()
            self._decider = None
        if transactor is not None:
            await transactor.close()

    async def _open(self) -> None:
        """Become the owner: fence, then restore to the end, then take the position (in that order, so that nothing of
        the previous owner's can come after what was read).
        """
        config = self._config
        if self._transactor is not None and self._decider is not None:
            committed, follow_ups, _ = await self._read_committed()
            # Nobody else had it in between (and our last commit may not show yet).
            if committed.offset <= self.known.offset and follow_ups.offset <= self.known.follow_ups_offset:
                await self._take_position()
                return
            await self._let_go()
        began = time.monotonic()
        self._transactor = Transactor(
            config.kafka,
            config.group_id,
            self.known.responses,
            config.transaction_timeout_ms,
            config.probe,
            config.compression_type,
        )
        await self._transactor.start()
        if self._store is None:
            async with self._turn:  # some 10 ms
                self._store = Store(partition_directory(config.state_dir, self.number))
        await self._housekeeping.purged()  # a store that has to be rebuilt is closed first
        for listener in (self._listener, self._case_listener):
            listener.partition_opening(self.number)
        self._progress = Progress()
        stands = await self._positions.committed(self.known.responses)  # for whoever looks at the lag meanwhile
        self._end = stands.end
        self.known.offset = max(self.known.offset, stands.offset or 0, stands.beginning)
        async with self._shared.restoring:
            await restore(config.kafka, self._store, *self.known.changelogs, self._progress, self._turn)
        self.known.checkpoint = self._store.checkpoint or Checkpoint(0, 0, 0)
        committed, follow_ups, note = await self._read_committed()
        check_not_back(committed.offset, self.known.offset)
        check_not_back(follow_ups.offset, self.known.follow_ups_offset)
        self.known.offset, self.known.follow_ups_offset = committed.offset, follow_ups.offset
        if note is NOTHING_COMMITTED and next(self._store.scan(b"j"), None) is not None:
            logger.warning(
                "partition %d: the group has no committed offset, yet the changelogs hold state (of another group, or "
                "its offsets have expired): reading from the beginning, what is remembered stays remembered",
                self.number,
                extra={"partition": self.number},
            )
        self._decider = Decider(config.deciding, self.number, self._store, note.stream_time_ms, self._shared.ledgers)
        self._decider.last_offset = max(committed.offset - 1, 0)
        tell_of_deleted(self.known.responses, committed.deleted)
        tell_of_deleted(self.known.follow_ups, follow_ups.deleted)
        self._decider.unit.pass_over(committed, follow_ups)
        await self.known.know_counts(self._decider, self._store)
        await self._housekeeping.drop_old_days(self._decider)
        took_s = time.monotonic() - began
        logger.info(
            "partition %d: owned, at offset %d, %d changelog records restored in %.1f s",
            self.number,
            committed.offset,
            self._progress.records,
            took_s,
            extra={
                "partition": self.number,
                "offset": committed.offset,
                "records": self._progress.records,
                "seconds": round(took_s, 3),
            },
        )
        await self._take_position()

    async def _read_committed(self) -> tuple[Next, Next, OffsetNote]:
        """Return where to go on in the responses and in the follow-ups, as the group has committed it (the beginning,
        where it has not), and what was noted with it.
        """
        known = await self._positions.committed(self.known.responses)
        self._end = known.end
        note = NOTHING_COMMITTED if known.offset is None else OffsetNote.decode(known.metadata)
        group_id = self._config.group_id
        cut_off = self._cut_offs.of(self.known.responses)
        responses = next_offset(group_id, self.known.responses, known, known.offset, cut_off)
        known = await self._positions.committed(self.known.follow_ups)
        self.follow_ups_lag.end_seen(known.end)
        offset = note.follow_ups_offset if known.offset is None else known.offset
        cut_off = self._cut_offs.of(self.known.follow_ups)
        return responses, next_offset(group_id, self.known.follow_ups, known, offset, cut_off), note

    async def _take_position(self) -> None:
        await self._positions.move_to(self.number, self.known.offset)
        self.token = object()
        self._inbox.begin_at(self.known.offset)
        self._follow_up_inbox.begin_at(self.known.follow_ups_offset)
        self._cut_offs.clear()
        self._positions.follow(self.number, self.known.follow_ups_offset, self)
        self._order.begin(self._end, self.follow_ups_lag.end)
        self._overdue.begin()
        for listener in (self._listener, self._case_listener):
            listener.partition_ready(self.number)
        self.ready.set()

    # --- processing ---------------------------------------------------------------------------------------------------

    async def _process(self) -> None:
        """Decide and commit until told to stop; what is decided by then is committed."""
        assert self._decider is not None
        assert self._store is not None
        decider = self._decider
        cut_off: CutOff | None = None
        while not self._stopping and (cut_off := self._cut_offs.decided()) is None:
            self._wake.clear()
            responses = follow_ups = None
            await self._order.look()
            if self._inbox and not decider.unit.full:
                async with self._turn:
                    if (responses := self._order.take_responses()) is not None:
                        decider.decide(responses)
                        self._shared.garbage.collect(len(responses.records))
            if self._follow_up_inbox and not decider.unit.full:
                async with self._turn:
                    if (follow_ups := self._order.take_follow_ups(decider.unit.stream_time_ms)) is not None:
                        decider.decide_follow_ups(follow_ups)
                        self._shared.garbage.collect(len(follow_ups.records))
            if await self._overdue.look(decider) and not decider.unit.full and not self._stopping:
                async with self._turn:
                    self._overdue.decide(decider, self._inbox, self._follow_up_inbox)
            if decider.committing is None:
                await self._housekeeping.keep(decider, self._store)
            self._commit_when_due(decider)
            if self._commit is not None and self._commit.done():
                await self._finish_commit()
            if responses is not None or follow_ups is not None:
                await asyncio.sleep(0)  # also where the lock is not contended
            else:
                await self._wait(decider)
        await self._finish_commit()
        if not decider.unit.empty:
            self._begin_commit(decider)
            await self._finish_commit()
        if cut_off is not None and not self._stopping:
            raise cut_off

    async def _wait(self, decider: Decider) -> None:
        """Wait for records, for the commit under way, or until the next one is due."""
        if self._commit is not None:
            timeout_s = None
        elif decider.unit.empty:
            timeout_s = min(HOUSEKEEPING_INTERVAL_S, OVERDUE_INTERVAL_S)
        else:
            timeout_s = max(self._commit_due_in_s(decider), 0)
        if not decider.unit.full and (self._inbox or self._follow_up_inbox):  # one input waits for the other
            timeout_s = HELD_LOOK_S if timeout_s is None else min(timeout_s, HELD_LOOK_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()

    def _commit_when_due(self, decider: Decider) -> None:
        if self._commit is not None or decider.unit.empty:
            return
        if decider.unit.full or self._commit_due_in_s(decider) <= 0:
            self._begin_commit(decider)

    def _commit_due_in_s(self, decider: Decider) -> float:
        return self.known.pace.due_in_s(oldest_undecided_ms(decider.unit, self._inbox, self._follow_up_inbox))

    def _begin_commit(self, decider: Decider) -> None:
        assert self._store is not None
        assert self._transactor is not None
        committing = self.known.commit(decider, self._store, self._transactor)
        self._commit = asyncio.create_task(committing, name=f"commit-{self.number}")
        self._commit.add_done_callback(lambda _: self._wake.set())

    async def _finish_commit(self) -> None:
        commit = self._commit
        if commit is not None:
            await asyncio.wait([commit])
            self._commit = None
            commit.result()

    # --- status -------------------------------------------------------------------------------------------------------

    def status(self) -> PartitionStatus:
        """Return what ops teams see of it."""
        end = max(self._positions.end_offset(self.number) or 0, self._end)
        oldest_ms = oldest_response_ms(self._decider, self._inbox)
        nothing_waits = self.ready.is_set() and oldest_ms is None and self._positions.read_to_end(self.number)
        lag = 0 if nothing_waits else max(end - self.known.offset, 0)
        follow_ups = self.follow_ups_lag.now(
            oldest_follow_up_ms(self._decider, self._follow_up_inbox),
            self._positions.follow_ups_read(self.number),
            self.known.follow_ups_offset,
        )
        return PartitionStatus(
            partition=self.number,
            ready=self.ready.is_set(),
            lag_records=lag,
            # Of the last committed one while the oldest has not been fetched; before there is one, since it is ours.
            lag_seconds=age_s(oldest_ms or self.known.last_record_time_ms or self._taken_ms) if lag else 0.0,
            restored_records=self._progress.passed,
            restore_total=self._progress.total,
            state_bytes=self._store.size_bytes if self._store is not None else 0,
            follow_ups_lag_records=follow_ups.records,
            follow_ups_lag_seconds=follow_ups.seconds,
        )
