"""How a unit is committed: one transaction, and only then the store, the listeners, and what the partition knows."""

from __future__ import annotations

import asyncio
import time
from itertools import chain, islice

from aiokafka.structs import TopicPartition

from streams.engine.config import EngineConfig
from streams.engine.decider import Decider
from streams.engine.observer import CountsListener, EngineObserver
from streams.engine.pace import CommitPace
from streams.engine.shared import Shared
from streams.engine.store import Checkpoint, Store
from streams.engine.transaction import OffsetNote, Offsets, Transactor
from streams.engine.unit import Unit

ROWS_BETWEEN_YIELDS = 2_000
"""Stored rows taken note of before other tasks get their turn (1 to 2 ms)."""


class Committing:
    """What is committed of one partition."""

    def __init__(
        self,
        config: EngineConfig,
        number: int,
        observer: EngineObserver,
        listeners: tuple[CountsListener, CountsListener],
        shared: Shared,
    ) -> None:
        topics = config.deciding.topics
        self.responses = TopicPartition(topics.responses, number)
        self.follow_ups = TopicPartition(topics.follow_ups, number)
        self.changelogs = (
            TopicPartition(topics.journeys, number),
            TopicPartition(topics.segment_counts, number),
            TopicPartition(topics.case_counts, number),
        )
        self.offset = 0
        """Next response's offset, as this worker knows it to be committed; 0 before the first opening."""
        self.follow_ups_offset = 0
        """The same of follow-ups."""
        self.checkpoint = Checkpoint(0, 0, 0)
        """Of the store."""
        self.last_record_time_ms = 0
        """Of the last response that was committed."""
        self.pace = CommitPace(config.commit_interval_ms, shared.cpu)
        self._config = config
        self._number = number
        self._observer = observer
        self._listener, self._case_listener = listeners
        self._turn = shared.turn

    async def know_counts(self, decider: Decider, store: Store) -> None:
        """Tell the ledgers and the listeners what the store holds of counts."""
        for letter, ledger, listener in (
            (b"c", decider.ledger, self._listener),
            (b"k", decider.cases, self._case_listener),
        ):
            stored = store.scan(letter)
            while some := list(islice(stored, ROWS_BETWEEN_YIELDS)):
                rows: list[tuple[bytes, bytes | None]] = [(key[1:], value) for key, value in some]
                ledger.know(key for key, _ in rows)
                listener.partition_rows(self._number, rows)
                await asyncio.sleep(0)

    async def commit(self, decider: Decider, store: Store, transactor: Transactor) -> None:
        """Commit what is decided. Raises TransactionFailed; then nothing here has changed."""
        self.pace.began()
        began = time.monotonic()
        self._config.probe("before_transaction")
        async with self._turn:
            unit = decider.close_unit()
            offsets = self.offsets(unit)
        states, counts, cases = (list(each.items()) for each in (unit.states, unit.counts, unit.case_counts))
        rows_of = dict(zip((at.topic for at in self.changelogs), (states, counts, cases), strict=True))
        ends = await transactor.commit(rows_of, unit.produced, offsets)
        committed_at_ms = int(time.time() * 1000)
        checkpoint = self._checkpoint_after(ends, committed_at_ms)
        rows = chain(
            ((b"j" + key, value) for key, value in states),
            ((b"c" + key, value) for key, value in counts),
            ((b"k" + key, value) for key, value in cases),
            unit.index_entries.items(),
        )
        async with self._turn:
            store.write(rows, checkpoint)
        self.checkpoint = checkpoint
        self._config.probe("after_store")
        decider.unit_committed()
        if offsets:
            self.offset, self.follow_ups_offset = (offset for offset, _ in offsets.values())
        report = unit.report
        if report.record_times_ms:
            self.last_record_time_ms = report.record_times_ms[-1]
        report.committed_at_ms = committed_at_ms
        report.commit_s = time.monotonic() - began
        self._listener.partition_rows(self._number, counts)
        self._case_listener.partition_rows(self._number, cases)
        self._observer.unit_committed(report)

    def offsets(self, unit: Unit) -> Offsets:
        """Of both inputs, whichever was read: so that neither is forgotten, and each tells of the other."""
        if not unit.has_read and not unit.produced:
            return {}
        responses = self.offset if unit.next_offset is None else unit.next_offset
        follow_ups = self.follow_ups_offset if unit.next_follow_up is None else unit.next_follow_up
        note = OffsetNote(unit.stream_time_ms, follow_ups)
        return {self.responses: (responses, note.encode()), self.follow_ups: (follow_ups, "")}

    def _checkpoint_after(self, ends: dict[str, int | None], committed_at_ms: int) -> Checkpoint:
        """`ends`: by changelog topic, the offset after the last row that was written."""
        journeys, counts, cases = (ends[at.topic] for at in self.changelogs)
        before = self.checkpoint
        return Checkpoint(
            journeys or before.journeys_offset,
            counts or before.counts_offset,
            committed_at_ms,
            cases or before.cases_offset,
        )
