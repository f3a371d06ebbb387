"""What the peers' work comes to, recomputed plainly from the records: every event and every counter.

It is less than the product does, which has an oracle of its own (`tests.support.oracle`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.corpus import Produced

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BUCKETS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}

Bucket = tuple[str, str, str, int]
"""Survey, segment, `hour` or `day`, how many of them after the epoch."""
Counts = dict[Bucket, tuple[int, int, int]]
"""Promoters, passives, detractors."""


@dataclass
class Outcome:
    """What was published and counted."""

    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(type, response_id), with how often."""
    counts: Counts = field(default_factory=dict)

    def difference(self, right: Outcome) -> str | None:
        """Say what is wrong with this one, None when it equals the right one."""
        missing, surplus = right.events - self.events, self.events - right.events
        if missing or surplus:
            return (
                f"{missing.total()} of {right.events.total()} events are missing, {surplus.total()} are too many, "
                f"such as {next(iter(missing or surplus))}"
            )
        wrong = [
            bucket for bucket in {*self.counts, *right.counts} if self.counts.get(bucket) != right.counts.get(bucket)
        ]
        if wrong:
            bucket = min(wrong)
            return (
                f"{len(wrong)} of {len(right.counts)} buckets are wrong, such as {bucket}: "
                f"{self.counts.get(bucket)} in place of {right.counts.get(bucket)}"
            )
        return None


def outcome(records: Iterable[Produced]) -> Outcome:
    """Of records in the order of each customer's partition."""
    events: Counter[tuple[str, str]] = Counter()
    counts: dict[Bucket, list[int]] = {}
    newest: dict[tuple[str, str], tuple[datetime, int]] = {}
    for record in records:
        response = _valid(record.value)
        if response is None:
            continue
        survey, score = response["survey_id"], response["score"]
        at = datetime.fromisoformat(response["responded_at"])
        category = 0 if score > 8 else 1 if score > 6 else 2
        previous_at, previous = newest.get((response["customer_id"], survey), (None, None))
        if previous_at is None or at >= previous_at:
            newest[response["customer_id"], survey] = at, category
            if category == 1 != previous:
                events["passive-detected", response["response_id"]] += 1
            if (previous, category) == (1, 0):
                events["score-changed", response["response_id"]] += 1
        for segment in ("all", *(f"{name}={value}" for name, value in response["segments"].items())):
            for size, length in BUCKETS.items():
                counts.setdefault((survey, segment, size, (at - EPOCH) // length), [0, 0, 0])[category] += 1
    return Outcome(events, {bucket: (three[0], three[1], three[2]) for bucket, three in counts.items()})


def _valid(value: bytes | None) -> dict[str, Any] | None:
    try:
        response = json.loads(value or b"")
    except ValueError:
        return None
    if not isinstance(response, dict):
        return None
    texts = [response.get(name) for name in ("response_id", "customer_id", "survey_id", "responded_at")]
    score = response.get("score")
    is_score = isinstance(score, int) and not isinstance(score, bool) and 0 <= score <= 10
    return response if is_score and all(isinstance(text, str) for text in texts) else None
