"""What a CRM does about the passive customers that it is told of: most are called in time, some late, some never.

Pure: what it does about a detection follows from the seed and the event's id alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, NamedTuple

import msgspec

from schemas.playbook import ACTIONS, REASONS, UNKNOWN
from schemas.times import US_PER_HOUR, format_rfc3339, parse_rfc3339

CALLED_IN_TIME = 0.62
CALLED_LATE = 0.13
"""Shares of detections; the others nobody takes up."""
FOLLOWS_THE_PLAYBOOK = 0.7
LEARNS_THE_REASON = 0.5
"""Of those who gave none."""
RESOLVED = 0.4
"""Contacts that are reported as resolved once more, days later."""


class Planned(NamedTuple):
    """A follow-up that is to be sent."""

    key: bytes
    value: bytes
    occurred_us: int
    action: str
    customer_id: str
    survey_id: str


def follow_ups(seed: int, detected: Mapping[str, Any]) -> list[Planned]:
    """Return what the CRM will report about a passive-detected, in order: nothing, or one or two follow-ups."""
    rng = Random(f"{seed} {detected['event_id']}")  # noqa: S311 - repeatable, not secret
    luck = rng.random()
    if luck >= CALLED_IN_TIME + CALLED_LATE:
        return []
    hours = rng.uniform(0.5, 70) if luck < CALLED_IN_TIME else rng.uniform(80, 240)
    action = str(detected["recommended_action"])
    if rng.random() >= FOLLOWS_THE_PLAYBOOK:
        action = rng.choice(ACTIONS)
    reason = None
    if detected["reason"] is None and rng.random() < LEARNS_THE_REASON:
        reason = rng.choice([each for each in REASONS if each != UNKNOWN])
    contacted_us = parse_rfc3339(str(detected["detected_at"])) + int(hours * US_PER_HOUR)
    planned = [_planned(detected, "contacted", action, reason, contacted_us)]
    if rng.random() < RESOLVED:
        resolved_us = contacted_us + int(rng.uniform(24, 200) * US_PER_HOUR)
        planned.append(_planned(detected, "resolved", action, None, resolved_us))
    return planned


def _planned(detected: Mapping[str, Any], status: str, action: str, reason: str | None, at_us: int) -> Planned:
    at_us -= at_us % 1_000
    customer_id, survey_id = str(detected["customer_id"]), str(detected["survey_id"])
    value = {
        "follow_up_id": f"{status}-{detected['event_id']}",
        "customer_id": customer_id,
        "survey_id": survey_id,
        "response_id": detected["response_id"],
        "detected_event_id": detected["event_id"],
        "status": status,
        "action": action,
        "reason": reason,
        "occurred_at": format_rfc3339(at_us),
    }
    return Planned(customer_id.encode(), msgspec.json.encode(value), at_us, action, customer_id, survey_id)
