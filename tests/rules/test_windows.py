from __future__ import annotations

import random

import pytest

from schemas.times import US_PER_HOUR, parse_rfc3339
from streams.rules.counts import hour_of
from streams.rules.windows import Window, parse_windows


def test_the_defaults() -> None:
    assert parse_windows("1d,7d,30d,90d", 400) == (
        Window("1d", 24),
        Window("7d", 168),
        Window("30d", 720),
        Window("90d", 2160),
    )


def test_hours_days_spaces_and_order() -> None:
    assert parse_windows(" 12h , 1d,24h", 400) == (Window("12h", 12), Window("1d", 24), Window("24h", 24))


@pytest.mark.parametrize("text", ["400d", "9600h"])
def test_up_to_the_retention_inclusive(text: str) -> None:
    assert parse_windows(text, 400)[0].hours == 9600


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "''"),
        ("1d,", "''"),
        ("0d", "'0d'"),
        ("01d", "'01d'"),
        ("1w", "'1w'"),
        ("d", "'d'"),
        ("-1d", "'-1d'"),
        ("1.5d", "'1.5d'"),
        ("1D", "'1D'"),
        ("1 d", "'1 d'"),
        ("\u0661d", "'\u0661d'"),
        ("1d\n7d", r"'1d\\n7d'"),
        ("1d,7d,1d", "1d is named twice"),
        ("401d", "401d is longer than the 400 days"),
        ("9601h", "9601h is longer than the 400 days"),
        ("9" * 5000 + "d", "9d' is not a number"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_windows(text, 400)


def test_a_window_is_the_hour_of_now_and_those_before_it() -> None:
    at = parse_rfc3339("2026-11-22T12:34:56Z")
    day = Window("1d", 24)
    assert day.last_hour(at) * US_PER_HOUR == parse_rfc3339("2026-11-22T12:00:00Z")
    assert day.first_hour(at) * US_PER_HOUR == parse_rfc3339("2026-11-21T13:00:00Z")
    hour = Window("1h", 1)
    assert hour.first_hour(at) == hour.last_hour(at)


def test_windows_roll_on_the_hour() -> None:
    window = Window("2h", 2)
    before, on = parse_rfc3339("2026-11-22T12:59:59.999999Z"), parse_rfc3339("2026-11-22T13:00:00Z")
    assert window.first_hour(on) == window.first_hour(before) + 1
    assert window.last_hour(on) == window.last_hour(before) + 1


@pytest.mark.parametrize("seed", range(5))
def test_sums_over_hours_are_those_of_the_answers_themselves(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    base = parse_rfc3339("2026-11-22T00:00:00Z")
    times = [base - rng.randrange(60 * US_PER_HOUR) for _ in range(300)]
    times += [base - hours * US_PER_HOUR - rng.choice((0, 1)) for hours in range(60)]
    by_hour: dict[int, int] = {}
    for time in times:
        by_hour[hour_of(time)] = by_hour.get(hour_of(time), 0) + 1
    for hours in (1, 2, 24, 59):
        window, now = Window("w", hours), base - rng.randrange(5 * US_PER_HOUR)
        begin = now - now % US_PER_HOUR - (hours - 1) * US_PER_HOUR
        end = now - now % US_PER_HOUR + US_PER_HOUR
        found = sum(by_hour.get(hour, 0) for hour in range(window.first_hour(now), window.last_hour(now) + 1))
        assert found == sum(begin <= time < end for time in times)
