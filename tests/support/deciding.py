"""One partition decided without Kafka or a clock: units go to a store and to lists that stand for the topics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from aiokafka.structs import ConsumerRecord

from streams.engine.decider import Decider, DecidingConfig
from streams.engine.inbox import Slice
from streams.engine.ledger import LedgerMemory
from streams.engine.sizes import size_bytes
from streams.engine.store import Checkpoint, Store
from streams.engine.unit import Unit
from tests.support.oracle_reading import Record


class DecidedPartition:
    """One partition's store and topics."""

    def __init__(self, number: int, config: DecidingConfig, store: Store) -> None:
        self.number = number
        self.config = config
        self.store = store
        self.written: dict[str, list[Record]] = defaultdict(list)
        self.position = 0
        self.follow_up_position = 0
        self.committed = (0, 0)  # next offset, stream time
        self.committed_follow_ups = 0
        self.restart()

    def restart(self) -> None:
        """Begin again from what is committed."""
        self.position = self.committed[0]
        self.follow_up_position = self.committed_follow_ups
        self.committing: Unit | None = None
        self.decider = Decider(self.config, self.number, self.store, self.committed[1], LedgerMemory())
        self.decider.ledger.know(key[1:] for key, _ in self.store.scan(b"c"))
        self.decider.cases.know(key[1:] for key, _ in self.store.scan(b"k"))

    def decide(self, log: Sequence[Record], count: int) -> None:
        records = [
            consumed(record, self.config.topics.responses) for record in log[self.position : self.position + count]
        ]
        size = sum(size_bytes(record.key, record.value, record.headers) for record in records)
        self.decider.decide(Slice(records, size))
        self.position += len(records)

    def follow_up(self, log: Sequence[Record], count: int) -> None:
        some = log[self.follow_up_position : self.follow_up_position + count]
        records = [consumed(record, self.config.topics.follow_ups) for record in some]
        self.decider.decide_follow_ups(Slice(records, 0))
        self.follow_up_position += len(records)

    def begin_commit(self) -> None:
        self.committing = self.decider.close_unit()

    def end_commit(self) -> None:
        unit, self.committing = self.committing, None
        assert unit is not None
        topics = self.config.topics
        states = list(unit.states.items())
        for topic, rows in (
            (topics.journeys, states),
            (topics.segment_counts, list(unit.counts.items())),
            (topics.case_counts, list(unit.case_counts.items())),
        ):
            for key, value in rows:
                self._append(topic, key, value, ())
        for produced in unit.produced:
            self._append(produced.topic, produced.key, produced.value, produced.headers)
        rows = [(b"j" + key, value) for key, value in states] + [
            (b"c" + key, value) for key, value in unit.counts.items()
        ]
        rows += [(b"k" + key, value) for key, value in unit.case_counts.items()]
        self.store.write([*rows, *unit.index_entries.items()], Checkpoint(0, 0, 0))
        if unit.next_offset is not None:
            self.committed = (unit.next_offset, unit.stream_time_ms)
        if unit.next_follow_up is not None:
            self.committed_follow_ups = unit.next_follow_up
        self.decider.unit_committed()

    def _append(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
    ) -> None:
        log = self.written[topic]
        log.append(Record(self.number, len(log), key, value, 0, tuple(headers)))


def consumed(record: Record, topic: str) -> ConsumerRecord[bytes, bytes]:
    """A record as the engine's consumer gives it."""
    return ConsumerRecord(
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp_ms,
        timestamp_type=0,
        key=record.key,
        value=record.value,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
        headers=record.headers,
    )
