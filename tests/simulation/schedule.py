"""What happens to a world: a list of elements, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from streams.engine.config import CrashPoint
from tests.simulation.disk import Loss

CRASH_POINTS: tuple[str, ...] = get_args(CrashPoint)
REQUESTS = (
    "metadata",
    "init",
    "ends",
    "beginnings",
    "restore",
    "follow",
    "committed",
    "write",
    "offsets",
    "commit",
    "heartbeat",
)
MOMENTS = (*CRASH_POINTS, *(f"{request} {moment}" for request in (*REQUESTS, "fetch") for moment in ("sent", "done")))
FAULTS = ("refused", "lost", "hangs")
ABSENCE_SHARE = 0.1
NAMES = ("a", "b", "c")


@dataclass(frozen=True)
class Element:
    """One thing that happens; `worker` is a name, empty for anybody. Does nothing where it makes no sense."""

    what: str
    worker: str = ""
    moment: str = ""
    """Of a crash or a freeze: where in the worker's life."""
    count: int = 0
    """Records to fetch; passings of the moment."""
    loss: Loss = "nothing"
    """Of the state directory, by a crash."""
    seconds: float = 0.0

    def __str__(self) -> str:
        said = [self.what, self.worker, self.moment]
        said += [f"x{self.count}"] if self.count else []
        said += [f"{self.seconds:.2f} s"] if self.seconds else []
        said += [f"loses {self.loss}"] if self.loss != "nothing" else []
        return " ".join(word for word in said if word)


def draw(rng: random.Random, *, short: bool = False) -> tuple[list[str], list[Element]]:
    """Return the workers that there are from the beginning, and what happens: a crash first of all, if it can be.

    A short one has one or two workers and a few elements.
    """
    names = list(NAMES[: rng.choice((1, 1, 2) if short else (1, 1, 2, 2, 2, 3))])
    kinds: dict[Callable[[], Element], int] = {
        lambda: Element("fetch", count=rng.choice((1, 1, 2, 2, 4, 30))): 40,
        lambda: Element("wait", seconds=rng.choice((0.0, 0.01, 0.05, 0.12, 0.5, 2.0, 11.0))): 22,
        lambda: _crash(rng, names): 12,
        lambda: Element("start", rng.choice(names)): 8,
        lambda: Element("freeze", rng.choice(("", *names)), rng.choice(MOMENTS[5:]), rng.choice((1, 1, 2, 4))): 5,
        lambda: Element("thaw", rng.choice(names)): 4,
        lambda: Element(rng.choice(FAULTS), rng.choice(names), rng.choice(REQUESTS)): 5,
        lambda: Element("lost", rng.choice(names), "commit"): 3,
        lambda: Element("share"): 3,
        lambda: Element("stop", rng.choice(names)): 2,
        lambda: Element("outage", seconds=rng.choice((0.3, 3.0, 35.0))): 1,
        lambda: Element("compact"): 2,
        lambda: Element("wait", seconds=rng.choice((15.0, 70.0))): 2,
        lambda: Element("clock jumps", seconds=rng.choice((-7_200.0, 60.0, 13 * 3600.0))): 1,
        lambda: Element("day passes", seconds=30 * 3600.0): 1,
    }
    count = rng.randint(2, 6) if short else rng.randint(6, 18)
    drawn = [kind() for kind in rng.choices(list(kinds), list(kinds.values()), k=count)]
    if not short and rng.random() < ABSENCE_SHARE:
        drawn[rng.randrange(len(drawn)) :] = _absence(rng, rng.choice(names))
    first = Element("crash", "", rng.choice(CRASH_POINTS), rng.choice((1, 1, 2, 3)), "tail")
    return names, [first, *drawn]


def _absence(rng: random.Random, name: str) -> list[Element]:
    """One is away for longer than changelogs keep nulls, and comes back to what it left on its disk."""
    return [
        Element("fetch", count=rng.choice((4, 10))),
        Element("wait", seconds=1.0),
        Element("crash", name, loss=rng.choice(("nothing", "tail"))),
        Element("wait", seconds=11.0),
        Element("fetch", count=30),
        Element("wait", seconds=1.0),
        Element("day passes", seconds=30 * 3600.0),
        Element("start", name),
        Element("wait", seconds=1.0),
        Element("share"),
    ]


def _crash(rng: random.Random, names: list[str]) -> Element:
    loss: Loss = rng.choices(("nothing", "tail", "all"), (2, 5, 1))[0]
    moment = rng.choices((rng.choice(CRASH_POINTS), rng.choice(MOMENTS), "now"), (6, 3, 1))[0]
    if moment == "now":
        return Element("crash", rng.choice(names), moment, loss=loss)
    return Element("crash", rng.choice(("", "", *names)), moment, rng.choice((1, 1, 1, 2, 3)), loss)
