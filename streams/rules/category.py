"""The three categories of an NPS answer, and the counter that a score adds to.

A 7 and an 8 are both passive but have counters of their own: they are never merged in storage.
"""

from __future__ import annotations

from typing import Final

DETRACTOR: Final = "detractor"
PASSIVE: Final = "passive"
PROMOTER: Final = "promoter"

SCORES: Final = range(11)

# The four score counters; two more, of the customer satisfaction answers, follow them in `counts.py`.
DETRACTORS: Final = 0
SEVENS: Final = 1
EIGHTS: Final = 2
PROMOTERS: Final = 3

CATEGORY_OF_SCORE: Final[tuple[str, ...]] = (DETRACTOR,) * 7 + (PASSIVE,) * 2 + (PROMOTER,) * 2
"""Score → category."""

COUNTER_OF_SCORE: Final[tuple[int, ...]] = (DETRACTORS,) * 7 + (SEVENS, EIGHTS) + (PROMOTERS,) * 2
"""Score → index of the counter that it adds one to."""


def category(score: int) -> str:
    """`detractor` (0 to 6), `passive` (7 to 8) or `promoter` (9 to 10)."""
    return CATEGORY_OF_SCORE[score]
