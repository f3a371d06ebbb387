"""The tables themselves: complete, and what other places say of them is the same."""

from __future__ import annotations

from itertools import product
from typing import get_args

from schemas.events import PASSIVE_DETECTED, Change, Trigger
from streams.rules.category import CATEGORY_OF_SCORE, DETRACTOR, PASSIVE, PROMOTER, SCORES
from streams.rules.transitions import (
    AMENDMENTS,
    CLOSES,
    CONFIGURABLE_CHANGES,
    NO_SCORE,
    NONE,
    OPENS,
    TRANSITION_OF_SCORES,
    TRANSITIONS,
    amendment,
)

CATEGORIES = (DETRACTOR, PASSIVE, PROMOTER)


def test_each_pair_of_categories_has_exactly_one_row() -> None:
    pairs = [(row.before, row.after) for row in TRANSITIONS]
    assert sorted(pairs) == sorted(product((NONE, *CATEGORIES), CATEGORIES))


def test_into_passive_opens_and_out_of_passive_closes() -> None:
    for row in TRANSITIONS:
        assert row.detection is (OPENS if row.after == PASSIVE else CLOSES)
        assert (row.publishes == PASSIVE_DETECTED) == (row.after == PASSIVE)


def test_the_lookup_by_scores_is_the_table() -> None:
    for before, after in product((*SCORES, NO_SCORE), SCORES):
        row = TRANSITION_OF_SCORES[before][after]
        assert row.before == (NONE if before == NO_SCORE else CATEGORY_OF_SCORE[before])
        assert row.after == CATEGORY_OF_SCORE[after]
        assert row in TRANSITIONS


def test_an_amendment_acts_only_on_open_to_not_passive_and_on_not_passive_to_passive() -> None:
    found = {
        (before, is_open, after): row.label
        for before, is_open, after in product(CATEGORIES, (False, True), CATEGORIES)
        if (row := amendment(before, is_open, after)) is not None
    }
    assert found == {
        (PASSIVE, True, DETRACTOR): "corrected",
        (PASSIVE, True, PROMOTER): "corrected",
        (DETRACTOR, False, PASSIVE): "corrected",
        (PROMOTER, False, PASSIVE): "corrected",
    }


def test_labels_are_those_of_the_schemas() -> None:
    triggers = {row.label for row in (*TRANSITIONS, *AMENDMENTS) if row.publishes == PASSIVE_DETECTED}
    assert sorted(triggers) == sorted(get_args(Trigger))
    assert sorted(CONFIGURABLE_CHANGES) == sorted(get_args(Change))
