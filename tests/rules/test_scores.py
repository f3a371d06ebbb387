"""Scores and their bounds, against an independent computation in exact fractions and 60-digit decimals."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.rules.scores import bounds, score, score_row
from tests.rules.build import NOW_US

counts = st.integers(0, 10**7)


def exact_bounds(responses: int, promoters: int, detractors: int) -> tuple[Decimal, Decimal]:
    adjusted = responses + 3
    p = (promoters + Fraction(3, 4)) / adjusted
    d = (detractors + Fraction(3, 4)) / adjusted
    variance = (p + d - (p - d) ** 2) / adjusted
    with localcontext() as context:
        context.prec = 60
        margin = Decimal("1.959964") * (Decimal(variance.numerator) / variance.denominator).sqrt()
        centre = Decimal((p - d).numerator) / (p - d).denominator
        return max(Decimal(-100), 100 * (centre - margin)), min(Decimal(100), 100 * (centre + margin))


@given(counts, counts, counts)
@example(0, 0, 0)
@example(1, 0, 0)
@example(0, 0, 10**7)
def test_bounds_are_the_adjusted_wald_interval(promoters: int, passives: int, detractors: int) -> None:
    responses = promoters + passives + detractors
    low, high = bounds(responses, promoters, detractors)
    exact_low, exact_high = exact_bounds(responses, promoters, detractors)
    assert low == pytest.approx(float(exact_low), abs=1e-9)
    assert high == pytest.approx(float(exact_high), abs=1e-9)
    assert -100 <= low < high <= 100


@given(counts, counts, counts)
def test_bounds_mirror_when_promoters_and_detractors_change_places(promoters: int, rest: int, detractors: int) -> None:
    responses = promoters + rest + detractors
    low, high = bounds(responses, promoters, detractors)
    assert bounds(responses, detractors, promoters) == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize(
    ("responses", "promoters", "detractors", "low", "high"),
    [
        # By hand: n' = 4, p = 0.4375, d = 0.1875, the root is 0.375; 100 * (0.25 ± 0.7349865).
        (1, 1, 0, -48.49865, 98.49865),
        # n' = 103, p = 50.75 / 103, d = 20.75 / 103.
        (100, 50, 20, 14.05113, 44.201297),
        # Nobody but promoters: the plain interval would be the point 100.
        (10, 10, 0, 47.503551, 100.0),
        (10, 0, 10, -100.0, -47.503551),
        # Nobody but passives: around 0, not the point 0.
        (30, 0, 0, -7.274109, 7.274109),
    ],
)
def test_known_bounds(responses: int, promoters: int, detractors: int, low: float, high: float) -> None:
    assert bounds(responses, promoters, detractors) == pytest.approx((low, high), abs=1e-5)


def test_a_score_of_everything() -> None:
    found = score((20, 10, 20, 50, 40, 130, 25))
    assert found._asdict() == {
        "responses": 100,
        "promoters": 50,
        "passives": 30,
        "detractors": 20,
        "sevens": 10,
        "eights": 20,
        "nps": 30.0,
        "nps_low": bounds(100, 50, 20)[0],
        "nps_high": bounds(100, 50, 20)[1],
        "passive_share": 0.3,
        "csat_mean": 3.25,
        "csat_responses": 40,
        "small_sample": False,
        "answered": 25,
        "answered_share": 0.25,
    }


def test_without_responses_everything_that_divides_is_null() -> None:
    found = score((0, 0, 0, 0, 0, 0, 0))
    assert found.nps is found.nps_low is found.nps_high is found.passive_share is found.csat_mean is None
    assert found.answered_share is None
    assert (found.responses, found.passives, found.csat_responses, found.small_sample) == (0, 0, 0, True)


def test_without_satisfaction_answers_only_their_mean_is_null() -> None:
    found = score((0, 1, 0, 0, 0, 0, 0))
    assert found.csat_mean is None
    assert (found.nps, found.passive_share) == (0.0, 1.0)


@pytest.mark.parametrize(("responses", "small"), [(0, True), (1, True), (29, True), (30, False)])
def test_fewer_than_thirty_are_a_small_sample(responses: int, small: bool) -> None:
    assert score((responses, 0, 0, 0, 0, 0, 0)).small_sample is small


@given(counts, counts, counts, counts)
def test_nothing_is_rounded(detractors: int, sevens: int, eights: int, promoters: int) -> None:
    found = score((detractors, sevens, eights, promoters, 0, 0, 0))
    if found.responses:
        assert found.nps == pytest.approx(float(Fraction(100 * (promoters - detractors), found.responses)), rel=1e-15)
        assert found.passive_share == float(Fraction(sevens + eights, found.responses))
        assert type(found.nps) is float


@given(st.tuples(counts, counts, counts, counts), st.integers(0, 1000), st.data())
def test_every_score_is_a_valid_row(scores: tuple[int, int, int, int], csat: int, data: st.DataObject) -> None:
    total = data.draw(st.integers(csat, 5 * csat))
    row = score_row("relational", "country=NO", "7d", NOW_US, (*scores, csat, total, sum(scores)))
    assert (row.survey_id, row.segment, row.window, row.as_of) == ("relational", "country=NO", "7d", NOW_US)
    assert row.responses == sum(scores)
    assert row.csat_responses == csat


@pytest.mark.parametrize(("responses", "total", "mean"), [(2, 9, 4.5), (1, 9, 5.0), (3, 1, 1.0), (0, 4, None)])
def test_the_mean_satisfaction_is_on_its_scale_also_where_a_row_was_begun_anew(
    responses: int, total: int, mean: float | None
) -> None:
    """Of a row that was dropped and begun anew, more can be taken back than it holds."""
    assert score_row("s", "all", "1d", NOW_US, (0, 0, 0, 3, 0, 0, 9)).answered_share == 1
    assert score_row("s", "all", "1d", NOW_US, (0, 0, 0, 3, responses, total, 9)).csat_mean == mean
