"""The life of a survey programme, as the records that arrive in `nps.responses`, in order of arrival."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Literal, NamedTuple

import msgspec

from schemas.dead_letters import Reason
from schemas.times import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, format_day, format_rfc3339
from streams.simulation.answers import Given, amended_score, answer
from streams.simulation.mishaps import mishap
from streams.simulation.population import Answered, Customer, customer
from streams.simulation.rhythm import OFFICE_HOURS, Rhythm, arrivals

REST_US = 25 * US_PER_DAY
"""A customer who answered is left alone this long, where the population is large enough."""
REDELIVERY_US = (2_000_000, 10 * US_PER_MINUTE, 6 * US_PER_HOUR)
"""A retry, a restarted connector, a batch that was run again."""
MAX_PICKS = 16
"""Tries to find a rested customer before one is asked again early."""

Kind = Literal["answer", "repeat", "amendment", "broken", "erasure"]


class Simulated(NamedTuple):
    """One record, and what a publisher knows of it."""

    key: bytes | None
    value: bytes | None
    record_time_ms: int
    """When it arrives, at least some milliseconds after the answer."""
    kind: Kind
    reason: Reason | None = None
    """Of a broken one, the reason that it must be dead-lettered for."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How often things go another way than one answer, delivered once and at once. Shares of all answers."""

    anonymous: float = 0.006
    late: float = 0.02
    """Delivered hours or days after the answer; every third customer answers again in the meantime."""
    repeated: float = 0.015
    """Delivered again, with the same id."""
    amended: float = 0.012
    """Sent again at revision 1."""
    broken: float = 0.003
    erased: float = 0.0004
    """A customer asks to be forgotten, in place of an answer; nothing of theirs arrives any more."""


DEFAULT_HABITS = Habits()


