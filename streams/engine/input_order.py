"""Which of the two inputs is decided next: whichever has the earlier record, as far as that can be known.

While a worker keeps up, records are decided as they arrive. A backlog arrives as fast as each input can be fetched, and
a contact would be decided before the answer that it is about, or long after the next one. So each input waits for what
the other still has of before; a tie goes to the response. What is not in the inboxes is known of the time when the
partition was opened, and of follow-ups whenever some were fetched. (Who falls behind later has the inbox of responses
full: they are most.)
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, NamedTuple

from streams.engine.inbox import Inbox, Slice
from streams.engine.positions import NO_ANSWER, Positions

RESPONSES_AHEAD_MAX_MS: Final = 1_000
"""By how much a response may be later than a follow-up that is decided after it, ms of record time. Nobody is contacted
about an answer and gives the next one within a second; and slices stay large where both come thick and fast."""
FOLLOW_UPS_AWAITED_MAX_S: Final = 2.0
"""How long responses wait for follow-ups that are known to be in Kafka and don't arrive. Then they go on without: who
can't be followed up must still be detected."""
FRESH_MS: Final = 1_000
"""A follow-up that is no older is decided as it arrives. An older one may come after a standstill, sooner than its
responses do, and waits until the broker has said, later than it came, that there are none …"""
RESPONSES_AWAITED_MAX_S: Final = 5.0
"""… but no longer than this, should nobody say so."""
POSITION_TIMEOUT_S: Final = 0.2
"""How long a partition may wait to hear how far the responses were fetched."""


class _Held(NamedTuple):
    """Follow-ups that wait to know that there are no responses before them."""

    since_s: float
    """Epoch."""
    since_monotonic_s: float
    to: int
    """The offset after the last of them."""


class InputOrder:
    """Of one partition; takes slices out of its two inboxes."""

    def __init__(self, partition: int, responses: Inbox, follow_ups: Inbox, positions: Positions) -> None:
        self._partition = partition
        self._responses = responses
        self._follow_ups = follow_ups
        self._positions = positions
        self._awaited_responses = self._awaited_follow_ups = 0
        """Those before these offsets were there when the partition was opened; 0: they are not waited for any more."""
        self._waiting_since_s: float | None = None
        """Of responses for follow-ups; None: they don't."""
        self._held: _Held | None = None
        self._cleared_to = 0
        """Follow-ups before this offset need not wait so."""

    def begin(self, responses_end: int, follow_ups_end: int) -> None:
        """Start anew: the partition was opened, and its inputs ended there."""
        self._awaited_responses, self._awaited_follow_ups = responses_end, follow_ups_end
        self._waiting_since_s = self._held = None
        self._cleared_to = 0

    def take_responses(self) -> Slice | None:
        """Take out the next ones; None where there are none, or earlier follow-ups come first."""
        if not self._responses:
            return None
        follow_up_ms = self._follow_ups.oldest_record_time_ms
        if follow_up_ms is not None:
            self._waiting_since_s = None
            return self._responses.take(follow_up_ms + RESPONSES_AHEAD_MAX_MS)
        return None if self._follow_ups_may_come() else self._responses.take()

    def take_follow_ups(self, stream_time_ms: int) -> Slice | None:
        """Take out the next ones; None where there are none, or earlier responses come first. `stream_time_ms`: the
        highest record time of the responses that were decided.
        """
        if not self._follow_ups:
            return None
        response_ms, follow_up_ms = self._responses.oldest_record_time_ms, self._follow_ups.oldest_record_time_ms
        assert follow_up_ms is not None
        if response_ms is not None:
            self._held = None
            # Responses first, as far ahead as they may be: so that slices of follow-ups are large, too.
            return (
                self._follow_ups.take(response_ms - 1) if response_ms > follow_up_ms + RESPONSES_AHEAD_MAX_MS else None
            )
        wait = self._responses_may_come() or self._responses_may_be_late()
        return self._follow_ups.take(stream_time_ms if wait else None)

    async def look(self) -> None:
        """Find out whether follow-ups wait for responses that are none: marks of transactions end the input."""
        if not self._follow_ups or self._responses or not self._responses_may_come():
            return
        try:
            async with asyncio.timeout(POSITION_TIMEOUT_S):
                position = await self._positions.position(self._partition)
        except NO_ANSWER:
            return
        if self._responses.taken_to(position, self._positions.fetched_to(self._partition)) >= self._awaited_responses:
            self._awaited_responses = 0

    def _responses_may_come(self) -> bool:
        if self._responses.expected >= self._awaited_responses:
            self._awaited_responses = 0
        return bool(self._awaited_responses)

    def _responses_may_be_late(self) -> bool:
        first, first_ms = self._follow_ups.taken_to(0), self._follow_ups.oldest_record_time_ms
        assert first_ms is not None
        if first < self._cleared_to or time.time() * 1000 - first_ms < FRESH_MS:
            return False
        now_s = time.monotonic()
        if self._held is None:
            self._held = _Held(time.time(), now_s, self._follow_ups.expected)
        all_here = self._responses.expected >= self._positions.fetched_to(self._partition)
        none_left = all_here and self._positions.read_to_end_at_s(self._partition) > self._held.since_s
        if none_left or now_s - self._held.since_monotonic_s > RESPONSES_AWAITED_MAX_S:
            self._cleared_to, self._held = self._held.to, None
            return False
        return True

    def _follow_ups_may_come(self) -> bool:
        read = self._positions.follow_ups_read(self._partition)
        if read.position >= max(self._awaited_follow_ups, read.stable_end):
            self._awaited_follow_ups = 0
            self._waiting_since_s = None
            return False
        now_s = time.monotonic()
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
        return now_s - self._waiting_since_s <= FOLLOW_UPS_AWAITED_MAX_S
