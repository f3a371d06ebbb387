"""What a dashboard is to show of cases, by the oracles of the partitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.support.oracle import PartitionOracle
from tests.support.oracle_reading import time_text
from tests.support.stage import WINDOWS

SURVEY = "relational"
DAY_US = 86_400_000_000


def states_of(
    oracles: Iterable[PartitionOracle], survey: str | None, segment: str, window: str, today: int
) -> Counter[str]:
    """The cases that opened in a window, by state; of all surveys with None."""
    first, last = (time_text(day * DAY_US)[:10] for day in (today - WINDOWS[window] // 24 + 1, today))
    counted: Counter[str] = Counter()
    for oracle in oracles:
        for (of_survey, of_segment, day, *_), states in oracle.case_counts().items():
            if survey in (None, of_survey) and segment == of_segment and first <= day <= last:
                counted.update(states)
    return counted


def groups_of(oracles: Iterable[PartitionOracle], dimension: str, window: str, today: int) -> dict[str, Counter[str]]:
    """Everybody's cases of the survey that opened in a window, by state, of each score, reason or action."""
    first, last = (time_text(day * DAY_US)[:10] for day in (today - WINDOWS[window] // 24 + 1, today))
    counted: dict[str, Counter[str]] = {}
    for oracle in oracles:
        for (survey, segment, day, *names), states in oracle.case_counts().items():
            if (survey, segment) == (SURVEY, "all") and first <= day <= last:
                name = str(names[("score", "reason", "action").index(dimension)])
                counted.setdefault(name, Counter()).update(states)
    return counted


def expected_cases(states: Counter[str]) -> dict[str, list[float]]:
    assert states["cases"] > 5
    standing = states["cases"] - states["withdrawn"]
    ends = [states[name] for name in ("converted", "left", "withdrawn")]
    return {
        "cases": [states["cases"]],
        "coverage": [min(states[name] / standing, 1) for name in ("contacted", "contacted_in_time")],
        "conversion": [states["converted"] / standing],
        "became": [states["cases"] - sum(ends), *ends],
    }


def expected_groups(groups: dict[str, Counter[str]]) -> dict[str, dict[str, float]]:
    standing = {name: states["cases"] - states["withdrawn"] for name, states in groups.items()}
    stand = {name: states for name, states in groups.items() if standing[name]}
    return {
        "cases": {name: states["cases"] for name, states in groups.items()},
        "contacted": {name: min(states["contacted"] / standing[name], 1) for name, states in stand.items()},
        "conversion": {name: states["converted"] / standing[name] for name, states in stand.items()},
        "days": {
            name: states["ms_to_convert"] / 86_400_000 / states["converted"]
            for name, states in groups.items()
            if states["converted"]
        },
    }
