"""The customers: where they are, what they do, what they pay for, and how that colours their answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


class Choice(Generic[T]):
    """A weighted choice among fixed values."""

    def __init__(self, weights: dict[T, float]) -> None:
        self._values = tuple(weights)
        self._cumulative = tuple(accumulate(weights.values()))

    def pick(self, rng: Random) -> T:
        """One of the values."""
        return rng.choices(self._values, cum_weights=self._cumulative)[0]


# Each value: how common it is, and how far it moves the mean of an answer from 0 to 10. People in the Netherlands and
# Germany use the ends of a scale less than people in Britain do: the same service, another score.
COUNTRIES: dict[str, tuple[float, float]] = {
    "NO": (26, 0.05),
    "SE": (18, -0.10),
    "DK": (13, 0.10),
    "NL": (17, -0.30),
    "DE": (14, -0.40),
    "GB": (12, 0.30),
}
INDUSTRIES: dict[str, tuple[float, float]] = {
    "software": (20, 0.25),
    "retail": (19, 0.00),
    "bank": (13, -0.20),
    "manufacturing": (17, 0.05),
    "health": (12, 0.15),
    "logistics": (11, -0.25),
    "public": (8, -0.10),
}
PLANS: dict[str, tuple[float, float]] = {
    "starter": (45, -0.20),
    "business": (40, 0.10),
    "enterprise": (15, 0.35),
}
LANGUAGES: dict[str, Choice[str]] = {
    "NO": Choice({"nb": 85, "en": 15}),
    "SE": Choice({"sv": 70, "en": 30}),
    "DK": Choice({"da": 65, "en": 35}),
    "NL": Choice({"nl": 80, "en": 20}),
    "DE": Choice({"de": 70, "en": 30}),
    "GB": Choice({"en": 1}),
}

_COUNTRY = Choice({name: share for name, (share, _) in COUNTRIES.items()})
_INDUSTRY = Choice({name: share for name, (share, _) in INDUSTRIES.items()})
_PLAN = Choice({name: share for name, (share, _) in PLANS.items()})


@dataclass(slots=True)
class Answered:
    """What a customer last said in one survey."""

    score: int
    reason: str | None
    action: str | None = None
    """What was done about it since."""


@dataclass(slots=True)
class Customer:
    """One customer. `mood` is the mean, from 0 to 10, of the answers that do not follow from an earlier one."""

    customer_id: str
    account_id: str | None
    segments: dict[str, str]
    language: str
    mood: float
    onboarding_answers_left: int
    """Who became a customer shortly before the first answer is asked in the `onboarding` survey first."""
    customer_since: str | None = None
    """Set at the first answer."""
    last: dict[str, Answered] = field(default_factory=dict)
    """By survey."""
    last_us: int | None = None
    """Time of the last answer in any survey."""


def customer(seed: int, number: int) -> Customer:
    """A customer who has not answered yet; the same for the same seed, whenever their life is simulated."""
    rng = Random(f"customer {seed} {number}")  # noqa: S311 - repeatable, not secret
    country, industry, plan = _COUNTRY.pick(rng), _INDUSTRY.pick(rng), _PLAN.pick(rng)
    mood = 7.7 + COUNTRIES[country][1] + INDUSTRIES[industry][1] + PLANS[plan][1] + rng.gauss(0.0, 0.6)
    # Several people of one company answer; single users of the smallest plan have no account of their own.
    account_id = None if plan == "starter" and rng.random() < 0.5 else f"a-{(number * 7) // 16:05d}"
    return Customer(
        customer_id=f"c-{number:06d}",
        account_id=account_id,
        segments={"country": country, "industry": industry, "plan": plan},
        language=LANGUAGES[country].pick(rng),
        mood=mood,
        onboarding_answers_left=2 if rng.random() < 0.25 else 0,
    )
