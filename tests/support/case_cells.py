"""What stored counts of cases tell, and how what is told is stored, without the code under test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from streams.rules.case_counts import CASE_COUNTERS, COUNTER_NAMES, GROUP_OF

Group = tuple[int, str, str]
"""Score, reason, action."""


def told(cells: Mapping[int, int]) -> dict[Group, Counter[str]]:
    """The counters of each group that are not 0; or by how much they change."""
    groups: dict[Group, Counter[str]] = {}
    for cell, count in cells.items():
        group, counter = divmod(cell, CASE_COUNTERS)
        groups.setdefault(GROUP_OF[group], Counter())[COUNTER_NAMES[counter]] = count
    found = {}
    for group, counters in groups.items():
        counters["contacted"] += counters["contacted_in_time"]
        counters["cases"] += counters["contacted"]
        if any(counters.values()):
            found[group] = Counter({name: count for name, count in counters.items() if count})
    return found


def apart_of(counters: Mapping[str, int]) -> Counter[str]:
    """Counters that are told, each without what the next one holds of it."""
    apart = Counter(counters)
    apart["cases"] -= apart["contacted"]
    apart["contacted"] -= apart["contacted_in_time"]
    return apart


def stored(groups: Iterable[tuple[Group, Mapping[str, int]]]) -> dict[int, int]:
    """The cells of groups that are told."""
    cells = {}
    for group, counters in groups:
        apart = apart_of(counters)
        assert min(apart.values(), default=0) >= 0, f"{counters}: each of the first three holds the next"
        for name, count in apart.items():
            if count:
                cells[GROUP_OF.index(group) * CASE_COUNTERS + COUNTER_NAMES.index(name)] = count
    return cells
