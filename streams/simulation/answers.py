"""How a customer answers: the score first, then what goes with it.

Most customers are passive. A passive who is asked again has moved on with a probability that depends on the reason and
on the score: an 8 is nearer to a 9 than a 7 is, someone who only needed more time comes round by themselves, someone
who is indifferent hardly does.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from streams.simulation.comments import COMMENTS
from streams.simulation.population import Answered, Choice, Customer

SPREAD = 1.15
"""Standard deviation of one customer's answers around their mood."""

ANGRY_SHARE = 0.025
"""Answers given in anger, whatever the mood was."""

ONBOARDING_MOOD = -0.15
"""Newcomers have seen the effort before the benefit."""

CONVERSION: dict[str | None, float] = {
    "needs_more_time": 0.42,
    "no_major_problems": 0.30,
    "expectations_met": 0.26,
    "value_for_price": 0.18,
    "indifferent": 0.09,
    None: 0.20,
}
"""Probability that a passive with this reason is a promoter next time, before the score is taken into account."""

HELPED: dict[str | None, tuple[str, ...]] = {
    "needs_more_time": ("personal_follow_up", "follow_up_question"),
    "no_major_problems": ("product_improvement", "follow_up_question"),
    "expectations_met": ("tailored_offer", "follow_up_question"),
    "value_for_price": ("tailored_offer", "incentive"),
    "indifferent": ("personal_follow_up", "incentive"),
    None: ("personal_follow_up", "follow_up_question"),
}
"""What moves a passive with this reason more than other things do."""
CONVERSION_IF_HELPED = 1.7
CONVERSION_IF_CONTACTED = 1.15
"""By how much a contact raises the probability; 1 without one."""

CONVERSION_BY_SCORE = {7: 0.7, 8: 1.3}

FALL: dict[int, float] = {7: 0.13, 8: 0.06}
"""Probability that a passive is a detractor next time."""

REASONS: dict[str, dict[int, Choice[str | None]]] = {
    "relationship": {
        7: Choice(
            {
                "indifferent": 22,
                "value_for_price": 22,
                "expectations_met": 16,
                "no_major_problems": 12,
                "needs_more_time": 6,
                None: 22,
            }
        ),
        8: Choice(
            {
                "expectations_met": 28,
                "no_major_problems": 24,
                "value_for_price": 14,
                "indifferent": 8,
                "needs_more_time": 6,
                None: 20,
            }
        ),
    },
    "onboarding": {
        7: Choice(
            {
                "needs_more_time": 42,
                "indifferent": 12,
                "value_for_price": 12,
                "expectations_met": 10,
                "no_major_problems": 6,
                None: 18,
            }
        ),
        8: Choice(
            {
                "needs_more_time": 40,
                "expectations_met": 16,
                "no_major_problems": 14,
                "value_for_price": 8,
                "indifferent": 4,
                None: 18,
            }
        ),
    },
}

_ANGRY = Choice({0: 3, 1: 2, 2: 2, 3: 2, 4: 2})
_PROMOTER = Choice({9: 62, 10: 38})
_FALLEN = Choice({6: 50, 5: 28, 4: 12, 3: 10})

COMMENT_SHARE = {"detractor": 0.45, "passive": 0.28, "promoter": 0.22}


@dataclass(slots=True, frozen=True)
class Given:
    """One answer."""

    score: int
    reason: str | None
    csat: int | None
    comment: str | None


def answer(rng: Random, customer: Customer, survey_id: str) -> Given:
    """The customer's next answer in this survey."""
    before = customer.last.get(survey_id)
    score = _score(rng, customer, survey_id, before)
    reason = REASONS[survey_id][score].pick(rng) if score in (7, 8) else None
    converted = before is not None and before.score in (7, 8) and score >= 9
    return Given(score, reason, _csat(rng, score), _comment(rng, customer.language, score, reason, converted))


def _score(rng: Random, customer: Customer, survey_id: str, before: Answered | None) -> int:
    if rng.random() < ANGRY_SHARE:
        return _ANGRY.pick(rng)
    if before is not None and before.score in (7, 8):
        luck = rng.random()
        converts = CONVERSION[before.reason] * CONVERSION_BY_SCORE[before.score]
        if before.action is not None:
            helped = before.action in HELPED[before.reason]
            converts *= CONVERSION_IF_HELPED if helped else CONVERSION_IF_CONTACTED
        if luck < converts:
            return _PROMOTER.pick(rng)
        if luck < converts + FALL[before.score]:
            return _FALLEN.pick(rng)
        return before.score if rng.random() < 0.7 else 15 - before.score
    mood = customer.mood + (ONBOARDING_MOOD if survey_id == "onboarding" else 0.0)
    if before is not None:
        mood = (2 * mood + before.score) / 3  # people remain of one mind, mostly
    return min(10, max(0, round(rng.gauss(mood, SPREAD))))


def _csat(rng: Random, score: int) -> int | None:
    """Satisfaction, 1 to 5, with the last contact: near half the score; not everyone gives it."""
    if rng.random() < 0.4:
        return None
    return min(5, max(1, round(score / 2 + rng.gauss(0.0, 0.6))))


def amended_score(rng: Random, score: int) -> int:
    """A second thought: one step up more often than down, sometimes only the words change."""
    return min(10, max(0, score + rng.choice((-1, 0, 1, 1))))


def _comment(rng: Random, language: str, score: int, reason: str | None, converted: bool) -> str | None:
    phrases = COMMENTS.get(language)
    category = "promoter" if score >= 9 else "passive" if score >= 7 else "detractor"
    if phrases is None or rng.random() >= COMMENT_SHARE[category]:
        return None
    if category == "passive":
        return rng.choice(phrases[reason or "passive"])
    return rng.choice(phrases["converted" if converted else category])
