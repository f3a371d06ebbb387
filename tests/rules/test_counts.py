from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.times import MAX_US, MIN_US, US_PER_DAY, US_PER_HOUR, parse_rfc3339
from streams.rules.counts import ANSWERS, COUNTERS, answered_cells, cells, day_of, hour_of, oldest_day_kept
from streams.rules.journey import ANSWERED, OF_ENDED_CASE, Answer, with_marks


def answer(score: int, at: str, csat: int | None = None) -> Answer:
    return Answer("r1", 0, score, parse_rfc3339(at), {}, csat)


@pytest.mark.parametrize(
    ("score", "at", "csat", "expected"),
    [
        (3, "2026-11-22T00:00:00Z", None, ((0, 1),)),
        (7, "2026-11-22T00:59:59.999999Z", None, ((1, 1),)),
        (8, "2026-11-22T01:00:00Z", None, ((9, 1),)),
        (10, "2026-11-22T23:30:00Z", 5, ((23 * 7 + 3, 1), (23 * 7 + 4, 1), (23 * 7 + 5, 5))),
        (0, "2026-11-22T10:00:00+02:00", 1, ((56, 1), (60, 1), (61, 1))),
        (9, "1969-12-31T22:00:00Z", None, ((22 * 7 + 3, 1),)),
    ],
)
def test_cells(score: int, at: str, csat: int | None, expected: tuple[tuple[int, int], ...]) -> None:
    assert cells(answer(score, at, csat)) == expected


@given(st.integers(MIN_US, MAX_US), st.integers(0, 10), st.none() | st.integers(1, 5))
def test_an_answered_one_counts_one_more(at: int, score: int, csat: int | None) -> None:
    plain = Answer("r1", 0, score, at, {}, csat)
    for marks in (ANSWERED, ANSWERED | OF_ENDED_CASE):
        assert cells(with_marks(plain, marks)) == (*cells(plain), *answered_cells(plain))
    assert cells(with_marks(plain, OF_ENDED_CASE)) == cells(plain)
    assert [cell % COUNTERS for cell, _ in answered_cells(plain)] == [ANSWERS]


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
