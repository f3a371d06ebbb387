"""Under which segment names an answer counts, and who has a place under the limit of segments.

A segment is `name=value`; a cross joins several, `a=x+b=y`. In values `%` is written `%25` and `+` is written `%2B`,
so that a `+` always joins. Every answer also counts under `all`, which no function here returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

ALL: Final = "all"
"""The segment that every answer counts under."""

OTHER: Final = "__other__"
"""The value that values without a place count under."""


class Placement(NamedTuple):
    """Where an answer counts, beside `all`. Good until a name of the survey gives its place back."""

    rows: tuple[str, ...]
    """Segment names: its own in order of name, then crosses in order of configuration."""
    diverted: int
    """How many of them are `__other__` for want of a place."""
    plain: bool
    """True: exactly its own `name=value`, nothing diverted, no crosses."""


_ALL_ALONE: Final = Placement((), 0, True)


def segment_names(segments: Mapping[str, str], crosses: Sequence[tuple[str, ...]] = ()) -> tuple[str, ...]:
    """The names that a response's segments would count under if all had a place, in the order that they take places.

    `crosses`: names to count together, where a response has all of them.
    """
    singles = {name: f"{name}={_escaped(segments[name])}" for name in sorted(segments)}
    joined = ["+".join([singles[name] for name in cross]) for cross in crosses if singles.keys() >= set(cross)]
    return (*singles.values(), *joined)


def _escaped(value: str) -> str:
    return value.replace("%", "%25").replace("+", "%2B")


def _other(segment: str) -> str:
    """The segment that this one counts under when it has no place: `a=x+b=y` → `a=__other__+b=__other__`."""
    return "+".join([f"{single.partition('=')[0]}={OTHER}" for single in segment.split("+")])


class Places:
    """Who has a place under the limit of segments, for one partition.

    A survey has `limit` places. A name takes one when it is first counted and keeps it until its last day is dropped;
    a name that has been given a place but no day yet keeps it too. `all` and `__other__` rows take none.

    The state is a function of the stored rows: tell it of each by `row_created`, also when restoring (a stored row
    has its place even if the limit is lower by now), and of each that is dropped by `row_dropped`.
    """

    def __init__(self, limit: int, crosses: Sequence[tuple[str, ...]] = ()) -> None:
        self._limit = limit
        self._crosses = tuple(crosses)
        self._days: dict[str, dict[str, int]] = {}  # survey → segment → how many days of it are stored

    def rows_of(self, survey: str, segments: Mapping[str, str]) -> Placement:
        """Where an answer with these segments counts. Names new to the survey take a place while there are any."""
        if not segments:
            return _ALL_ALONE
        days = self._days.get(survey, {})
        rows = []
        diverted = 0
        names = segment_names(segments, self._crosses)
        for name in names:
            other = _other(name)
            if name in days or name == other:
                rows.append(name)
            elif len(days) < self._limit:
                days = self._days.setdefault(survey, days)
                days[name] = 0
                rows.append(name)
            else:
                rows.append(other)
                diverted += 1
        return Placement(tuple(rows), diverted, not diverted and len(names) == len(segments))

    def row_created(self, survey: str, segment: str) -> None:
        """A day of the segment is now stored."""
        if segment == ALL or segment == _other(segment):
            return
        days = self._days.setdefault(survey, {})
        days[segment] = days.get(segment, 0) + 1

    def row_dropped(self, survey: str, segment: str) -> None:
        """A stored day of the segment is gone; with its last day the name gives its place back."""
        if segment == ALL or segment == _other(segment):
            return
        days = self._days[survey]
        assert days[segment] > 0, "a row was dropped that was never created"
        days[segment] -= 1
        if days[segment] == 0:
            del days[segment]
            if not days:
                del self._days[survey]
