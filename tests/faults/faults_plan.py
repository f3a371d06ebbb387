"""What will happen when in a campaign of faults: drawn from a seed before anything runs, so that it can be repeated.

The kinds are dealt from a shuffled deck, and dealt anew when it is empty: a short campaign differs from seed to seed, a
long one leaves no kind out. Nothing here may depend on time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.crashing_worker import CRASH_POINTS

Draw = Callable[[random.Random, "Plan"], dict[str, Any]]

OVERLAP_SHARE = 0.15
"""Of the faults: how many are followed by the next one before there was time to recover."""
SESSION_TIMEOUT_S = 3.0
TRANSACTION_TIMEOUT_S = 5.0
COMMITTING_POINTS = ("in_transaction", "before_commit", "after_commit")


@dataclass(frozen=True)
class Plan:
    """A campaign."""

    seed: int
    minutes: float
    workers: int = 3
    partitions: int = 6
    rate: float = 800.0
    """Responses published per second."""
    static: bool = False
    """Workers are static members of the group: they come back to the partitions that they had."""

    @property
    def names(self) -> list[str]:
        """Of the workers that are there all the time."""
        return ["a", "b", "c", "d"][: self.workers]


@dataclass(frozen=True)
class Fault:
    """One of a campaign's faults."""

    number: int
    kind: str
    gap_s: float
    """How long nothing happens before it."""
    hold_s: float
    """How long it lasts once it is there."""
    overlaps: bool
    """The next one doesn't wait until this one is over."""
    parameters: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        said = [f"{name} {value}" for name, value in self.parameters.items() if name != "seed"]
        if self.hold_s:
            said.append(f"for {self.hold_s:.1f} s")
        if self.overlaps:
            said.append("and the next at once")
        return f"{self.kind.replace('_', ' ')}: {', '.join(said)}" if said else self.kind.replace("_", " ")


def _one(rng: random.Random, plan: Plan) -> dict[str, Any]:
    return {"worker": rng.choice(plan.names)}


def _seeded(rng: random.Random) -> int:
    return rng.randrange(1 << 30)


def _at_point(points: tuple[str, ...]) -> Draw:
    return lambda rng, plan: {**_one(rng, plan), "point": rng.choice(points), "passing": rng.randint(1, 12)}


def _one_how(*manners: str) -> Draw:
    return lambda rng, plan: {**_one(rng, plan), "how": rng.choice(manners), "seed": _seeded(rng)}


def _storm(rng: random.Random, plan: Plan) -> dict[str, Any]:
    lives = [round(rng.uniform(0.5, 3.5), 1) for _ in range(5)]
    return {"lives_s": lives, "ends": [rng.choice(("SIGTERM", "SIGKILL")) for _ in lives]}


def _scaling(rng: random.Random, plan: Plan) -> dict[str, Any]:
    return {"order": rng.sample(plan.names, len(plan.names))}


def _clock(rng: random.Random, plan: Plan) -> dict[str, Any]:
    return {
        **_one(rng, plan),
        "hours": rng.choice((-26.0, -2.0, -0.01, 0.5, 3.0, 13.0, 26.0)),
        "restarted": rng.random() < 0.5,
    }


def _burst(rng: random.Random, plan: Plan) -> dict[str, Any]:
    return {"partition": rng.randrange(plan.partitions), "seed": _seeded(rng)}


def _topic(rng: random.Random, plan: Plan) -> dict[str, Any]:
    return {"topic": rng.choice(("responses", "responses", "passive_detected", "dead_letter", "segment_counts"))}


def _none(rng: random.Random, plan: Plan) -> dict[str, Any]:
    return {}


DECK: dict[str, tuple[float, float, Draw]] = {
    # name: shortest and longest hold in seconds, what else is drawn
    "worker_killed": (0.0, 4.0, _one),
    "worker_killed_in_a_commit": (0.0, 2.0, _at_point(CRASH_POINTS)),
    "worker_stopped": (0.0, 3.0, _one),
    "worker_frozen": (SESSION_TIMEOUT_S + 1, SESSION_TIMEOUT_S + 4, _one),
    "worker_frozen_in_a_commit": (SESSION_TIMEOUT_S + 1, SESSION_TIMEOUT_S + 4, _at_point(COMMITTING_POINTS)),
    "all_frozen_in_a_transaction": (TRANSACTION_TIMEOUT_S + 1.5, TRANSACTION_TIMEOUT_S + 3, _none),
    "broker_killed": (0.0, 3.0, _none),
    "broker_restarted": (0.0, 1.0, _none),
    "broker_paused": (0.5, SESSION_TIMEOUT_S - 0.5, _none),
    "broker_paused_for_long": (TRANSACTION_TIMEOUT_S + 1.5, TRANSACTION_TIMEOUT_S + 4, _none),
    "rebalance_storm": (0.0, 0.0, _storm),
    "scaled_1_2_3_1": (0.0, 1.0, _scaling),
    "started_twice": (0.0, 0.0, _one),
    "state_deleted": (0.0, 2.0, _one_how("while down", "while running")),
    "state_truncated": (0.0, 1.0, _one_how("files cut", "files emptied")),
    "state_damaged": (1.0, 3.0, _one_how("while down", "while running")),
    "state_read_only": (0.0, 1.0, _one_how("at start", "while running")),
    "disk_full": (0.0, 1.0, _one_how("at start", "while running", "at stop")),
    "scrapers_that_hold_on": (2.0, 4.0, _one),
    "clock_jumps": (1.0, 3.0, _clock),
    "poison_burst": (0.0, 0.0, _burst),
    "giant_customer": (0.0, 0.0, _burst),
    "topic_deleted": (0.0, 0.0, _topic),
    "partitions_added": (0.0, 0.0, _topic),
}


def schedule(plan: Plan, possible: Collection[str] = tuple(DECK)) -> Iterator[Fault]:
    """Yield the faults of a campaign, without end. Kinds that are not possible are dealt and thrown away, so that the
    others are the same on every machine.
    """
    rng = random.Random(plan.seed)
    deck: list[str] = []
    number = 0
    while True:
        if not deck:
            deck = rng.sample(sorted(DECK), len(DECK))
        kind = deck.pop()
        shortest_s, longest_s, draw = DECK[kind]
        gap_s = rng.uniform(0.2, 1.0)
        hold_s = rng.uniform(shortest_s, longest_s)
        overlaps = rng.random() < OVERLAP_SHARE
        parameters = draw(rng, plan)
        if kind in possible:
            number += 1
            yield Fault(number, kind, gap_s, hold_s, overlaps, parameters)
