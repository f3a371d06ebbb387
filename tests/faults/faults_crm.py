"""The CRM of a campaign: its customers' cases are opened, followed up, forgotten, and ended while faults happen.

What comes of two inputs depends on which of two records is decided first, and that is for the worker to choose. So each
record here is published only once the customer's record before it is committed, and tells in a header what that was:
`after`, the offset in the other input that has been reached, or `overdue`, that the customer's event was seen. Nobody
else publishes anything of these customers: whoever keeps to the headers comes to the same end, whatever else is
decided in between.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from typing import Any, NamedTuple

from confluent_kafka import Consumer, TopicPartition

from tests.faults.faults_recovery import CommitWatch
from tests.support.corpus import Produced
from tests.support.kafka_reading import QUIET, publish
from tests.support.oracle_events import DETECTED, event_id
from tests.support.oracle_reading import partition_of, time_text
from tests.support.stage import Stage

AFTER, OVERDUE = "after", "overdue"
CUSTOMERS = 150
"""Of a round."""
SURVEY = "relational"
FATES = ("won", "lost", "stays", "erased", "forgotten", "forgotten", "left alone")
AROUND_DUE_S = 15.0
"""The forgotten are overdue so long ago, or in so long."""
LOOK_EVERY_S = 0.1
SILENT_S = 5.0
DELIVERED_WITHIN_S = 120.0
HOUR_MS = 3_600_000


class Customer(NamedTuple):
    """One of a round."""

    name: str
    fate: str
    answered_ms: int
    """When they were passive."""
    score: int

    def response_id(self, number: int) -> str:
        return f"{self.name}-{number}"

    @property
    def detection(self) -> str:
        return event_id(DETECTED, SURVEY, self.name, self.response_id(1), 0)


class Crm:
    """Plays one round after the other, in a thread of its caller's, until it is told to stop."""

    def __init__(self, stage: Stage, seed: int, commits: CommitWatch) -> None:
        self.published: Counter[str] = Counter()
        """By topic; complete once `play` has returned."""
        self._stage = stage
        self._seed = seed
        self._commits = commits
        self._responses, self._follow_ups = stage.topics.inputs
        self._ends: dict[str, dict[int, int]] = {topic: {} for topic in stage.topics.inputs}
        """Of our own records: topic → partition → the offset after the last one."""
        self._announced: set[str] = set()
        self._stopped = False
        self._aborted = threading.Event()

    def stop(self) -> None:
        """Begin no round more."""
        self._stopped = True

    def abort(self) -> None:
        """Do nothing more."""
        self._stopped = True
        self._aborted.set()

    def play(self) -> Counter[str]:
        """Return how many records were published, by topic. Raises what went wrong."""
        for number in count():
            if self._stopped:
                break
            self._round(random.Random(f"{self._seed} {number}"), number)
        return self.published

    def _round(self, rng: random.Random, number: int) -> None:
        cast = list(self._cast(rng, number))
        forgotten = [who for who in cast if who.fate == "forgotten"]
        self._publish(self._responses, [self._response(who, 1, who.score, who.answered_ms) for who in cast])
        self._publish(self._follow_ups, [each for who in cast for each in self._first_follow_ups(rng, who)])
        self._publish(self._responses, [each for who in cast for each in self._second(rng, who)])
        self._publish(self._follow_ups, [each for who in cast for each in self._last_follow_ups(rng, who)])
        self._until_announced(forgotten)
        contacts = [self._follow_up(who, f"c-{who.name}", seen=True) for who in forgotten]
        self._publish(self._follow_ups, contacts)
        self._publish(self._responses, [self._response(who, 2, rng.choice((3, 8, 9)), _now_ms()) for who in forgotten])

    def _cast(self, rng: random.Random, number: int) -> Iterator[Customer]:
        now_ms = _now_ms()
        for place in range(CUSTOMERS):
            fate = rng.choice(FATES)
            ago_ms = 0
            if fate == "forgotten":
                due_in_s = rng.uniform(-AROUND_DUE_S, AROUND_DUE_S)
                ago_ms = self._stage.oracle_config.sla_hours * HOUR_MS - int(due_in_s * 1000)
            yield Customer(f"case-{self._seed}-{number}-{place}", fate, now_ms - ago_ms, rng.choice((7, 8)))

    # What is published

    def _first_follow_ups(self, rng: random.Random, who: Customer) -> Iterator[Produced]:
        """The case is open."""
        if who.fate in ("forgotten", "left alone"):
            return
        if rng.random() < 0.3:
            yield self._follow_up(who, f"o-{who.name}", status="opened")
        named = rng.choice(({}, {"response_id": who.response_id(1)}, {"detected_event_id": who.detection}))
        yield self._follow_up(who, f"f-{who.name}", **named)
        if rng.random() < 0.3:
            yield self._follow_up(who, f"f-{who.name}", **named)  # duplicate
        if rng.random() < 0.3:
            yield self._follow_up(who, f"f-{who.name}", **named, action="incentive", revision=1)

    def _second(self, rng: random.Random, who: Customer) -> Iterator[Produced]:
        scores = {"won": (9, 10), "lost": (0, 6), "stays": (7, 8)}
        if who.fate == "erased":
            yield self._placed(self._responses, who, None, _now_ms())
        elif who.fate in scores:
            yield self._response(who, 2, rng.choice(scores[who.fate]), _now_ms())

    def _last_follow_ups(self, rng: random.Random, who: Customer) -> Iterator[Produced]:
        """Late, feedback, of another detection of the same case; of nobody where the customer was erased."""
        if who.fate in ("forgotten", "left alone"):
            if rng.random() < 0.1:
                yield self._placed(self._follow_ups, who, b'{"follow_up_id": "no more"', _now_ms())
            return
        named = rng.choice(({}, {"response_id": who.response_id(1)}, {"detected_event_id": who.detection}))
        yield self._follow_up(who, f"l-{who.name}", **named, status="resolved")

    def _response(self, who: Customer, number: int, score: int, at_ms: int) -> Produced:
        value = {
            "response_id": who.response_id(number),
            "customer_id": who.name,
            "survey_id": SURVEY,
            "score": score,
            "responded_at": time_text(at_ms * 1000),
            "segments": {"country": "NO", "tier": "basic"},
        }
        return self._placed(self._responses, who, json.dumps(value).encode(), at_ms, who.fate == "forgotten")

    def _follow_up(self, who: Customer, follow_up_id: str, *, seen: bool = False, **fields: Any) -> Produced:
        now_ms = _now_ms()
        value = {
            "follow_up_id": follow_up_id,
            "customer_id": who.name,
            "survey_id": SURVEY,
            "status": "contacted",
            "action": "tailored_offer",
            "occurred_at": time_text(now_ms * 1000),
            **fields,
        }
        return self._placed(self._follow_ups, who, json.dumps(value).encode(), now_ms, seen)

    def _placed(self, topic: str, who: Customer, value: bytes | None, at_ms: int, seen: bool = False) -> Produced:
        key = who.name.encode()
        partition = partition_of(key, self._stage.partitions)
        other = self._follow_ups if topic == self._responses else self._responses
        headers = [(AFTER, str(self._ends[other].get(partition, 0)).encode())]
        if seen and who.name in self._announced:
            headers.append((OVERDUE, b"1"))
        return Produced(partition, key, value, at_ms, tuple(headers))

    # How

    def _publish(self, topic: str, records: list[Produced]) -> None:
        """Publish, and wait until the workers have committed all of it."""
        if self._aborted.is_set():
            return
        servers, ends = self._stage.bootstrap_servers, self._ends[topic]
        self.published[topic] += publish(servers, topic, records, DELIVERED_WITHIN_S, ends)
        while not self._commits.reached(topic, ends):
            if self._aborted.wait(LOOK_EVERY_S):
                return

    def _until_announced(self, forgotten: list[Customer]) -> None:
        """Wait until each of them was said to be overdue."""
        missing = {who.name for who in forgotten}
        while missing and not self._aborted.is_set():
            with closing(Consumer(self._reading(), logger=QUIET)) as consumer:
                topic = self._stage.topics.follow_up_overdue
                consumer.assign([TopicPartition(topic, partition, 0) for partition in range(self._stage.partitions)])
                heard_at = time.monotonic()
                while missing and not self._aborted.is_set() and time.monotonic() - heard_at < SILENT_S:
                    for message in consumer.consume(1000, timeout=LOOK_EVERY_S):
                        if message.error() is None:
                            heard_at = time.monotonic()
                            name = (message.key() or b"").decode()
                            missing.discard(name)
                            self._announced.add(name)

    def _reading(self) -> dict[str, Any]:
        return {
            "bootstrap.servers": self._stage.bootstrap_servers,
            "group.id": "waits-for-overdue",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "reconnect.backoff.max.ms": 1_000,
        }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
