"""When people answer: a Poisson stream whose rate follows the hour of the day and the day of the week (UTC)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from schemas.times import US_PER_DAY, US_PER_HOUR


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Relative rates of the 24 hours (from midnight UTC) and the 7 weekdays (from Monday); each averages 1."""

    hours: tuple[float, ...]
    weekdays: tuple[float, ...]

    def __post_init__(self) -> None:
        assert len(self.hours) == 24, "one weight for each hour of the day"
        assert len(self.weekdays) == 7, "one weight for each day of the week"

    def at(self, time_us: int) -> float:
        """The rate at a time, relative to the average rate."""
        return self.hours[time_us % US_PER_DAY // US_PER_HOUR] * self.weekdays[(time_us // US_PER_DAY + 3) % 7]

    def mean(self, start_us: int, end_us: int) -> float:
        """The average of a period, to the hour: a fortnight that begins on a Saturday has more weekend than most."""
        hours = range(start_us, max(end_us, start_us + 1), US_PER_HOUR)
        return sum(map(self.at, hours)) / len(hours)

    @property
    def peak(self) -> float:
        """The highest relative rate."""
        return max(self.hours) * max(self.weekdays)


def _averaging_one(weights: tuple[float, ...]) -> tuple[float, ...]:
    mean = sum(weights) / len(weights)
    return tuple(weight / mean for weight in weights)


OFFICE_HOURS = Rhythm(
    hours=_averaging_one((1, 1, 1, 1, 2, 5, 14, 32, 40, 38, 33, 27, 34, 36, 32, 22, 12, 9, 10, 11, 8, 5, 3, 2)),
    weekdays=_averaging_one((1.1, 1.25, 1.2, 1.1, 0.9, 0.3, 0.35)),
)
"""Most answers come in European working hours, few at night and at weekends."""

STEADY = Rhythm(hours=(1.0,) * 24, weekdays=(1.0,) * 7)
"""The same rate always: load, and a demonstration at any time of day."""


def arrivals(rng: Random, start_us: int, per_day: float, rhythm: Rhythm) -> Iterator[int]:
    """Endless answer times in µs, ascending, `per_day` on average: thinned from a Poisson stream at the peak rate."""
    mean_gap_us = US_PER_DAY / (per_day * rhythm.peak)
    peak = rhythm.peak
    time_us = float(start_us)
    while True:
        time_us += rng.expovariate(1.0) * mean_gap_us
        if rng.random() * peak <= rhythm.at(int(time_us)):
            yield int(time_us)
