"""The work's rules, as the Python peers have them: what is valid, the category, the event of a change, the segments.

Nothing here is the product's, and the oracle does not use it.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

HOUR_MS = 3_600_000
PROMOTER, PASSIVE, DETRACTOR = range(3)
"""Also the place of a counter among the three of a bucket."""


def valid(response: Any) -> bool:
    try:
        score = response["score"]
        texts = response["response_id"], response["customer_id"], response["survey_id"], response["responded_at"]
        return type(score) is int and 0 <= score <= 10 and all(isinstance(text, str) for text in texts)
    except (KeyError, TypeError):
        return False


def responded_at_ms(response: dict[str, Any]) -> int:
    return round(datetime.fromisoformat(response["responded_at"]).timestamp() * 1000)


def category(score: int) -> int:
    return PROMOTER if score >= 9 else PASSIVE if score >= 7 else DETRACTOR


def event_of(newest: dict[str, Any], previous_score: int | None) -> dict[str, Any] | None:
    """What to publish of a newest response, given the score of the one that was newest before, if any."""
    current = category(newest["score"])
    previous = None if previous_score is None else category(previous_score)
    if current == PASSIVE and previous != PASSIVE:
        type_ = "passive-detected"
    elif current == PROMOTER and previous == PASSIVE:
        type_ = "score-changed"
    else:
        return None
    return {
        "type": type_,
        "response_id": newest["response_id"],
        "customer_id": newest["customer_id"],
        "survey_id": newest["survey_id"],
        "score": newest["score"],
        "previous_score": previous_score,
        "responded_at": newest["responded_at"],
        "segments": newest["segments"],
        "comment": newest.get("comment"),
        "language": newest.get("language"),
    }


def day_and_hour(at_ms: int) -> tuple[int, int]:
    """The day since the epoch, and the hour of it, in UTC."""
    return divmod(at_ms // HOUR_MS, 24)


def added(counters: list[int] | None, hour: int, score: int) -> list[int]:
    """A day's counters with one answer more: three of the day itself, then three of each of its hours."""
    counters = counters or [0] * 3 * 25
    counters[category(score)] += 1
    counters[3 * (1 + hour) + category(score)] += 1
    return counters


def segments(response: dict[str, Any]) -> list[str]:
    survey = response["survey_id"]
    return [f"{survey}|all", *[f"{survey}|{name}={value}" for name, value in response["segments"].items()]]


def say_first_record() -> None:
    """Tell the harness that start-up is over: it reads the CPU clock."""
    print("first record", file=sys.__stdout__, flush=True)  # Faust logs what is written to sys.stdout
