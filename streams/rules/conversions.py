"""How many cases turned a passive customer into a promoter: the counters of cases, and what they say.

A window of H hours covers the cases that opened on the UTC day that contains the time and the H / 24 - 1 days before
it, H / 24 being rounded up: cases are counted by day.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any, Final

from schemas.times import US_PER_DAY
from streams.rules.case_counts import CASE_COUNTERS, COUNTER_NAMES, GROUP_OF, GROUPS, WITHIN_DAYS
from streams.rules.counts import HOURS_A_DAY
from streams.rules.scores import SMALL_SAMPLE_RESPONSES, Z_95
from streams.rules.windows import Window

DIMENSIONS: Final = ("score", "reason", "action")
"""What rows may be told apart by."""
MATURE_AFTER_DAYS: Final = 90
"""Cases of a day have all had so long once it is as long over."""
STATES: Final = ("cases", "contacted", "contacted_in_time", "overdue", "converted", "left", "withdrawn")
"""What the gauges of cases tell."""
INDEX_OF: Final = {name: index for index, name in enumerate(COUNTER_NAMES)}
MATURE: Final = CASE_COUNTERS
"""After the counters of a row: those of its cases that are mature and stand …"""
MATURE_CONVERTED: Final = CASE_COUNTERS + 1
"""… and how many of them converted within 90 days."""
ROW_COUNTERS: Final = CASE_COUNTERS + 2
MS_PER_DAY: Final = US_PER_DAY // 1000


def window_days(window: Window) -> int:
    """How many UTC days a window covers."""
    return -(-window.hours // HOURS_A_DAY)


def is_mature(day: int, now_us: int) -> bool:
    """Have all cases of the day (days since the epoch) had 90 days?"""
    return now_us >= (day + 1 + MATURE_AFTER_DAYS) * US_PER_DAY


def group_names(by: Sequence[str]) -> list[tuple[object, ...]]:
    """For each group of cells, what names it when rows are told apart by these dimensions."""
    places = [DIMENSIONS.index(name) for name in by]
    return [tuple(GROUP_OF[group][place] for place in places) for group in range(GROUPS)]


def conversion_row(counters: Sequence[int]) -> dict[str, Any]:
    """What a row says of its counters as they are stored (`COUNTER_NAMES`), and the two of mature cases. Nothing is
    rounded.
    """
    counted = dict(zip(COUNTER_NAMES, counters, strict=False))
    counted["contacted"] += counted["contacted_in_time"]
    counted["cases"] += counted["contacted"]
    ms_to_convert = counted.pop("ms_to_convert")
    within = 0
    for days in WITHIN_DAYS:
        within += counted.pop(f"converted_{days}d")
        counted[f"converted_within_{days}d"] = within
    stood = counted["cases"] - counted["withdrawn"]
    low, high = wilson(counted["converted"], stood)
    return {
        **counted,
        "days_to_convert": ms_to_convert / MS_PER_DAY,
        "conversion": counted["converted"] / stood if stood > 0 else None,
        "conversion_low": low,
        "conversion_high": high,
        "small_sample": stood < SMALL_SAMPLE_RESPONSES,
        "mature_cases": counters[MATURE],
        "mature_converted_90d": counters[MATURE_CONVERTED],
    }


def wilson(successes: int, trials: int) -> tuple[float | None, float | None]:
    """95 % Wilson bounds of a share, 0 to 1, low first; None where there is nothing to divide by."""
    if trials <= 0:
        return None, None
    share = min(successes / trials, 1.0)
    square = Z_95 * Z_95
    centre = share + square / (2 * trials)
    half = Z_95 * sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    scale = 1 + square / trials
    # Where all or none did, rounding would put the share outside of its own interval.
    return min(max((centre - half) / scale, 0.0), share), max(min((centre + half) / scale, 1.0), share)
