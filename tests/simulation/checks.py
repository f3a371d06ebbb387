"""What must hold, at every commit, after every crash, and when all is done."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from aiokafka.structs import TopicPartition

from streams.engine.anonymous import index_key, indexed_key, is_anonymous
from streams.engine.formats import REMEMBERED
from streams.engine.store import Checkpoint
from streams.engine.transaction import OffsetNote
from tests.simulation.cases import NOW_MS, PARTITIONS
from tests.simulation.cluster import Transaction
from tests.simulation.worker import Worker
from tests.support.comparing import assert_all_topics
from tests.support.oracle_reading import Record

if TYPE_CHECKING:
    from tests.simulation.world import World


class Checks:
    """Of one world. Each raises AssertionError, or notes it where nobody would hear."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._position = dict.fromkeys(range(PARTITIONS), 0)
        self._said: dict[int, Counter[str]] = {number: Counter() for number in range(PARTITIONS)}

    # --- at every commit ----------------------------------------------------------------------------------------------

    def committed(self, transaction: Transaction) -> None:
        """What is visible is what the records up to the committed offset give: nothing more, nothing less, no half."""
        try:
            self._committed(transaction)
        except AssertionError as error:
            self._world.failures.append(error)

    def _committed(self, transaction: Transaction) -> None:
        topics = self._world.topics
        numbers = {at.partition for at in transaction.partitions} | {at.partition for _, at in transaction.offsets}
        assert len(numbers) == 1, f"one transaction over partitions {numbers}"
        number = numbers.pop()
        said = self._said[number]
        said.update(transaction.rows)
        offset, metadata = transaction.offsets.get(
            (self._world.group.name, TopicPartition(topics.responses, number)), (None, "")
        )
        if offset is not None:
            assert offset > self._position[number], f"partition {number}: {offset} after {self._position[number]}"
            self._position[number] = offset
        expected = self._world.case.said[number][self._position[number]]
        where = f"partition {number} at offset {self._position[number]}"
        events = sum(said[topic] for topic in topics.events)
        assert events == expected.events, f"{where}: {events} events, not {expected.events}"
        letters = said[topics.dead_letter]
        assert letters == expected.dead_letters, f"{where}: {letters} dead letters, not {expected.dead_letters}"
        if offset is not None:
            noted = OffsetNote.decode(metadata).stream_time_ms
            assert noted == expected.stream_time_ms, f"{where}: stream time {noted}, not {expected.stream_time_ms}"

    # --- stores -------------------------------------------------------------------------------------------------------

    def stores(self, worker: Worker) -> None:
        """A store holds the committed changelogs up to its checkpoint: never less, never more."""
        for number in range(PARTITIONS):
            rows, checkpoint = self._world.disks.peek(worker.directory / f"partition-{number}")
            try:
                self._store(number, rows, checkpoint)
            except AssertionError as error:
                error.add_note(f"store of partition {number} of {worker.name}")
                self._world.failures.append(error)

    def _store(self, number: int, rows: dict[bytes, bytes], checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            assert not rows
            return
        journeys, later_journeys = self._changelog(self._world.topics.journeys, number, checkpoint.journeys_offset)
        counts, later_counts = self._changelog(self._world.topics.segment_counts, number, checkpoint.counts_offset)
        expected = {b"j" + key: value for key, value in journeys.items()}
        expected |= {b"c" + key: value for key, value in counts.items()}
        expected |= {
            index_key(REMEMBERED.decode(value).first_seen_ms, key): b""
            for key, value in journeys.items()
            if is_anonymous(key)
        }
        # Compaction takes what has a later value: a store in the middle of a restore may lack it, or have an older one.
        later = {b"j" + key for key in later_journeys} | {b"c" + key for key in later_counts}
        for held in (rows, expected):
            for key in [key for key in held if key in later or b"j" + indexed_key(key) in later]:
                del held[key]
        assert rows == expected, f"the store differs at {sorted(rows.items() ^ expected.items())[:3]}"

    def listener_knows(self, rows: dict[bytes, bytes], number: int, next_offset: int) -> None:
        """The scoreboard was told exactly the committed counts below an offset."""
        if rows != self._changelog(self._world.topics.segment_counts, number, next_offset)[0]:
            self._world.failures.append(AssertionError(f"partition {number}: the scoreboard was told something else"))

    def _changelog(self, topic: str, number: int, next_offset: int) -> tuple[dict[bytes, bytes], set[bytes]]:
        """The committed values below an offset, and the keys that have later ones where compaction was at work."""
        log = self._world.cluster.log(TopicPartition(topic, number))
        latest: dict[bytes, bytes] = {}
        later: set[bytes] = set()
        for offset, entry in log.decided():
            assert entry.key is not None
            if offset >= next_offset:
                later.add(entry.key)
            elif entry.value is None:
                latest.pop(entry.key, None)
            else:
                latest[entry.key] = entry.value
        return latest, later if log.compacted else set()

    # --- in the end ---------------------------------------------------------------------------------------------------

    def all_is_exact(self) -> None:
        """Outputs, changelogs and offsets equal the oracle's, record by record and field by field."""
        world = self._world
        for number, oracle in world.case.oracles.items():
            at = world.group.name, TopicPartition(world.topics.responses, number)
            offset, _ = world.cluster.offsets.get(at, (0, ""))
            assert offset == oracle.next_offset, f"partition {number}: committed {offset}, not {oracle.next_offset}"
        assert_all_topics(self._read, world.topics, world.case.oracles, NOW_MS * 1000, 400)

    def _read(self, topic: str) -> dict[int, list[Record]]:
        return {
            number: [
                Record(number, offset, entry.key, entry.value, entry.timestamp_ms, entry.headers)
                for offset, entry in self._world.cluster.log(TopicPartition(topic, number)).decided()
            ]
            for number in range(PARTITIONS)
        }
