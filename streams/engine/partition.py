"""The life of one owned partition: fence, restore, then decide and commit side by side until told to stop.

    open ──► process ──► pause ──► start (still ours after a rebalance) ──► process …
      ▲         │           └────► close  (someone else's now)
      └─────────┘ a transaction failed: let go of the producer, open again from what is committed

While one unit commits, the next is being decided: at most two units are in memory, and each is bounded. What is waiting
to be decided is bounded by `INBOX_RECORDS_MAX`, above which the partition is not fetched.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.engine.access import NotAuthorized, refusal_in
from streams.engine.changelog import Progress, restore
from streams.engine.config import EngineConfig
from streams.engine.decider import Decider
from streams.engine.housekeeping import HOUSEKEEPING_INTERVAL_S, Housekeeping
from streams.engine.inbox import Inbox
from streams.engine.observer import CountsListener, EngineObserver, PartitionStatus
from streams.engine.positions import Positions, check_end, check_not_back
from streams.engine.shared import Shared
from streams.engine.state_directory import partition_directory
from streams.engine.store import Checkpoint, Store
from streams.engine.transaction import Fenced, OffsetNote, TransactionFailed, Transactor
from streams.engine.unit import encoded_states

logger = logging.getLogger(__name__)

SLICE_RECORDS = 250
"""Records decided before other tasks get their turn (some milliseconds)."""
RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0
"""Pause before a partition is opened again after a failure; doubles up to the maximum."""
NOTHING_COMMITTED = OffsetNote()
ROWS_BETWEEN_YIELDS = 2_000


class Partition:
    """One owned partition of the responses topic. Commands: `start`, `pause`, `close`; `deliver` feeds it."""

    def __init__(
        self,
        config: EngineConfig,
        number: int,
        positions: Positions,
        observer: EngineObserver,
        listener: CountsListener,
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
        self._listener = listener
        self._shared = shared
        self._turn = shared.turn
        self._on_crash = on_crash
        topics = config.deciding.topics
        self._source = TopicPartition(topics.responses, number)
        self._journeys = TopicPartition(topics.journeys, number)
        self._counts = TopicPartition(topics.segment_counts, number)
        self._store: Store | None = None
        self._transactor: Transactor | None = None
        self._decider: Decider | None = None
        self._checkpoint = Checkpoint(0, 0, 0)
        self._committed = 0
        """Next input offset, as committed."""
        self._end = 0
        """End of the input as seen when opening; the consumer knows better once it has fetched."""
        self._inbox = Inbox()
        self._housekeeping = Housekeeping(number, config.counts_retention_us)
        self._last_record_time_ms = 0
        self._progress = Progress()
        self._wake = asyncio.Event()
        self._stopping = False
        self._life: asyncio.Task[None] | None = None
        self._commit: asyncio.Task[None] | None = None
        self._commit_began = 0.0

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
        self._inbox.clear()

    async def close(self) -> None:
        """Stop, and let go of everything."""
        await self.pause()
        await self._let_go()
        if self._store is not None:
            await self._housekeeping.stop(self._store)
            await asyncio.to_thread(self._store.close)
            self._store = None
        self._listener.partition_closed(self.number, self._checkpoint.counts_offset or None)
        self._observer.partition_gone(self.number)

    # --- the consumer's side ------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """May more be fetched?"""
        return self.ready.is_set() and self._inbox.has_room

    def deliver(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Take fetched records in; those before the position are dropped."""
        self._inbox.put(records)
        self._wake.set()

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
                logger.warning("partition %d: opening it again in %.1f s: %s", self.number, retry_s, error)
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
        if self._decider is not None:
            self._decider.ledger.close()
            self._decider = None
        self._inbox.clear()
        if transactor is not None:
            await transactor.close()

    async def _open(self) -> None:
        """Become the owner: fence, then restore to the end, then take the position (in that order, so that nothing of
        the previous owner's can come after what was read).
        """
        config = self._config
        if self._transactor is not None and self._decider is not None:
            committed, _ = await self._read_committed()
            if committed <= self._committed:  # nobody else had it in between (and our last commit may not show yet)
                await self._take_position()
                return
            await self._let_go()
        began = time.monotonic()
        self._transactor = Transactor(
            config.kafka, config.group_id, self._source, config.transaction_timeout_ms, config.probe
        )
        await self._transactor.start()
        if self._store is None:
            async with self._turn:  # some 10 ms
                self._store = Store(partition_directory(config.state_dir, self.number))
        await self._housekeeping.purged()  # a store that has to be rebuilt is closed first
        self._listener.partition_opening(self.number)
        self._progress = Progress()
        async with self._shared.restoring:
            await restore(config.kafka, self._store, self._journeys, self._counts, self._progress, self._turn)
        self._checkpoint = self._store.checkpoint or Checkpoint(0, 0, 0)
        committed, note = await self._read_committed()
        check_not_back(committed, self._committed)
        self._committed = committed
        if note is NOTHING_COMMITTED and next(self._store.scan(b"j"), None) is not None:
            logger.warning(
                "partition %d: the group has no committed offset, yet the changelogs hold state (of another group, or "
                "its offsets have expired): reading from the beginning, what is remembered stays remembered",
                self.number,
            )
        self._decider = Decider(config.deciding, self.number, self._store, note.stream_time_ms, self._shared.ledgers)
        await self._know_counts(self._decider, self._store)
        await self._housekeeping.drop_old_days(self._decider)
        logger.info(
            "partition %d: owned, at offset %d, %d changelog records restored in %.1f s",
            self.number,
            self._committed,
            self._progress.records,
            time.monotonic() - began,
        )
        await self._take_position()

    async def _read_committed(self) -> tuple[int, OffsetNote]:
        """Return the group's committed offset (the beginning, without one) and what was noted with it."""
        known = await self._positions.committed(self._source)
        self._end = known.end
        if known.offset is None:
            return known.beginning, NOTHING_COMMITTED
        check_end(self._config.group_id, self._source, known.offset, known.end)
        if (lost := known.beginning - known.offset) > 0:
            logger.error(
                "partition %d: %d responses were deleted by retention before they were processed", self.number, lost
            )
        return max(known.offset, known.beginning), OffsetNote.decode(known.metadata)

    @property
    def committed(self) -> int:
        """Next input offset, as this worker knows it to be committed; 0 before the first opening."""
        return self._committed

    async def _take_position(self) -> None:
        await self._positions.move_to(self.number, self._committed)
        self.token = object()
        self._inbox.begin_at(self._committed)
        self._listener.partition_ready(self.number)
        self.ready.set()

    async def _know_counts(self, decider: Decider, store: Store) -> None:
        rows: list[tuple[bytes, bytes | None]] = []

        async def hand_over() -> None:
            decider.ledger.know(key for key, _ in rows)
            self._listener.partition_rows(self.number, list(rows))
            rows.clear()
            await asyncio.sleep(0)

        for key, value in store.scan(b"c"):
            rows.append((key[1:], value))
            if len(rows) >= ROWS_BETWEEN_YIELDS:
                await hand_over()
        await hand_over()

    # --- processing ---------------------------------------------------------------------------------------------------

    async def _process(self) -> None:
        """Decide and commit until told to stop; what is decided by then is committed."""
        assert self._decider is not None
        assert self._store is not None
        decider = self._decider
        while not self._stopping:
            self._wake.clear()
            if self._inbox and not decider.unit.full:
                async with self._turn:
                    decider.decide(self._inbox.take(SLICE_RECORDS))
            if decider.committing is None:
                await self._housekeeping.keep(decider, self._store)
            self._commit_when_due(decider)
            if self._commit is not None and self._commit.done():
                await self._finish_commit()
            if self._inbox and not decider.unit.full:
                await asyncio.sleep(0)  # also where the lock is not contended
            else:
                await self._wait(decider)
        await self._finish_commit()
        if not decider.unit.empty:
            self._begin_commit(decider)
            await self._finish_commit()

    async def _wait(self, decider: Decider) -> None:
        """Wait for records, for the commit under way, or until the next one is due."""
        if self._commit is not None:
            timeout_s = None
        elif decider.unit.empty:
            timeout_s = HOUSEKEEPING_INTERVAL_S
        else:
            timeout_s = max(self._commit_began + self._config.commit_interval_ms / 1000 - time.monotonic(), 0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), timeout_s)

    def _commit_when_due(self, decider: Decider) -> None:
        if self._commit is None and not decider.unit.empty:
            waited_s = time.monotonic() - self._commit_began
            if decider.unit.full or waited_s * 1000 >= self._config.commit_interval_ms:
                self._begin_commit(decider)

    def _begin_commit(self, decider: Decider) -> None:
        self._commit_began = time.monotonic()
        self._commit = asyncio.create_task(self._commit_unit(decider), name=f"commit-{self.number}")
        self._commit.add_done_callback(lambda _: self._wake.set())

    async def _finish_commit(self) -> None:
        commit = self._commit
        if commit is not None:
            await asyncio.wait([commit])
            self._commit = None
            commit.result()

    async def _commit_unit(self, decider: Decider) -> None:
        """Commit a unit in one transaction, and only then write it to the store."""
        assert self._transactor is not None
        assert self._store is not None
        began = time.monotonic()
        self._config.probe("before_transaction")
        async with self._turn:
            unit = decider.close_unit()
        states = await encoded_states(unit)
        counts = list(unit.counts.items())
        ends = await self._transactor.commit(
            {self._journeys.topic: states, self._counts.topic: counts},
            unit.produced,
            unit.next_offset,
            OffsetNote(unit.stream_time_ms),
        )
        committed_at_ms = int(time.time() * 1000)
        checkpoint = Checkpoint(
            ends[self._journeys.topic] or self._checkpoint.journeys_offset,
            ends[self._counts.topic] or self._checkpoint.counts_offset,
            committed_at_ms,
        )
        rows: list[tuple[bytes, bytes | None]] = [(b"j" + key, value) for key, value in states]
        rows += [(b"c" + key, value) for key, value in counts]
        rows += unit.index_entries.items()
        async with self._turn:
            self._store.write(rows, checkpoint)
        self._checkpoint = checkpoint
        self._config.probe("after_store")
        decider.unit_committed()
        if unit.next_offset is not None:
            self._committed = unit.next_offset
        report = unit.report
        if report.record_times_ms:
            self._last_record_time_ms = report.record_times_ms[-1]
        report.committed_at_ms = committed_at_ms
        report.commit_s = time.monotonic() - began
        self._listener.partition_rows(self.number, counts)
        self._observer.unit_committed(report)

    # --- status -------------------------------------------------------------------------------------------------------

    def status(self) -> PartitionStatus:
        """Return what ops teams see of it."""
        end = max(self._positions.end_offset(self.number) or 0, self._end)
        lag = max(end - self._committed, 0)
        return PartitionStatus(
            partition=self.number,
            ready=self.ready.is_set(),
            lag_records=lag,
            lag_seconds=self._lag_seconds() if lag else 0.0,
            restored_records=self._progress.passed,
            restore_total=self._progress.total,
            state_bytes=self._store.size_bytes if self._store is not None else 0,
        )

    def _lag_seconds(self) -> float:
        """Age of the oldest record that is not committed, by its record time; of the last committed one while the
        oldest has not been fetched.
        """
        oldest_ms = self._last_record_time_ms
        decider = self._decider
        for unit in (decider.committing, decider.unit) if decider is not None else ():
            if unit is not None and unit.report.record_times_ms:
                oldest_ms = unit.report.record_times_ms[0]
                break
        else:
            oldest_ms = self._inbox.oldest_record_time_ms or oldest_ms
        return max(time.time() - oldest_ms / 1000, 0.0) if oldest_ms else 0.0
