"""Counters → score: NPS with its bounds, the share of passives, the mean satisfaction. Numbers are not rounded."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Final, NamedTuple

from schemas.scores import ScoreRow

Z_95: Final = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""

SMALL_SAMPLE_RESPONSES: Final = 30
"""Fewer responses than this are a small sample."""


class Score(NamedTuple):
    """What a score row says of its counters, under its names. Null where there is nothing to divide by, never 0."""

    responses: int
    promoters: int
    passives: int
    detractors: int
    sevens: int
    eights: int
    nps: float | None
    nps_low: float | None
    nps_high: float | None
    passive_share: float | None
    """Fraction, 0 to 1."""
    csat_mean: float | None
    csat_responses: int
    small_sample: bool
    answered: int
    answered_share: float | None
    """Fraction, 0 to 1."""


def score(counters: Sequence[int]) -> Score:
    """The score of the seven counters: detractors, sevens, eights, promoters, csat responses, csat sum, answered."""
    detractors, sevens, eights, promoters, csat_responses, csat_sum, answered = counters
    passives = sevens + eights
    responses = detractors + passives + promoters
    nps = low = high = share = answered_share = None
    if responses:
        nps = 100 * (promoters - detractors) / responses
        low, high = bounds(responses, promoters, detractors)
        share = passives / responses
        # Where a row was begun anew, only one of the two was taken back from it.
        answered_share = min(1.0, answered / responses)
    return Score(
        responses,
        promoters,
        passives,
        detractors,
        sevens,
        eights,
        nps,
        low,
        high,
        share,
        # The scale bounds the mean also where a row was begun anew, and only one of the two was taken back from it.
        min(5.0, max(1.0, csat_sum / csat_responses)) if csat_responses else None,
        csat_responses,
        responses < SMALL_SAMPLE_RESPONSES,
        answered,
        answered_share,
    )


def score_row(survey_id: str, segment: str, window: str, as_of_us: int, counters: Sequence[int]) -> ScoreRow:
    """The score of a segment's window, evaluated at `as_of_us`."""
    return ScoreRow(survey_id=survey_id, segment=segment, window=window, as_of=as_of_us, **score(counters)._asdict())


def bounds(responses: int, promoters: int, detractors: int) -> tuple[float, float]:
    """95 % adjusted Wald bounds of the NPS, -100 to 100, low first.

    The adjustment adds three responses, spread evenly over promoters, detractors and twice as many passives, which
    keeps the interval honest for small samples and near ±100, where the plain one collapses to a point.
    """
    adjusted = responses + 3
    p = (promoters + 0.75) / adjusted
    d = (detractors + 0.75) / adjusted
    margin = Z_95 * sqrt((p + d - (p - d) ** 2) / adjusted)
    return max(-100.0, 100 * (p - d - margin)), min(100.0, 100 * (p - d + margin))
