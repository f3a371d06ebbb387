"""Builds responses and journeys for the tests of the rules. Times are days before `NOW`, which every record time is."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.response import SurveyResponse
from schemas.times import US_PER_DAY, parse_rfc3339
from streams.rules.decisions import Decision, RulesConfig, decide
from streams.rules.journey import Journey

__all__ = ["ALL_CHANGES", "CONFIG", "CUSTOMER", "NOW_MS", "NOW_US", "after", "config", "days_ago", "feed", "response"]

NOW_US = parse_rfc3339("2026-11-22T12:00:00Z")
NOW_MS = NOW_US // 1000
CUSTOMER = "customer-1"

ALL_CHANGES = frozenset(
    {"passive_to_promoter", "passive_to_detractor", "detractor_to_promoter", "promoter_to_detractor"}
)
CONFIG = RulesConfig(
    cooldown_us=30 * US_PER_DAY,
    event_max_age_us=30 * US_PER_DAY,
    counts_retention_us=400 * US_PER_DAY,
    transitions=frozenset({"passive_to_promoter"}),
)


def config(**changes: Any) -> RulesConfig:
    return msgspec.structs.replace(CONFIG, **changes)


def days_ago(days: float) -> int:
    return NOW_US - round(days * US_PER_DAY)


def response(response_id: str, score: int, days: float = 0, **fields: Any) -> SurveyResponse:
    """A response of `CUSTOMER` to the survey `relational`, given `days` before now."""
    given = {"customer_id": CUSTOMER, "survey_id": "relational", "responded_at": days_ago(days), **fields}
    return SurveyResponse(response_id=response_id, score=score, **given)


def feed(journey: Journey | None, *responses: SurveyResponse, rules: RulesConfig = CONFIG) -> list[Decision]:
    """The decisions of these responses, one after the other, all recorded now. What is to be counted is counted."""
    decisions = []
    for each in responses:
        decision = decide(rules, CUSTOMER, journey, each, NOW_MS)
        if decision.counted is not None:
            decision.counted.counted_as = True
        if decision.journey is not None:
            journey = decision.journey
        decisions.append(decision)
    return decisions


def after(*responses: SurveyResponse, rules: RulesConfig = CONFIG) -> Journey:
    """The journey that these responses make, all recorded now."""
    journey = None
    for decision in feed(None, *responses, rules=rules):
        journey = decision.journey or journey
    assert journey is not None
    return journey
