"""Conversion rows: what they say of their counters, and the Wilson interval, against an independent computation."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.times import US_PER_DAY
from streams.rules.case_counts import COUNTER_NAMES, GROUPS
from streams.rules.conversions import (
    DIMENSIONS,
    ROW_COUNTERS,
    conversion_row,
    group_names,
    is_mature,
    wilson,
    window_days,
)
from streams.rules.windows import Window
from tests.support import case_cells


def row(mature: tuple[int, int] = (0, 0), **counted: int) -> dict[str, object]:
    stored = case_cells.apart_of(counted)
    return conversion_row([*(stored[name] for name in COUNTER_NAMES), *mature])


@given(st.integers(1, 10**6), st.data())
@example(1, None)
def test_bounds_are_the_wilson_interval(trials: int, data: st.DataObject | None) -> None:
    successes = data.draw(st.integers(0, trials)) if data else 1
    low, high = wilson(successes, trials)
    assert low is not None
    assert high is not None
    with localcontext() as context:
        context.prec = 50
        z, n, x = Decimal("1.959964"), Decimal(trials), Decimal(successes)
        # The two solutions of (x/n - p)^2 = z^2 p (1 - p) / n.
        a, b, c = 1 + z * z / n, -(2 * x / n + z * z / n), (x / n) ** 2
        root = (b * b - 4 * a * c).sqrt()
        assert low == pytest.approx(float(max((-b - root) / (2 * a), Decimal(0))), abs=1e-9)
        assert high == pytest.approx(float(min((-b + root) / (2 * a), Decimal(1))), abs=1e-9)
    assert 0 <= low <= successes / trials <= high <= 1


def test_a_row_of_everything() -> None:
    found = row(
        (60, 12),
        cases=110,
        contacted=80,
        contacted_in_time=70,
        overdue=30,
        converted=25,
        left=9,
        withdrawn=10,
        erased=2,
        ms_to_convert=25 * 36 * 3_600_000,
        converted_7d=10,
        converted_30d=5,
        converted_90d=4,
        converted_180d=3,
        converted_365d=2,
    )
    low, high = wilson(25, 100)
    assert found == {
        "cases": 110,
        "contacted": 80,
        "contacted_in_time": 70,
        "overdue": 30,
        "converted": 25,
        "left": 9,
        "withdrawn": 10,
        "erased": 2,
        "converted_within_7d": 10,
        "converted_within_30d": 15,
        "converted_within_90d": 19,
        "converted_within_180d": 22,
        "converted_within_365d": 24,
        "days_to_convert": 37.5,
        "conversion": 0.25,
        "conversion_low": low,
        "conversion_high": high,
        "small_sample": False,
        "mature_cases": 60,
        "mature_converted_90d": 12,
    }


@pytest.mark.parametrize("counted", [{}, {"cases": 3, "withdrawn": 3}])
def test_with_no_case_that_stands_there_is_no_conversion(counted: dict[str, int]) -> None:
    found = row(**counted)
    assert found["conversion"] is found["conversion_low"] is found["conversion_high"] is None
    assert found["small_sample"] is True


@pytest.mark.parametrize(("cases", "small"), [(29, True), (30, False), (40, True)])
def test_withdrawn_cases_make_no_sample(cases: int, small: bool) -> None:
    assert row(cases=cases, withdrawn=11 if cases == 40 else 0)["small_sample"] is small


@pytest.mark.parametrize(("hours", "days"), [(1, 1), (24, 1), (25, 2), (168, 7), (2160, 90)])
def test_a_window_covers_whole_days(hours: int, days: int) -> None:
    assert window_days(Window("w", hours)) == days


def test_a_day_is_mature_once_all_its_cases_have_had_ninety_days() -> None:
    day = 20_000
    assert not is_mature(day, (day + 91) * US_PER_DAY - 1)
    assert is_mature(day, (day + 91) * US_PER_DAY)


def test_groups_are_named_by_what_rows_are_told_apart_by() -> None:
    assert set(group_names(())) == {()}
    assert len(set(group_names(DIMENSIONS))) == GROUPS == 84
    assert set(group_names(("score",))) == {(7,), (8,)}
    assert len(COUNTER_NAMES) + 2 == ROW_COUNTERS
