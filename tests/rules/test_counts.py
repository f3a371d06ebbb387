from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.times import MAX_US, MIN_US, US_PER_DAY, US_PER_HOUR, parse_rfc3339
from streams.rules.counts import COUNTERS, cells, day_of, hour_of, oldest_day_kept
from streams.rules.journey import Answer


def answer(score: int, at: str, csat: int | None = None) -> Answer:
    return Answer("r1", 0, score, parse_rfc3339(at), {}, csat)


@pytest.mark.parametrize(
    ("score", "at", "csat", "expected"),
    [
        (3, "2026-11-22T00:00:00Z", None, ((0, 1),)),
        (7, "2026-11-22T00:59:59.999999Z", None, ((1, 1),)),
        (8, "2026-11-22T01:00:00Z", None, ((8, 1),)),
        (10, "2026-11-22T23:30:00Z", 5, ((141, 1), (142, 1), (143, 5))),
        (0, "2026-11-22T10:00:00+02:00", 1, ((48, 1), (52, 1), (53, 1))),
        (9, "1969-12-31T22:00:00Z", None, ((135, 1),)),
    ],
)
def test_cells(score: int, at: str, csat: int | None, expected: tuple[tuple[int, int], ...]) -> None:
    assert cells(answer(score, at, csat)) == expected


def test_days_and_hours_are_whole_also_before_1970() -> None:
    assert (day_of(0), day_of(US_PER_DAY - 1), day_of(US_PER_DAY), day_of(-1)) == (0, 0, 1, -1)
    assert (hour_of(0), hour_of(US_PER_HOUR - 1), hour_of(US_PER_HOUR), hour_of(-1)) == (0, 0, 1, -1)


@given(st.integers(MIN_US, MAX_US), st.integers(0, 10), st.none() | st.integers(1, 5))
def test_day_and_cell_together_are_the_clock_hour(at: int, score: int, csat: int | None) -> None:
    found = cells(Answer("r1", 0, score, at, {}, csat))
    assert {day_of(at) * 24 + cell // COUNTERS for cell, _ in found} == {hour_of(at)}
    assert all(0 <= cell < 24 * COUNTERS for cell, _ in found)


@given(st.integers(0, MAX_US), st.integers(1, 1000))
def test_a_day_is_dropped_once_all_of_it_is_over_the_retention(now_us: int, retention_days: int) -> None:
    retention_us = retention_days * US_PER_DAY
    kept = oldest_day_kept(now_us, retention_us)
    last_of_it = (kept + 1) * US_PER_DAY - 1
    assert now_us - last_of_it <= retention_us
    assert now_us - (last_of_it - US_PER_DAY) > retention_us
