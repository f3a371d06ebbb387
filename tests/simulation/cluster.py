"""A Kafka cluster, as far as the engine can tell: logs, transactions with their markers, group offsets.

As in Kafka, the end of a transaction is decided in one place, by the coordinator, and shows elsewhere a moment later:
each partition's marker, and the offsets, are written one by one. Until then readers see nothing of it, not even what
others have written behind it (the last stable offset), and the producer can't begin its next transaction.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiokafka.errors import InvalidProducerEpoch, ProducerFenced
from aiokafka.structs import TopicPartition

from tests.simulation.loop import VirtualLoop

DELETE_RETENTION_MS = 24 * 3600 * 1000
MARKER_DELAY_MAX_S = 0.03

Row = tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]


class Transaction:
    """One transaction; a fresh one has touched nothing."""

    def __init__(self, transactional_id: str, epoch: int) -> None:
        self.transactional_id = transactional_id
        self.epoch = epoch
        self.committed: bool | None = None  # None: not decided
        self.partitions: list[TopicPartition] = []
        self.offsets: dict[tuple[str, TopicPartition], tuple[int, str]] = {}
        self.unmarked = 0
        self.rows: Counter[str] = Counter()  # by topic


class Entry(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int
    transaction: Transaction | None = None  # None: of no transaction
    control: bool = False

    @property
    def is_committed(self) -> bool:
        """Is it a record that readers of what is committed will see?"""
        return not self.control and (self.transaction is None or self.transaction.committed is True)


class Log:
    """One partition of one topic. Compaction leaves holes; `history` is what was ever written, for the checks."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.history: list[Entry] = []
        self.end = 0
        self.compacted = False
        self.open: dict[Transaction, int] = {}  # → first offset

    def append(self, entry: Entry) -> None:
        self.entries[self.end] = entry
        self.history.append(entry)
        self.end += 1

    @property
    def stable_end(self) -> int:
        """Readers of what is committed get no further."""
        return min(self.open.values(), default=self.end)

    def decided(self) -> list[tuple[int, Entry]]:
        """Everything ever committed, also what is not marked yet."""
        return [(offset, entry) for offset, entry in enumerate(self.history) if entry.is_committed]

    def compact(self, now_ms: int) -> None:
        """Keep the last committed record of each key, and nulls for a day; all below the last stable offset."""
        self.compacted = True
        end = self.stable_end
        kept = {entry.key: offset for offset, entry in self.entries.items() if offset < end and entry.is_committed}
        for offset in [offset for offset in self.entries if offset < end]:
            entry = self.entries[offset]
            old_null = entry.value is None and now_ms - entry.timestamp_ms > DELETE_RETENTION_MS
            if entry.control or kept.get(entry.key) != offset or old_null:
                del self.entries[offset]


class Coordinated:
    """What the transaction coordinator knows of one transactional id."""

    def __init__(self) -> None:
        self.epoch = -1
        self.current: Transaction | None = None


class Cluster:
    """Its methods are what requests do when they arrive. None for an answer: not now, ask again."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, now_ms: Callable[[], int]) -> None:
        self._loop = loop
        self._rng = rng
        self.now_ms = now_ms
        self.logs: dict[TopicPartition, Log] = {}
        self.offsets: dict[tuple[str, TopicPartition], tuple[int, str]] = {}
        self.producers: dict[str, Coordinated] = {}
        self.on_commit: Callable[[Transaction], None] = lambda _: None
        self.fenced = 0

    def log(self, at: TopicPartition) -> Log:
        if at not in self.logs:
            self.logs[at] = Log()
        return self.logs[at]

    # --- transactions -------------------------------------------------------------------------------------------------

    def init_producer(self, transactional_id: str) -> int | None:
        """Fence whoever has the id, end their transaction; returns the new epoch once it has ended."""
        known = self.producers.setdefault(transactional_id, Coordinated())
        if known.current is not None:
            if known.current.committed is None:
                known.epoch += 1
                self._decide(known, known.current, committed=False)
            return None
        known.epoch += 1
        return known.epoch

    def write(
        self, transactional_id: str, epoch: int, at: TopicPartition, rows: Sequence[Row], timeout_s: float
    ) -> int | None:
        """Append rows to a partition; returns the first one's offset."""
        transaction = self._ongoing(transactional_id, epoch, timeout_s)
        if transaction is None:
            return None
        log = self.log(at)
        if at not in transaction.partitions:
            transaction.partitions.append(at)
            log.open[transaction] = log.end
        transaction.rows[at.topic] += len(rows)
        now_ms = self.now_ms()
        first = log.end
        for row in rows:
            log.append(Entry(*row, now_ms, transaction))
        return first

    def write_offsets(
        self,
        transactional_id: str,
        epoch: int,
        group: str,
        offsets: dict[TopicPartition, tuple[int, str]],
        timeout_s: float,
    ) -> bool | None:
        transaction = self._ongoing(transactional_id, epoch, timeout_s)
        if transaction is None:
            return None
        transaction.offsets.update({(group, at): offset for at, offset in offsets.items()})
        return True

    def end(self, transactional_id: str, epoch: int) -> bool | None:
        """Commit. True: decided, and it will show."""
        known = self._known(transactional_id, epoch)
        transaction = known.current
        if transaction is None:  # nothing was written
            return True
        if transaction.committed is not None:
            return None
        self._decide(known, transaction, committed=True)
        return True

    def _known(self, transactional_id: str, epoch: int) -> Coordinated:
        known = self.producers[transactional_id]
        if epoch != known.epoch:
            self.fenced += 1
            raise self._rng.choice((ProducerFenced, InvalidProducerEpoch))
        return known

    def _ongoing(self, transactional_id: str, epoch: int, timeout_s: float) -> Transaction | None:
        known = self._known(transactional_id, epoch)
        if known.current is None:
            known.current = Transaction(transactional_id, epoch)
            self._loop.call_later(timeout_s, self._expire, known, known.current)
        return known.current if known.current.committed is None else None

    def _expire(self, known: Coordinated, transaction: Transaction) -> None:
        if known.current is transaction and transaction.committed is None:
            known.epoch += 1
            self._decide(known, transaction, committed=False)

    def _decide(self, known: Coordinated, transaction: Transaction, *, committed: bool) -> None:
        transaction.committed = committed
        if committed:
            self.on_commit(transaction)
        marks: list[Callable[[], None]] = [
            lambda at=at: self._mark(transaction, at)  # type: ignore[misc]
            for at in transaction.partitions
        ]
        if transaction.offsets:
            marks.append(lambda: self._materialise(transaction))
        transaction.unmarked = len(marks)
        for mark in marks:
            self._loop.call_later(self._rng.random() ** 2 * MARKER_DELAY_MAX_S, self._marked, known, transaction, mark)

    def _marked(self, known: Coordinated, transaction: Transaction, mark: Callable[[], None]) -> None:
        mark()
        transaction.unmarked -= 1
        if not transaction.unmarked:
            known.current = None

    def _mark(self, transaction: Transaction, at: TopicPartition) -> None:
        log = self.log(at)
        log.append(Entry(None, None, (), self.now_ms(), transaction, control=True))
        del log.open[transaction]

    def _materialise(self, transaction: Transaction) -> None:
        if transaction.committed:
            self.offsets.update(transaction.offsets)

    # --- after the end ------------------------------------------------------------------------------------------------

    @property
    def quiet(self) -> bool:
        """Is no transaction open or about to show?"""
        return all(known.current is None for known in self.producers.values())
