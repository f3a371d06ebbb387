from __future__ import annotations

import pytest

from streams.rules.category import COUNTER_OF_SCORE, DETRACTORS, EIGHTS, PROMOTERS, SEVENS, category


@pytest.mark.parametrize(
    ("score", "expected", "counter"),
    [
        *((score, "detractor", DETRACTORS) for score in range(7)),
        (7, "passive", SEVENS),
        (8, "passive", EIGHTS),
        (9, "promoter", PROMOTERS),
        (10, "promoter", PROMOTERS),
    ],
)
def test_every_score_has_its_category_and_counter(score: int, expected: str, counter: int) -> None:
    assert category(score) == expected
    assert COUNTER_OF_SCORE[score] == counter


def test_a_seven_and_an_eight_are_counted_apart() -> None:
    assert COUNTER_OF_SCORE[7] != COUNTER_OF_SCORE[8]
    assert (DETRACTORS, SEVENS, EIGHTS, PROMOTERS) == (0, 1, 2, 3)  # as stored
