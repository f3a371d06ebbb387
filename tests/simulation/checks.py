"""What must hold, at every commit, after every crash, and when all is done."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from aiokafka.structs import TopicPartition

from streams.engine.anonymous import index_key, indexed_key, is_anonymous
from streams.engine.due import DUE_PREFIX, due_entry, due_key
from streams.engine.formats import JOURNEY, REMEMBERED
from streams.engine.overdue import ENDS_MAX_AGE_S
from streams.engine.store import Checkpoint
from streams.engine.transaction import OffsetNote
from tests.simulation.cases import NOW_MS, PARTITIONS
from tests.simulation.cluster import Transaction
from tests.simulation.recording import Overdue, Step
from tests.simulation.worker import Worker
from tests.support.comparing import assert_all_topics
from tests.support.oracle import PartitionOracle
from tests.support.oracle_reading import Record

if TYPE_CHECKING:
    from tests.simulation.world import World


class Checks:
    """Of one world. Each raises AssertionError, or notes it where nobody would hear."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._said: dict[int, Counter[str]] = {number: Counter() for number in range(PARTITIONS)}
        self.oracles = {number: PartitionOracle(number, world.case.config) for number in range(PARTITIONS)}
        """What each partition must have said by now: they take the steps of each unit that is committed."""

    # --- at every commit ----------------------------------------------------------------------------------------------

    def committed(self, transaction: Transaction) -> None:
        """What is visible is what the records up to the committed offsets give: nothing more, nothing less, no half."""
        try:
            self._committed(transaction)
        except AssertionError as error:
            self._world.failures.append(error)

    def _committed(self, transaction: Transaction) -> None:
        topics = self._world.topics
        numbers = {at.partition for at in transaction.partitions} | {at.partition for _, at in transaction.offsets}
        assert len(numbers) == 1, f"one transaction over partitions {numbers}"
        number = numbers.pop()
        said, oracle = self._said[number], self.oracles[number]
        said.update(transaction.rows)
        offsets = {at.topic: noted for (group, at), noted in transaction.offsets.items() if group == "nps"}
        assert offsets.keys() in (set(), set(topics.inputs)), "one input without the other"
        if offsets:
            offset, metadata = offsets[topics.responses]
            for step in self._world.recorder.order(metadata):
                self._take(oracle, step)
            assert offset == oracle.next_offset, f"partition {number}: committed {offset}, not {oracle.next_offset}"
            followed, _ = offsets[topics.follow_ups]
            assert followed == oracle.next_follow_up, f"partition {number}: {followed}, not {oracle.next_follow_up}"
            noted = OffsetNote.decode(metadata)
            assert noted == OffsetNote(oracle.stream_time_ms, followed)
        where = f"partition {number} at offset {oracle.next_offset}"
        events = sum(said[topic] for topic in topics.events)
        assert events == len(oracle.events), f"{where}: {events} events, not {len(oracle.events)}"
        letters = [said[topic] for topic in topics.dead_letters]
        expected = [len(oracle.dead_letters), len(oracle.follow_up_dead_letters)]
        assert letters == expected, f"{where}: {letters} dead letters, not {expected}"

    def _take(self, oracle: PartitionOracle, step: Step) -> None:
        """Let the oracle take a step, which must be the next one: no record is decided twice, none is left out."""
        case, number = self._world.case, oracle.partition
        if isinstance(step, Overdue):
            assert oracle.next_offset == len(case.logs[number]), "overdue, and there were responses to be read"
            came = sum(at_s <= step.at_s - ENDS_MAX_AGE_S for at_s in self._world.followed_up_at_s[number])
            assert oracle.next_follow_up >= came, "overdue, and there were follow-ups to be read"
            oracle.overdue(step.customer_id, step.survey_id, step.now_us)
            self._world.happened["overdue"] += 1
            return
        kind, offset = step
        if kind == "response":
            assert offset == oracle.next_offset
            oracle.process(case.logs[number][offset])
        else:
            assert offset == oracle.next_follow_up
            waiting, at_ms = case.logs[number][oracle.next_offset :], case.follow_ups[number][offset].timestamp_ms
            if waiting and at_ms > oracle.stream_time_ms:
                assert at_ms < waiting[0].timestamp_ms, "a follow-up, and an earlier response was to come first"
            self._world.happened[f"follow-up {oracle.process_follow_up(case.follow_ups[number][offset])}"] += 1

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
        cases, later_cases = self._changelog(self._world.topics.case_counts, number, checkpoint.cases_offset)
        expected = {b"j" + key: value for key, value in journeys.items()}
        expected |= {b"c" + key: value for key, value in counts.items()}
        expected |= {b"k" + key: value for key, value in cases.items()}
        expected |= {
            index_key(REMEMBERED.decode(value).first_seen_ms, key): b""
            for key, value in journeys.items()
            if is_anonymous(key)
        }
        expected |= {
            entry: b""
            for key, value in journeys.items()
            if not is_anonymous(key) and (entry := due_entry(JOURNEY.decode(value), key)) is not None
        }
        # Compaction takes what has a later value: a store in the middle of a restore may lack it, or have an older one.
        later = {b"j" + key for key in later_journeys} | {b"c" + key for key in later_counts}
        later |= {b"k" + key for key in later_cases}
        for held in (rows, expected):
            for key in [key for key in held if key in later or b"j" + _indexed(key) in later]:
                del held[key]
        assert rows == expected, f"the store differs at {sorted(rows.items() ^ expected.items())[:3]}"

    def listener_knows(self, topic: str, rows: dict[bytes, bytes], number: int, next_offset: int) -> None:
        """The scoreboard was told exactly the committed counts below an offset."""
        if rows != self._changelog(topic, number, next_offset)[0]:
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
        for number, oracle in self.oracles.items():
            at = world.group.name, TopicPartition(world.topics.responses, number)
            offset, _ = world.cluster.offsets.get(at, (0, ""))
            assert offset == oracle.next_offset, f"partition {number}: committed {offset}, not {oracle.next_offset}"
        assert_all_topics(self._read, world.topics, self.oracles, NOW_MS * 1000, 400)

    def _read(self, topic: str) -> dict[int, list[Record]]:
        return {
            number: [
                Record(number, offset, entry.key, entry.value, entry.timestamp_ms, entry.headers)
                for offset, entry in self._world.cluster.log(TopicPartition(topic, number)).decided()
            ]
            for number in range(PARTITIONS)
        }


def _indexed(key: bytes) -> bytes:
    """The journeys key of an index entry; of what is none, something that no journey has."""
    return due_key(key) if key.startswith(DUE_PREFIX) else indexed_key(key)
