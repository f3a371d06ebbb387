"""The events of one partition number, which are on several topics, in the order in which they were written.

Whoever reads the topics each for itself may see that a customer has converted before it is seen that there was somebody
to convert, above all when there is much to catch up with. So the record with the earliest time goes first, and none
goes before every topic has one waiting or is read to its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from aiokafka.structs import ConsumerRecord


class Merge:
    """Of one partition number."""

    def __init__(self, topics: Iterable[str]) -> None:
        self._waiting: Final[dict[str, deque[ConsumerRecord]]] = {topic: deque() for topic in topics}

    def add(self, topic: str, records: Iterable[ConsumerRecord]) -> None:
        """Take records of a topic, in their order."""
        self._waiting[topic].extend(records)

    def waiting(self, topic: str) -> int:
        """How many records of a topic are held."""
        return len(self._waiting[topic])

    def take(self, at_end: Callable[[str], bool]) -> ConsumerRecord | None:
        """Return the next record; None while there is none, or an earlier one may still come.

        `at_end`: whether a topic was read to its end, as far as is known.
        """
        first: ConsumerRecord | None = None
        for topic, records in self._waiting.items():
            if records:
                if first is None or _time(records[0]) < _time(first):
                    first = records[0]
            elif not at_end(topic):
                return None
        return self._waiting[first.topic].popleft() if first is not None else None


def _time(record: ConsumerRecord) -> tuple[int, bytes]:
    """When it was written; of those written at once, when the answer was given (as text, which sorts without its Z)."""
    answered = next((held for name, held in record.headers if name == "ce_time"), None)
    return record.timestamp, (answered or b"").rstrip(b"Z")
