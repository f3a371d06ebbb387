"""Where an answer is counted: the row of its day, the cells of its hour.

One row holds the counts of a (survey, segment, UTC day): a map of cell → count, where
`cell = hour_of_day * 7 + counter`. Absent cells are 0.
"""

from __future__ import annotations

from typing import Final

from schemas.times import US_PER_DAY, US_PER_HOUR
from streams.rules.category import COUNTER_OF_SCORE
from streams.rules.journey import ANSWERED, Answer

# After the four score counters (see category.py).
CSAT_RESPONSES: Final = 4
CSAT_SUM: Final = 5
ANSWERS: Final = 6
"""Answers about which somebody has contacted the customer."""
COUNTERS: Final = 7

HOURS_A_DAY: Final = 24


def hour_of(time_us: int) -> int:
    """The clock hour (UTC) that holds the time, in hours since the epoch."""
    return time_us // US_PER_HOUR


def day_of(time_us: int) -> int:
    """The UTC day that holds the time, in days since the epoch."""
    return time_us // US_PER_DAY


def _cells(hour: int, score: int, csat: int | None, answered: int) -> tuple[tuple[int, int], ...]:
    first = hour * COUNTERS
    made = [(first + COUNTER_OF_SCORE[score], 1)]
    if csat is not None:
        made += [(first + CSAT_RESPONSES, 1), (first + CSAT_SUM, csat)]
    if answered:
        made.append((first + ANSWERS, 1))
    return tuple(made)


_CELLS: Final = [
    {
        (score, csat, answered): _cells(hour, score, csat, answered)
        for score in range(11)
        for csat in (None, *range(1, 6))
        for answered in (0, ANSWERED)
    }
    for hour in range(HOURS_A_DAY)
]


def cells(answer: Answer) -> tuple[tuple[int, int], ...]:
    """The (cell, amount) pairs that counting the answer adds to each row of its day, and taking it back subtracts."""
    hour = answer.responded_at // US_PER_HOUR % HOURS_A_DAY
    return _CELLS[hour][answer.score, answer.csat, answer.marks & ANSWERED]


def answered_cells(answer: Answer) -> tuple[tuple[int, int], ...]:
    """The (cell, amount) pairs that are added for an answer that is counted already when it becomes an answered one."""
    return ((answer.responded_at // US_PER_HOUR % HOURS_A_DAY * COUNTERS + ANSWERS, 1),)


def oldest_day_kept(now_us: int, retention_us: int) -> int:
    """Days before this one are dropped: all of them is more than `retention_us` old. In days since the epoch."""
    return (now_us - retention_us) // US_PER_DAY