class Life:
    """A population that lives on from one stream to the next: months of history, then a busy hour."""

    def __init__(self, seed: int, customers: int, habits: Habits = DEFAULT_HABITS) -> None:
        assert customers >= 1, "somebody must answer"
        self._seed = seed
        self._habits = habits
        self._customers = [customer(seed, number) for number in range(1, customers + 1)]
        self._numbers = count(customers + 1)
        self._pending: list[tuple[int, int, Simulated]] = []
        self._sequence = count()
        self._erased: set[bytes | None] = set()
        self._index_of: dict[str, int] = {}
        self._rng = Random(seed)  # noqa: S311 - repeatable, not secret

    def stream(
        self, start_us: int, end_us: int | None = None, *, per_day: float, rhythm: Rhythm = OFFICE_HOURS
    ) -> Iterator[Simulated]:
        """Records that arrive from `start_us` to `end_us` (endless without), in order of record time, about `per_day`
        answers a day; what is under way at the end arrives in the next stream. The same seed and calls give the same.
        """
        # Other start, other answers and ids: life goes on when the same seed is used on another day.
        self._rng = Random(f"{self._seed} {start_us}")  # noqa: S311 - repeatable, not secret
        for now_us in arrivals(self._rng, start_us, per_day, rhythm):
            ended = end_us is not None and now_us >= end_us
            until_us = end_us if ended and end_us is not None else now_us
            while self._pending and self._pending[0][0] < until_us:
                record = heappop(self._pending)[2]
                if record.key not in self._erased:
                    yield record
                if record.kind == "erasure":
                    self._erased.add(record.key)
            if ended:
                return
            self._happen(now_us)

    def followed_up(self, customer_id: str, survey_id: str, action: str) -> None:
        """Somebody has spoken with a customer about their last answer: it may move them."""
        if not self._index_of:
            self._index_of = {who.customer_id: index for index, who in enumerate(self._customers)}
        index = self._index_of.get(customer_id)
        last = None if index is None else self._customers[index].last.get(survey_id)
        if last is not None:
            last.action = action

    def _happen(self, now_us: int) -> None:
        """One arrival: an answer with all that follows from it, or an erasure."""
        rng, habits = self._rng, self._habits
        who = self._pick(now_us)
        if rng.random() < habits.erased:
            self._erase(who, now_us)
        elif rng.random() < habits.anonymous:
            self._answer_anonymously(who, now_us)
        elif rng.random() < habits.late:
            delay_us = US_PER_HOUR + int(rng.expovariate(1.0) * 9 * US_PER_HOUR)
            self._answer(who, now_us, delay_us)
            if rng.random() < 1 / 3:
                self._answer(who, now_us + int(delay_us * rng.uniform(0.1, 0.8)), self._at_once())
        else:
            self._answer(who, now_us, self._at_once())

    def _pick(self, now_us: int) -> int:
        """The index of somebody who has rested, if that is found quickly."""
        picked = 0
        for _ in range(MAX_PICKS):
            picked = int(self._rng.random() * len(self._customers))
            last_us = self._customers[picked].last_us
            if last_us is None or now_us - last_us >= REST_US:
                break
        return picked

    def _at_once(self) -> int:
        """A delivery without delay: under a second."""
        return int(self._rng.uniform(50_000, 900_000))

    def _answer(self, index: int, at_us: int, delay_us: int) -> None:
        rng, who = self._rng, self._customers[index]
        at_us -= at_us % 1_000
        if who.customer_since is None:
            days = rng.uniform(5, 30) if who.onboarding_answers_left else rng.uniform(120, 2_500)
            who.customer_since = format_day((at_us - int(days * US_PER_DAY)) // US_PER_DAY)
        survey_id = "relationship"
        if who.onboarding_answers_left:
            who.onboarding_answers_left -= 1
            survey_id = "onboarding"
        given = answer(rng, who, survey_id)
        who.last[survey_id] = Answered(given.score, given.reason)
        who.last_us = at_us
        fields: dict[str, object] = {
            "response_id": self._response_id(),
            "customer_id": who.customer_id,
            "survey_id": survey_id,
            "score": given.score,
            "responded_at": format_rfc3339(at_us),
            "segments": who.segments,
            "language": who.language,
            "customer_since": who.customer_since,
        }
        if who.account_id is not None:
            fields["account_id"] = who.account_id
        final = self._deliver(who.customer_id.encode(), fields, given, at_us, at_us + delay_us)
        who.last[survey_id].score = final

    def _answer_anonymously(self, index: int, at_us: int) -> None:
        """Somebody like that customer answers a link without a name: no journey follows from it."""
        like = self._customers[index]
        at_us -= at_us % 1_000
        response_id = self._response_id()
        given = answer(self._rng, Customer("", None, {}, like.language, like.mood, 0), "relationship")
        fields: dict[str, object] = {
            "response_id": response_id,
            "customer_id": None,
            "survey_id": "relationship",
            "score": given.score,
            "responded_at": format_rfc3339(at_us),
            "segments": {"country": like.segments["country"]},
            "language": like.language,
        }
        self._deliver(response_id.encode(), fields, given, at_us, at_us + self._at_once())

    def _deliver(self, key: bytes, fields: dict[str, object], given: Given, at_us: int, deliver_us: int) -> int:
        """Puts the record, its repeats and its amendment under way; returns the score that stands in the end."""
        rng, habits = self._rng, self._habits
        optional = {"reason": given.reason, "comment": given.comment, "csat": given.csat}
        fields |= {name: value for name, value in optional.items() if value is not None}
        if rng.random() < habits.broken:
            reason, (broken_key, broken_value) = mishap(rng, key, fields, at_us)
            self._put(deliver_us, broken_key, broken_value, "broken", reason)
            return given.score
        value_bytes = msgspec.json.encode(fields)
        self._put(deliver_us, key, value_bytes, "answer")
        if rng.random() < habits.repeated:
            again_us = deliver_us + int(
                rng.choice((2_000_000, 10 * US_PER_MINUTE, 6 * US_PER_HOUR)) * rng.uniform(0.5, 1.5)
            )
            self._put(again_us, key, value_bytes, "repeat")
        if rng.random() < habits.amended:
            score = amended_score(rng, given.score)
            amended = fields | {"score": score, "revision": 1}
            if score not in (7, 8):
                amended.pop("reason", None)
            amended_us = deliver_us + int(rng.expovariate(1.0) * 4 * US_PER_HOUR) + US_PER_MINUTE
            self._put(amended_us, key, msgspec.json.encode(amended), "amendment")
            return score
        return given.score

    def _erase(self, index: int, now_us: int) -> None:
        """Somebody leaves for good; a new customer takes the place."""
        self._put(now_us + self._at_once(), self._customers[index].customer_id.encode(), None, "erasure")
        self._customers[index] = customer(self._seed, next(self._numbers))
        self._index_of.clear()

    def _put(
        self, arrive_us: int, key: bytes | None, value: bytes | None, kind: Kind, reason: Reason | None = None
    ) -> None:
        record = Simulated(key, value, arrive_us // 1_000, kind, reason)
        heappush(self._pending, (arrive_us, next(self._sequence), record))

    def _response_id(self) -> str:
        return f"r-{self._rng.getrandbits(64):016x}"
