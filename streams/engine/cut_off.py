"""Inputs that do not go on where they were read to.

The log was cut back, or retention was faster than we. What was fetched before is decided and committed all the same,
since nobody could read it again; then the partition is opened again, and finds out which of the two it was.
"""

from __future__ import annotations

from aiokafka.structs import TopicPartition

from streams.engine.inbox import Inbox
from streams.engine.positions import CutOff, Positions


class CutOffs:
    """Of one partition: none, one or both of its inputs."""

    def __init__(self, follow_ups: TopicPartition, follow_up_inbox: Inbox, inbox: Inbox, positions: Positions) -> None:
        self._follow_ups = follow_ups
        self._follow_up_inbox = follow_up_inbox
        self._inbox = inbox
        self._positions = positions
        self._known: dict[TopicPartition, CutOff] = {}

    def __contains__(self, source: TopicPartition) -> bool:
        return source in self._known

    def note(self, source: TopicPartition, offset: int) -> None:
        """Take note that an input does not go on at this offset, up to which it was fetched."""
        self._known[source] = CutOff(source, offset)

    def of(self, source: TopicPartition) -> CutOff | None:
        """Return what is known of an input."""
        return self._known.get(source)

    def decided(self) -> CutOff | None:
        """Return one of which everything is decided that was fetched."""
        for source, cut_off in self._known.items():
            if source == self._follow_ups:
                all_taken = not self._follow_up_inbox
            else:  # some may be on their way here
                all_taken = not self._inbox and self._inbox.expected >= self._positions.fetched_to(source.partition)
            if all_taken:
                return cut_off
        return None

    def clear(self) -> None:
        """Forget them: positions were taken anew."""
        self._known.clear()
