"""How often a partition commits."""

from __future__ import annotations

import time
from typing import Final

from streams.engine.inbox import Inbox
from streams.engine.unit import Unit

BEHIND_MS: Final = 1_000
"""A partition whose oldest waiting record is older than this is behind. Its events are late already, and a larger unit
costs less a record: a commit is some 3 ms, and counts and journeys that change twice are written once. So its commits
are a tenth as far apart as it is behind …"""
BEHIND_INTERVAL_MAX_MS: Final = 2_000
"""… but no farther than this (and a unit that is full is committed anyway)."""


class CommitPace:
    """Of one partition."""

    def __init__(self, interval_ms: int) -> None:
        """`interval_ms`: between two commits, while the partition keeps up."""
        self._interval_ms = interval_ms
        self._began_s = float("-inf")

    def began(self) -> None:
        """Take note that a commit begins."""
        self._began_s = time.monotonic()

    def due_in_s(self, oldest_record_time_ms: int | None) -> float:
        """Return how long to wait with the next commit; 0 or less: it is due. Given is the record time of what has
        waited longest to be decided, if anything waits.
        """
        return self._began_s + self._apart_ms(oldest_record_time_ms) / 1000 - time.monotonic()

    def _apart_ms(self, oldest_record_time_ms: int | None) -> float:
        if oldest_record_time_ms is None:
            return self._interval_ms
        behind_ms = time.time() * 1000 - oldest_record_time_ms
        if behind_ms < BEHIND_MS:
            return self._interval_ms
        return max(self._interval_ms, min(behind_ms / 10, BEHIND_INTERVAL_MAX_MS))


def oldest_undecided_ms(unit: Unit, responses: Inbox, follow_ups: Inbox) -> int | None:
    """Return the record time of what has waited longest to be decided and sets the pace. Follow-ups do where the unit
    has no responses: those in it may be of now, and their events are not to wait for follow-ups that are behind.
    """
    oldest_ms = responses.oldest_record_time_ms
    if oldest_ms is None and not unit.report.records:
        return follow_ups.oldest_record_time_ms
    return oldest_ms
