"""From an event to its end at one endpoint: delivered, or a dead letter; tried as often as it takes in between."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import NamedTuple, Protocol

from aiokafka.structs import ConsumerRecord

from schemas.webhooks import Envelope
from streams.webhooks.metrics import EndpointMetrics
from streams.webhooks.retries import Retries
from streams.webhooks.sending import Outcome, Verdict

logger = logging.getLogger(__name__)

NOT_AN_EVENT = "not_an_event"
SAY_EVERY_S = 60.0
"""How often a line of one kind may be said of an endpoint."""


class Event(NamedTuple):
    """A record on its way to an endpoint."""

    record: ConsumerRecord
    envelope: Envelope | None
    """None: it is no event, as `problem` says."""
    problem: str = ""


class SendsOnce(Protocol):
    """Makes one attempt."""

    async def send(self, event: Envelope) -> Outcome: ...


class KeepsDeadLetters(Protocol):
    """Keeps what fails for good."""

    async def keep(self, record: ConsumerRecord, endpoint: str, cause: str, message: str) -> None:
        """Return once it is kept."""


class _RareLine:
    """A line of the log for what may happen thousands of times, of one endpoint and one kind: none hides another."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._said_at_s = float("-inf")
        self._left_out = 0

    def say(self, line: str) -> None:
        now_s = time.monotonic()
        if now_s - self._said_at_s < SAY_EVERY_S:
            self._left_out += 1
            return
        more = f" (and {self._left_out} more since the last such line)" if self._left_out else ""
        logger.log(self._level, "%s%s", line, more)
        self._said_at_s = now_s
        self._left_out = 0


class Delivery:
    """To one endpoint, which is asked for no more than it can take: so many requests at once, none while it wants a
    rest, none at all once it is gone.
    """

    def __init__(
        self,
        endpoint: str,
        sender: SendsOnce,
        dead_letters: KeepsDeadLetters,
        retries: Retries,
        metrics: EndpointMetrics,
        concurrency: int,
    ) -> None:
        self._endpoint = endpoint
        self._sender = sender
        self._dead_letters = dead_letters
        self._retries = retries
        self._metrics = metrics
        self._slots = asyncio.Semaphore(concurrency)
        self._rest_until_s = float("-inf")
        self._says_retried = _RareLine(logging.WARNING)
        self._says_dead_lettered = _RareLine(logging.ERROR)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self.disabled = False
        """The endpoint answered 410: nothing is sent to it until the process is started again."""

    async def deliver(self, event: Event) -> None:
        """Return once the event is delivered or kept as a dead letter. Waits as long as the endpoint is disabled."""
        if event.envelope is None:
            await self._give_up(event, NOT_AN_EVENT, event.problem)
            return
        give_up_at_s: float | None = None
        failures = 0
        while True:
            outcome = await self._attempt(event.envelope)
            match outcome.verdict:
                case Verdict.DELIVERED:
                    self._metrics.ended("delivered")
                    return
                case Verdict.REFUSED:
                    await self._give_up(event, outcome.cause, outcome.message)
                    return
                case Verdict.GONE:
                    self._disable()
                    continue
            now_s = time.monotonic()
            if give_up_at_s is None:
                give_up_at_s = now_s + self._retries.give_up_after_s
            if now_s >= give_up_at_s:
                await self._give_up(event, outcome.cause, outcome.message)
                return
            failures += 1
            self._metrics.ended("retried")
            self._says_retried.say(f"{self._endpoint}: deliveries fail and are tried again: {outcome.message}")
            if outcome.retry_after_s is not None:
                self._rest_until_s = max(self._rest_until_s, now_s + outcome.retry_after_s)
            await asyncio.sleep(min(self._retries.wait_s(failures), give_up_at_s - now_s))

    async def close(self, grace_s: float) -> None:
        """Begin no more attempts; return when those under way have ended, or after so many seconds."""
        self._closed = True
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("%s: %d requests were under way and are broken off", self._endpoint, self._under_way)

    def open(self) -> None:
        """Go on after `close`."""
        self._closed = False

    async def _attempt(self, envelope: Envelope) -> Outcome:
        while True:
            rest_s = self._rest_until_s - time.monotonic()
            if self.disabled or self._closed:
                await asyncio.Event().wait()  # until it is cancelled
            elif rest_s > 0:
                await asyncio.sleep(rest_s)
                continue
            async with self._slots:
                if self.disabled or self._closed or self._rest_until_s > time.monotonic():
                    continue  # things have changed while this waited for its turn
                self._under_way += 1
                self._idle.clear()
                began_s = time.perf_counter()
                try:
                    return await self._sender.send(envelope)
                finally:
                    self._metrics.took(time.perf_counter() - began_s)
                    self._under_way -= 1
                    if not self._under_way:
                        self._idle.set()

    async def _give_up(self, event: Event, cause: str, message: str) -> None:
        await self._dead_letters.keep(event.record, self._endpoint, cause, message)
        self._metrics.ended("dead_lettered")
        where = f"{event.record.topic}-{event.record.partition} @ {event.record.offset}"
        self._says_dead_lettered.say(f"{self._endpoint}: events are dead-lettered, such as {where}: {message}")

    def _disable(self) -> None:
        self._metrics.ended("gone")
        if not self.disabled:
            self.disabled = True
            logger.error(
                "%s: the endpoint answered 410 (gone) and is disabled: its events wait in Kafka. "
                "Correct it or take it out of the file, and start nps webhooks again",
                self._endpoint,
            )
