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


QUIET_CPU_SHARE: Final = 0.5
"""A worker that used less of a core than this lately has time to spare: its partitions commit …"""
QUIET_FACTOR: Final = 0.5
"""… after so much of the interval."""
CPU_SHARE_OVER_S: Final = 1.0
"""Over how long that is looked at."""


class CpuShare:
    """How much of one core this process has used lately, 0 to the number of cores."""

    def __init__(self) -> None:
        self._last = 0.0
        self._since_s, self._used_s = time.monotonic(), time.process_time()

    def now(self) -> float:
        """Return the share of the last second or more; 0 in the first."""
        took_s = time.monotonic() - self._since_s
        if took_s >= CPU_SHARE_OVER_S:
            used_s = time.process_time()
            self._last = (used_s - self._used_s) / took_s
            self._since_s += took_s
            self._used_s = used_s
        return self._last


class CommitPace:
    """Of one partition."""

    def __init__(self, interval_ms: int, cpu: CpuShare) -> None:
        """`interval_ms`: between two commits, while the partition keeps up and the worker has other things to do."""
        self._interval_ms = interval_ms
        self._cpu = cpu
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
        behind_ms = 0.0 if oldest_record_time_ms is None else time.time() * 1000 - oldest_record_time_ms
        if behind_ms < BEHIND_MS:
            return self._interval_ms * (QUIET_FACTOR if self._cpu.now() < QUIET_CPU_SHARE else 1)
        return max(self._interval_ms, min(behind_ms / 10, BEHIND_INTERVAL_MAX_MS))


def oldest_undecided_ms(unit: Unit, responses: Inbox, follow_ups: Inbox) -> int | None:
    """Return the record time of what has waited longest to be decided and sets the pace. Follow-ups do where the unit
    has no responses: those in it may be of now, and their events are not to wait for follow-ups that are behind.
    """
    oldest_ms = responses.oldest_record_time_ms
    if oldest_ms is None and not unit.report.records:
        return follow_ups.oldest_record_time_ms
    return oldest_ms
