"""How long nothing was committed: the group's offsets, looked at all the time, and what they tell of each fault."""

from __future__ import annotations

import bisect
import math
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.support.kafka_reading import QUIET
from tests.support.stage import Stage

LOOK_EVERY_S = 0.075
ANSWER_TIMEOUT_S = 1.0
SILENT_S = 4.0


class Look(NamedTuple):
    """One answer of the group's coordinator. Times are monotonic."""

    asked_s: float
    told_s: float
    offsets: Mapping[int, int]
    """Of the responses."""
    follow_ups: Mapping[int, int]


class CommitWatch:
    """Asks for the committed offsets in a thread of its own. Use as a context manager."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._inputs = stage.topics.inputs
        self._looks: list[Look] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="commit-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def recovered_at(self, since_s: float) -> float | None:
        """When was every partition committed beyond where it was at that moment? None: not yet.

        Where it was is what the first answer tells that was asked for after the moment: what was on its way when a
        worker died is no recovery.
        """
        looks = self._looks
        first = bisect.bisect_left(looks, since_s, key=lambda look: look.asked_s)
        if first >= len(looks):
            return None
        before = looks[first].offsets
        for look in looks[first:]:
            if all(offset > before[partition] for partition, offset in look.offsets.items()):
                return look.told_s
        return None

    def reached(self, topic: str, offsets: Mapping[int, int]) -> bool:
        """Has the group committed this much of one of its inputs?"""
        if not self._looks:
            return False
        look = self._looks[-1]
        committed = look.offsets if topic == self._stage.topics.responses else look.follow_ups
        return all(committed[partition] >= offset for partition, offset in offsets.items())

    def longest_pause_s(self, since_s: float, until_s: float) -> float:
        """The longest time between two moments in which some partition had no commit. For a load that never pauses."""
        looks = [look for look in self._looks if since_s <= look.told_s <= until_s]
        moved = dict.fromkeys(range(self._stage.partitions), since_s)
        longest_s = 0.0
        for before, look in pairwise(looks):
            for partition, at_s in moved.items():
                longest_s = max(longest_s, look.told_s - at_s)
                if look.offsets[partition] != before.offsets[partition]:
                    moved[partition] = look.told_s
        return longest_s

    def _watch(self) -> None:
        while not self._ended.is_set():
            with closing(self._consumer()) as consumer:
                answered_s = time.monotonic()
                # One that has not answered for so long may never do so again, whether or not the broker is back.
                while time.monotonic() - answered_s < SILENT_S and not self._ended.wait(LOOK_EVERY_S):
                    if self._look(consumer):
                        answered_s = time.monotonic()

    def _consumer(self) -> Consumer:
        settings = {
            "bootstrap.servers": self._stage.bootstrap_servers,
            "group.id": self._stage.group_id,
            "enable.auto.commit": False,
            "isolation.level": "read_uncommitted",  # offsets of open transactions are not waited for
            "reconnect.backoff.max.ms": 500,
        }
        return Consumer(settings, logger=QUIET)

    def _look(self, consumer: Consumer) -> bool:
        """Ask once; returns whether there was an answer."""
        asked_s = time.monotonic()
        try:
            found = consumer.committed(
                [TopicPartition(topic, number) for topic in self._inputs for number in range(self._stage.partitions)],
                timeout=ANSWER_TIMEOUT_S,
            )
        except KafkaException:  # the broker is away
            return False
        if any(position.error for position in found):
            return False
        responses, follow_ups = (
            {position.partition: max(position.offset, 0) for position in found if position.topic == topic}
            for topic in self._inputs
        )
        look = Look(asked_s, time.monotonic(), responses, follow_ups)
        before = self._looks[-1] if self._looks else look
        if all(
            offset >= earlier[number]
            for later, earlier in ((responses, before.offsets), (follow_ups, before.follow_ups))
            for number, offset in later.items()
        ):
            self._looks.append(look)
        # Else it is a coordinator's that is just back and knows of old ones only (decision 90), until somebody writes.
        # Were they really gone, nothing would ever recover.
        return True


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them doesn't exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]
