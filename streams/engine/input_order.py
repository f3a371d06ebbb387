"""Which of the two inputs is decided next: whichever has the earlier record, as far as that can be known.

While a worker keeps up, records are decided as they arrive. A backlog arrives as fast as each input can be fetched, and
a contact would be decided before the answer that it is about, or long after the next one. So each input waits for what
the other still has of before; a tie goes to the response. What is not in the inboxes is known of the time when the
partition was opened alone: who falls behind later has both inboxes full.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from streams.engine.inbox import Inbox, Slice
from streams.engine.positions import NO_ANSWER, Positions

RESPONSES_AHEAD_MAX_MS: Final = 1_000
"""By how much a response may be later than a follow-up that is decided after it, ms of record time. Nobody is contacted
about an answer and gives the next one within a second; and slices stay large where both come thick and fast."""
FOLLOW_UPS_AWAITED_MAX_S: Final = 2.0
"""How long responses wait for follow-ups that were in Kafka when the partition was opened and don't arrive. Then they
go on without: who can't be followed up must still be detected."""
POSITION_TIMEOUT_S: Final = 0.2
"""How long a partition may wait to hear how far the responses were fetched."""


class InputOrder:
    """Of one partition; takes slices out of its two inboxes."""

    def __init__(self, partition: int, responses: Inbox, follow_ups: Inbox, positions: Positions) -> None:
        self._partition = partition
        self._responses = responses
        self._follow_ups = follow_ups
        self._positions = positions
        self._awaited_responses = self._awaited_follow_ups = 0
        """Those before these offsets were there when the partition was opened; 0: they are not waited for any more."""
        self._awaited_since_s = 0.0

    def begin(self, responses_end: int, follow_ups_end: int) -> None:
        """Start anew: the partition was opened, and its inputs ended there."""
        self._awaited_responses, self._awaited_follow_ups = responses_end, follow_ups_end
        self._awaited_since_s = time.monotonic()

    def take_responses(self) -> Slice | None:
        """Take out the next ones; None where there are none, or earlier follow-ups come first."""
        if not self._responses:
            return None
        follow_up_ms = self._follow_ups.oldest_record_time_ms
        if follow_up_ms is not None:
            self._awaited_since_s = time.monotonic()
            return self._responses.take(follow_up_ms + RESPONSES_AHEAD_MAX_MS)
        return None if self._follow_ups_may_come() else self._responses.take()

    def take_follow_ups(self, stream_time_ms: int) -> Slice | None:
        """Take out the next ones; None where there are none, or earlier responses come first. `stream_time_ms`: the
        highest record time of the responses that were decided.
        """
        if not self._follow_ups:
            return None
        response_ms = self._responses.oldest_record_time_ms
        if response_ms is not None:
            return self._follow_ups.take(response_ms - 1)
        return self._follow_ups.take(stream_time_ms if self._responses_may_come() else None)

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

    def _follow_ups_may_come(self) -> bool:
        if self._awaited_follow_ups:
            arrived = self._positions.follow_ups_read(self._partition).position >= self._awaited_follow_ups
            if arrived or time.monotonic() - self._awaited_since_s > FOLLOW_UPS_AWAITED_MAX_S:
                self._awaited_follow_ups = 0
        return bool(self._awaited_follow_ups)
