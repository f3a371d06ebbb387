"""Finds out when it may be said that nobody has contacted a customer in time.

The wall clock has passed the due time of a case; but a contact may wait in an input, unread. So the ends of both inputs
are asked for, and once everything before them is decided, and they were asked for no longer than a few seconds ago,
what is due then is overdue.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from aiokafka.structs import TopicPartition

from streams.engine.decider import Decider
from streams.engine.inbox import Inbox
from streams.engine.positions import NO_ANSWER, Positions

logger = logging.getLogger(__name__)

OVERDUE_INTERVAL_S = 1.0
"""Time between two looks for cases that are due."""
ENDS_MAX_AGE_S = 5.0
"""How long ends are believed."""
ENDS_TIMEOUT_S = 1.0
"""How long the partition may wait for them."""


class _Ends(NamedTuple):
    """The ends of both inputs, asked for at `asked_at_s`, and up to where the responses were fetched."""

    asked_at_s: float
    responses: int
    follow_ups: int
    position: int


class OverdueWatch:
    """Of one partition."""

    def __init__(
        self, responses: TopicPartition, follow_ups: TopicPartition, positions: Positions, now_us: Callable[[], int]
    ) -> None:
        self._responses = responses
        self._follow_ups = follow_ups
        self._positions = positions
        self._now_us = now_us
        self._looked_at_s = float("-inf")
        self._ends: _Ends | None = None

    def begin(self) -> None:
        """Forget what was seen."""
        self._ends = None

    async def look(self, decider: Decider) -> bool:
        """Ask for the ends when something is due and it is time; true while there are ends to believe in."""
        now_s = time.monotonic()
        if self._ends is not None and now_s - self._ends.asked_at_s > ENDS_MAX_AGE_S:
            self._ends = None
        if self._ends is None and now_s - self._looked_at_s >= OVERDUE_INTERVAL_S:
            self._looked_at_s = now_s
            if decider.has_due(self._now_us()):
                await self._ask(now_s)
        return self._ends is not None

    async def _ask(self, now_s: float) -> None:
        number = self._responses.partition
        try:
            async with asyncio.timeout(ENDS_TIMEOUT_S):
                responses, follow_ups = await self._positions.ends(self._responses, self._follow_ups)
                position = await self._positions.position(number)
        except NO_ANSWER as error:
            logger.debug("partition %d: not known to be caught up: %s", number, type(error).__name__)
            return
        self._ends = _Ends(now_s, responses, follow_ups, position)

    def decide(self, decider: Decider, inbox: Inbox, follow_ups: Inbox) -> None:
        """Say what is overdue, if everything is decided that may be in the inputs. Without a pause."""
        ends = self._ends
        if ends is None or time.monotonic() - ends.asked_at_s > ENDS_MAX_AGE_S:
            return
        number = self._responses.partition
        if inbox.taken_to(ends.position, self._positions.fetched_to(number)) < ends.responses:
            return
        if follow_ups.taken_to(self._positions.follow_ups_read(number).position) < ends.follow_ups:
            return
        if not decider.decide_overdue(self._now_us()):
            self._ends = None
