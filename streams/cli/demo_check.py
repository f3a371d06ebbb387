"""Whether what was published is what came out: exactly once, by numbers that anyone can look up."""

from __future__ import annotations

from typing import NamedTuple

from schemas.dead_letters import Reason
from streams.cli.demo_observed import Observed
from streams.cli.simulate_command import kinds_in_words
from streams.cli.simulated_feed import Tally

WINDOW = "90d"
"""Holds every response of the demonstration."""


class Check(NamedTuple):
    """Two numbers that must be one."""

    holds: bool
    sentence: str


def checks(tally: Tally, seen: Observed, follow_ups: int = 0) -> list[Check]:
    """The comparisons; complete only when the worker has caught up and the events have been read. `follow_ups`: sent
    by the CRM.
    """
    outcomes = seen.counters["nps_responses_total"]
    announced = sum(
        seen.counters[name].total()
        for name in ("nps_passive_detected_total", "nps_score_changed_total", "nps_passive_withdrawn_total")
    )
    announced += seen.overdue
    read = seen.events.total()
    broken = tally.kinds["broken"]
    # What a follow-up can be refused for is of no response.
    dead = {str(name): number for name, number in seen.counters["nps_dead_letters_total"].items() if number}
    dead.pop(Reason.UNKNOWN_CASE, None)
    return [
        _check(
            f"{tally.records:,} records published ({kinds_in_words(tally)})",
            f"{outcomes.total():,} processed",
            tally.records == outcomes.total(),
        ),
        _check(
            f"{tally.kinds['answer']:,} distinct valid responses published",
            f"{seen.counted(WINDOW):,} counted in /v1/scores",
            tally.kinds["answer"] == seen.counted(WINDOW),
        ),
        _check(
            f"{broken:,} broken records published",
            f"{sum(dead.values()):,} dead letters, each for its reason",
            dead == {str(reason): number for reason, number in tally.reasons.items()},
        ),
        _check(
            f"{announced:,} events decided",
            f"{read:,} read back, {read - len(seen.event_ids):,} of them twice",
            announced == read == len(seen.event_ids),
        ),
        _check(
            f"{follow_ups:,} follow-ups sent",
            f"{seen.followed_up:,} processed",
            follow_ups == seen.followed_up,
        ),
    ]


def _check(put_in: str, came_out: str, holds: bool) -> Check:
    return Check(holds, f"{'✓' if holds else '✗'} {put_in}: {came_out}")
