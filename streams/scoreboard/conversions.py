"""Answers what converts: adds up the stored rows of cases that a question is about.

Their cells are many and mostly 0, so that they are not kept added up as the responses are; the few sums that metrics
need are (`Scoreboard` with `CASES`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.times import US_PER_DAY
from streams.engine.formats import CASE_COUNTS
from streams.rules.case_counts import CASE_COUNTERS, NESTED, WITHIN_DAYS
from streams.rules.conversions import (
    INDEX_OF,
    MATURE,
    MATURE_AFTER_DAYS,
    MATURE_CONVERTED,
    ROW_COUNTERS,
    conversion_row,
    group_names,
    is_mature,
    window_days,
)
from streams.rules.windows import Window
from streams.scoreboard.board import Scoreboard

MAX_AGE_S: Final = 1.0
SUMS_BETWEEN_YIELDS: Final = 1_000
"""Groups of a row, in each window. Some 5 ms."""
_CONVERTED_90D: Final = tuple(INDEX_OF[f"converted_{days}d"] for days in WITHIN_DAYS if days <= MATURE_AFTER_DAYS)
_WITHDRAWN: Final = INDEX_OF["withdrawn"]

Name = tuple[str, str, str, tuple[object, ...]]
"""Survey, segment, window, and what the row is told apart by."""


@dataclass(frozen=True, slots=True)
class Conversions:
    """An answer."""

    as_of_us: int
    complete: bool
    rows: list[dict[str, Any]]


async def conversions(
    board: Scoreboard,
    windows: Sequence[Window],
    survey_id: str | None,
    segment: str | None,
    window: str | None,
    by: Sequence[str],
) -> Conversions:
    """Return the rows that match exactly what is given, told apart by `by`; rows without cases are absent.

    Gives way to other tasks every few milliseconds. Raises UnreadableCounts.
    """
    snapshot = await board.refresh(MAX_AGE_S)
    today = snapshot.as_of_us // US_PER_DAY
    wanted = [each for each in windows if window is None or each.name == window]
    first_days = {each.name: today - window_days(each) + 1 for each in wanted}
    names = group_names(by)
    sums: dict[Name, list[int]] = {}
    counted = 0
    first_day = min(first_days.values(), default=today)
    for held in board.held(survey_id, segment, first_day):
        if held is None or counted >= SUMS_BETWEEN_YIELDS:
            counted = 0
            await asyncio.sleep(0)
        if held is None:
            continue
        held_survey, held_segment, day, stored = held
        inside = [name for name, first in first_days.items() if first <= day <= today]
        if not inside:
            continue
        groups = _by_group(stored, names, mature=is_mature(day, snapshot.as_of_us))
        for name, counters in groups.items():
            for each in inside:
                row = sums.setdefault((held_survey, held_segment, each, name), [0] * ROW_COUNTERS)
                for index, amount in enumerate(counters):
                    row[index] += amount
        counted += len(groups) * len(inside)
    rows = await asyncio.to_thread(_rows, sums, by, {each.name: place for place, each in enumerate(windows)})
    return Conversions(snapshot.as_of_us, snapshot.complete, rows)


def _rows(sums: dict[Name, list[int]], by: Sequence[str], order: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "survey_id": name[0],
            "segment": name[1],
            "window": name[2],
            **dict(zip(by, name[3], strict=True)),
            **conversion_row(sums[name]),
        }
        for name in sorted(sums, key=lambda name: (name[0], name[1] != "all", name[1], order[name[2]], repr(name[3])))
        if any(sums[name][:NESTED])
    ]


def _by_group(
    stored: bytes, names: Sequence[tuple[object, ...]], *, mature: bool
) -> dict[tuple[object, ...], list[int]]:
    """The counters of one stored row by the names of its groups."""
    found: dict[tuple[object, ...], list[int]] = {}
    for cell, amount in CASE_COUNTS.decode(stored).items():
        group, counter = divmod(cell, CASE_COUNTERS)
        counters = found.setdefault(names[group], [0] * ROW_COUNTERS)
        counters[counter] += amount
        if mature and counter < NESTED:
            counters[MATURE] += amount
        elif mature and counter == _WITHDRAWN:
            counters[MATURE] -= amount
        elif mature and counter in _CONVERTED_90D:
            counters[MATURE_CONVERTED] += amount
    return found
