"""How far a partition is behind in its two inputs, for those who watch it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from streams.engine.decider import Decider
from streams.engine.follow_ups import FollowUpsRead
from streams.engine.inbox import Inbox
from streams.engine.observer import UnitReport

READ_MAX_AGE_S: Final = 5.0
"""A broker answers for a partition twice a second, with records or without. What was read to its end is believed to be
so for this long; whether anything has come since then, nobody knows."""


class Lag(NamedTuple):
    """What waits to be committed of one input."""

    records: int
    seconds: float
    """Age of the oldest."""


def age_s(record_time_ms: int) -> float:
    """Return the age of a record; 0 without one (0), and of one ahead of our clock."""
    return max(time.time() - record_time_ms / 1000, 0.0) if record_time_ms else 0.0


def oldest_response_ms(decider: Decider | None, inbox: Inbox) -> int | None:
    """Return the record time of the oldest response that was fetched and is not committed."""
    for report in _open_reports(decider):
        if report.record_times_ms:
            return report.record_times_ms[0]
    return inbox.oldest_record_time_ms


def oldest_follow_up_ms(decider: Decider | None, inbox: Inbox) -> int | None:
    """Return the same of follow-ups."""
    for report in _open_reports(decider):
        if report.follow_ups:
            return report.first_follow_up_ms
    return inbox.oldest_record_time_ms


def _open_reports(decider: Decider | None) -> Iterator[UnitReport]:
    for unit in (decider.committing, decider.unit) if decider is not None else ():
        if unit is not None:
            yield unit.report


class FollowUpsLag:
    """Of one partition.

    Days may lie between two follow-ups: when the last one came says nothing of what waits, and a topic that can't be
    read looks like one that is silent. So what counts is when the partition was last read to its end. What waits came
    later, and while the broker does not answer, something may.
    """

    def __init__(self) -> None:
        self.end = 0
        """Of the partition, as last seen, also while it can't be read."""
        self._since_s = time.time()

    def end_seen(self, end: int) -> None:
        """Take note of the partition's end, from whoever asked for it."""
        self.end = max(self.end, end)

    def set_back(self, oldest_ms: int | None, read: FollowUpsRead) -> None:
        """Remember how far it was: what was read is about to be given up, and will be read again."""
        self._since_s = self._waiting_since_s(oldest_ms, read)

    def now(self, oldest_ms: int | None, read: FollowUpsRead, committed: int) -> Lag:
        """Return the lag. Given are the record time of the oldest follow-up that was fetched and is not committed, what
        was read, and the next offset to be committed.
        """
        # Between what is committed and what was read there may be marks of transactions, which are nothing to process.
        done = max(committed, read.position) if oldest_ms is None else committed
        records = max(max(self.end, read.end) - done, 0)
        seconds = max(time.time() - self._waiting_since_s(oldest_ms, read), 0.0)
        if records == 0 and seconds <= READ_MAX_AGE_S:
            seconds = 0.0
        return Lag(records, seconds)

    def _waiting_since_s(self, oldest_ms: int | None, read: FollowUpsRead) -> float:
        if oldest_ms is not None:
            return oldest_ms / 1000
        return self._since_s if read.to_end_at_s is None else read.to_end_at_s
