"""Holds what workers write against the oracle while they write it: the first difference ends a campaign.

Processes of their own read input and outputs with librdkafka, `read_committed`, partition by partition. The oracle says
what must come of each input record, and each record found must be the next one that it said. When everything has
stopped, whatever is left on either side is a difference too, and journeys, counts and offsets are compared.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.faults.faults_check import Checked, check_state
from tests.faults.faults_crm import AFTER
from tests.faults.faults_crm import OVERDUE as OVERDUE_SEEN
from tests.support.comparing import assert_dead_letter, assert_event
from tests.support.kafka_reading import QUIET, record_of
from tests.support.oracle import HOUR_US, OracleDeadLetter, PartitionOracle
from tests.support.oracle_events import CHANGED, DETECTED, OVERDUE, WITHDRAWN, OracleEvent
from tests.support.oracle_reading import Record
from tests.support.stage import Stage, now_us

PROCESSES = 2
FINISH_TIMEOUT_S = 300.0
TELL_EVERY_S = 1.0
SILENT_S = 5.0
"""There is always something to read, but while the broker is away."""


class _Following:
    """One partition: what the oracle expects and was not found yet, and the other way round."""

    def __init__(self, stage: Stage, partition: int) -> None:
        topics = stage.topics
        self.partition = partition
        self.oracle = PartitionOracle(partition, stage.oracle_config, keep=False)
        self.checked = Checked()
        self._overdue_topic = topics.follow_up_overdue
        self._topic_of = dict(zip((DETECTED, CHANGED, WITHDRAWN, OVERDUE), topics.events, strict=True))
        self._letters, self._follow_up_letters = topics.dead_letters
        self._input_of = dict(zip(topics.dead_letters, topics.inputs, strict=True))
        outputs = {*topics.events, *topics.dead_letters} - {topics.follow_up_overdue}
        self._expected: dict[str, deque[OracleEvent | OracleDeadLetter]] = {topic: deque() for topic in outputs}
        self._found: dict[str, deque[Record]] = {topic: deque() for topic in outputs}
        self._responses: deque[Record] = deque()
        self._follow_ups: deque[Record] = deque()
        self._inputs = dict(zip(topics.inputs, (self._responses, self._follow_ups), strict=True))
        self._overdue: dict[bytes | None, Record] = {}
        """Said by the workers of a customer whose case the oracle has not opened yet."""
        self._announced: set[bytes] = set()

    def take(self, topic: str, record: Record) -> None:
        """Take in the next record of a topic. Raises AssertionError at a difference."""
        if topic in self._inputs:
            self._inputs[topic].append(record)
            self._go_on()
        elif topic == self._overdue_topic:
            assert self._overdue.setdefault(record.key, record) is record, f"said to be overdue again: {record}"
            self._take_overdue(record.key)
            self._go_on()
        else:
            self._found[topic].append(record)
            self._compare(topic)

    def _go_on(self) -> None:
        """Let the oracle read of each input what may be read now: what was published after something comes after it."""
        while True:
            if self._responses and self._may_be_read(self._responses[0], self.oracle.next_follow_up):
                record = self._responses.popleft()
                processed = self.oracle.process(record)
                for event in processed.events:
                    self._expect(self._topic_of[event.type], event)
                if processed.dead_letter is not None:
                    self._expect(self._letters, processed.dead_letter)
                self._take_overdue(record.key)
            elif self._follow_ups and self._may_be_read(self._follow_ups[0], self.oracle.next_offset):
                self.oracle.process_follow_up(self._follow_ups.popleft())
                letters = self.oracle.follow_up_dead_letters
                while letters:
                    self._expect(self._follow_up_letters, letters.pop())
            else:
                return

    def _may_be_read(self, record: Record, other_input: int) -> bool:
        said = dict(record.headers)
        if OVERDUE_SEEN in said and record.key not in self._announced:
            return False
        return int(said.get(AFTER) or 0) <= other_input

    def _take_overdue(self, key: bytes | None) -> None:
        """Hold what is said to be overdue of a customer, if anything, against the oracle, if it knows of a case."""
        record = self._overdue.get(key)
        if record is None:
            return
        said = json.loads(record.value or b"{}")
        journey = self.oracle.customers.get(said["customer_id"], {}).get(said["survey_id"])
        if journey is None or journey.case is None:
            return
        where = f"{self._overdue_topic}-{self.partition} offset {record.offset}"
        assert key not in self._announced, f"{where}: {said['customer_id']} is said to be overdue again"
        at_us = journey.case.due_us + round(said["hours_overdue"] * HOUR_US)
        event = self.oracle.overdue(said["customer_id"], said["survey_id"], at_us)
        assert_event(record, event, where)
        self.checked.events[OVERDUE] += 1
        self._announced.add(event.key)
        del self._overdue[key]

    def _expect(self, topic: str, said: OracleEvent | OracleDeadLetter) -> None:
        self._expected[topic].append(said)
        self._compare(topic)

    def _compare(self, topic: str) -> None:
        expected, found = self._expected[topic], self._found[topic]
        while expected and found:
            record, said = found.popleft(), expected.popleft()
            where = f"{topic}-{self.partition} offset {record.offset}"
            try:
                if isinstance(said, OracleEvent):
                    assert_event(record, said, where)
                    self.checked.events[said.type] += 1
                else:
                    assert_dead_letter(record, said, self._input_of[topic])
                    self.checked.dead_letters[said.reason] += 1
            except AssertionError as difference:
                raise AssertionError(
                    f"{where} is not what the oracle says is next: {difference}\nexpected {said}\nfound    {record}\n"
                    f"(input was read to offset {self.oracle.next_offset})"
                ) from None

    def assert_nothing_left(self) -> None:
        for topic, expected in self._expected.items():
            where = f"{topic}-{self.partition}"
            assert not expected, f"{where}: {len(expected)} lost at the end, the first {expected[0]}"
            found = self._found[topic]
            assert not found, f"{where}: {len(found)} too many at the end, the first {found[0]}"
        for topic, unread in self._inputs.items():
            assert not unread, f"{topic}-{self.partition}: nothing was known of what this came after: {unread[0]}"
        assert not self._overdue, f"said to be overdue, and no case is open: {next(iter(self._overdue.values()))}"
        due = self.oracle.due(now_us())
        assert not due, f"{len(due)} cases are overdue and it was not said, as {due[0]}"


@dataclass(frozen=True)
class Told:
    """What a process tells: how far it is, what differs, or in the end what was equal."""

    compared: int = 0
    difference: str | None = None
    equal: list[Checked] | None = None


def _follow(stage: Stage, partitions: Sequence[int], pipe: Connection) -> None:
    """The life of a process: until told to finish, or a difference."""
    try:
        pipe.send(Told(equal=_until_finished(stage, partitions, pipe)))
    except AssertionError as difference:
        pipe.send(Told(difference=str(difference)))
    except Exception as error:
        pipe.send(Told(difference=f"the comparison itself failed: {type(error).__name__}: {error}"))


def _until_finished(stage: Stage, partitions: Sequence[int], pipe: Connection) -> list[Checked]:
    topics = (*stage.topics.inputs, *stage.topics.events, *stage.topics.dead_letters)
    following = {partition: _Following(stage, partition) for partition in partitions}
    next_offsets = {(topic, partition): 0 for topic in topics for partition in partitions}
    unfinished: set[tuple[str, int]] | None = None
    compared = 0
    consumer = _consumer(stage, next_offsets)
    told_at = heard_at = time.monotonic()
    while unfinished is None or unfinished:
        if unfinished is None and pipe.poll():
            pipe.recv()
            unfinished = set(next_offsets)
            consumer = _consumer(stage, next_offsets, consumer)  # anew, so that each one's end is told once more
        elif time.monotonic() - heard_at > SILENT_S:  # librdkafka, too, can take a broker that came back for gone
            consumer = _consumer(stage, next_offsets, consumer)
            heard_at = time.monotonic()
        for message in consumer.consume(1000, timeout=0.1):
            heard_at = time.monotonic()
            at = str(message.topic()), int(message.partition() or 0)
            error = message.error()
            if error is None:
                record = record_of(message)
                next_offsets[at] = record.offset + 1
                following[record.partition].take(at[0], record)
                compared += 1
            elif error.code() == KafkaError._PARTITION_EOF:
                if unfinished is not None:
                    unfinished.discard(at)
            elif error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise KafkaException(error)
        if time.monotonic() - told_at > TELL_EVERY_S:
            told_at = time.monotonic()
            pipe.send(Told(compared))
    consumer.close()
    return [_finished(stage, each) for each in following.values()]


def _consumer(stage: Stage, offsets: Mapping[tuple[str, int], int], before: Consumer | None = None) -> Consumer:
    """A consumer that begins at these offsets, in place of the one before."""
    if before is not None:
        before.close()
    settings: dict[str, Any] = {
        "bootstrap.servers": stage.bootstrap_servers,
        "group.id": "follows",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "fetch.wait.max.ms": 100,
        "reconnect.backoff.max.ms": 1_000,
    }
    consumer = Consumer(settings, logger=QUIET)
    consumer.assign([TopicPartition(*at, offset) for at, offset in offsets.items()])
    return consumer


def _finished(stage: Stage, following: _Following) -> Checked:
    following.assert_nothing_left()
    check_state(stage, following.oracle, following.checked)
    return following.checked


class Live:
    """The processes, seen from outside. Use as a context manager."""

    def __init__(self, stage: Stage) -> None:
        self._context = get_context("spawn")
        self._stage = stage
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        self._compared: list[int] = []

    def __enter__(self) -> Self:
        for number in range(PROCESSES):
            ours, theirs = self._context.Pipe()
            partitions = range(number, self._stage.partitions, PROCESSES)
            process = self._context.Process(target=_follow, args=(self._stage, partitions, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
            self._compared.append(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    @property
    def compared(self) -> int:
        """Records read until about now."""
        return sum(self._compared)

    def check(self) -> None:
        """Raise AssertionError when something was found to differ."""
        for number in range(len(self._pipes)):
            self._hear(number, 0)

    def finish(self) -> Checked:
        """Everything has stopped: compare the rest, and states; returns what was equal. Raises AssertionError."""
        for pipe in self._pipes:
            pipe.send("finish")
        deadline = time.monotonic() + FINISH_TIMEOUT_S
        total = Checked()
        for number in range(len(self._pipes)):
            equal = None
            while equal is None:
                equal = self._hear(number, 1.0)
                assert time.monotonic() < deadline, "the comparison did not come to its end"
            for checked in equal:
                total.add(checked)
        return total

    def _hear(self, number: int, wait_s: float) -> list[Checked] | None:
        pipe = self._pipes[number]
        while pipe.poll(wait_s):
            try:
                told: Told = pipe.recv()
            except EOFError:
                raise AssertionError("a process that compares has ended") from None
            assert told.difference is None, told.difference
            if told.equal is not None:
                return told.equal
            self._compared[number] = told.compared
            wait_s = 0
        return None
