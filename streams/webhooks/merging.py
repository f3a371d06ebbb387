"""The events of one partition number, which are on several topics, in the order in which they were decided.

Whoever reads the topics each for itself may see that a customer has converted before it is seen that there was somebody
to convert: the events of one transaction get their times topic by topic, and become visible topic by topic. So the one
with the lowest sequence goes first, and none goes before every topic has one waiting or was read to its end after that
one came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from aiokafka.structs import ConsumerRecord

from schemas.events import FOLLOW_UP_OVERDUE, SEQUENCE_DIGITS

ONE_TRANSACTION_MS: Final = 60_000
"""Of events that were written longer apart the earlier goes first: an input that was made anew counts from 0 again."""

Unheard = Mapping[str, object]
"""Topics of which the broker has not answered since, and what it answered last."""


class _Place(NamedTuple):
    """Where an event belongs among those of the other topics."""

    sequence: int | None
    """None: an older release wrote it, or somebody else."""
    comes_last: bool
    """Of those with this sequence: what was found to be overdue was so after the response was decided."""
    timestamp: int
    answered: bytes
    """As text, which sorts without its Z."""

    def before(self, other: _Place) -> bool:
        near = abs(self.timestamp - other.timestamp) <= ONE_TRANSACTION_MS
        if self.sequence is not None and other.sequence is not None and near:
            return self < other
        return self[2:] < other[2:]


class _Waiting(NamedTuple):
    record: ConsumerRecord
    place: _Place
    unheard: Unheard
    """When it came."""


class Merge:
    """Of one partition number."""

    def __init__(self, topics: Iterable[str]) -> None:
        self._waiting: Final[dict[str, deque[_Waiting]]] = {topic: deque() for topic in topics}

    @property
    def topics(self) -> Iterable[str]:
        """Those that are merged."""
        return self._waiting.keys()

    def add(self, topic: str, records: Iterable[ConsumerRecord], unheard: Unheard) -> None:
        """Take records of a topic, in their order."""
        self._waiting[topic].extend(_Waiting(record, _place(record), unheard) for record in records)

    def forget(self, topic: str) -> None:
        """Drop what is held of a topic."""
        self._waiting[topic].clear()

    def waiting(self, topic: str) -> int:
        """How many records of a topic are held."""
        return len(self._waiting[topic])

    def take(self, at_end: Callable[[str, Unheard], bool]) -> ConsumerRecord | None:
        """Return the next record; None while there is none, or an earlier one may still come.

        `at_end`: whether the broker has said, since something was unheard, that a topic has no more, nor will soon.
        """
        first: _Waiting | None = None
        for waiting in self._waiting.values():
            if waiting and (first is None or waiting[0].place.before(first.place)):
                first = waiting[0]
        if first is None:
            return None
        if any(not waiting and not at_end(topic, first.unheard) for topic, waiting in self._waiting.items()):
            return None
        return self._waiting[first.record.topic].popleft().record


def _place(record: ConsumerRecord) -> _Place:
    said = dict(record.headers)
    sequence = said.get("ce_sequence") or b""
    return _Place(
        int(sequence) if sequence.isdigit() and len(sequence) <= SEQUENCE_DIGITS else None,
        said.get("ce_type") == FOLLOW_UP_OVERDUE.encode(),
        record.timestamp,
        (said.get("ce_time") or b"").rstrip(b"Z"),
    )
