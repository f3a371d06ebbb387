"""The score row: its fields in order, unrounded numbers, null where there is nothing to say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.scores import ScoreRow

ROW: dict[str, Any] = {
    "survey_id": "relationship",
    "segment": "country=NO+industry=bank%2Bfinance",
    "window": "7d",
    "as_of": "2026-11-22T09:30:00Z",
    "responses": 3,
    "promoters": 1,
    "passives": 1,
    "detractors": 1,
    "sevens": 1,
    "eights": 0,
    "nps": 33.333333333333336,
    "nps_low": -62.08234567890123,
    "nps_high": 96.0,
    "passive_share": 0.3333333333333333,
    "csat_mean": 3.5,
    "csat_responses": 2,
    "small_sample": True,
    "answered": 1,
    "answered_share": 0.3333333333333333,
}
NULL_WITHOUT_RESPONSES = ("nps", "nps_low", "nps_high", "passive_share", "csat_mean", "answered_share")


def test_fields_in_order_read_and_written_back_unrounded() -> None:
    assert list(ScoreRow.model_fields) == list(ROW)
    assert json.loads(ScoreRow.model_validate_json(json.dumps(ROW)).model_dump_json()) == ROW
    assert list(json.loads(ScoreRow.model_validate_json(json.dumps(ROW)).model_dump_json())) == list(ROW)


def test_no_responses_no_score() -> None:
    empty = {**ROW, **dict.fromkeys(NULL_WITHOUT_RESPONSES)}
    assert json.loads(ScoreRow.model_validate_json(json.dumps(empty)).model_dump_json()) == empty


@pytest.mark.parametrize("field", ROW)
def test_every_field_is_there_and_only_scores_may_be_null(field: str) -> None:
    with pytest.raises(ValidationError):
        ScoreRow.model_validate_json(json.dumps({name: value for name, value in ROW.items() if name != field}))
    if field not in NULL_WITHOUT_RESPONSES:
        with pytest.raises(ValidationError):
            ScoreRow.model_validate_json(json.dumps({**ROW, field: None}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nps", 100.1),
        ("nps_low", -100.1),
        ("passive_share", 1.1),
        ("csat_mean", 0.9),
        ("responses", -1),
        ("responses", 1.5),
    ],
)
def test_numbers_stay_in_their_range(field: str, value: float) -> None:
    with pytest.raises(ValidationError):
        ScoreRow.model_validate_json(json.dumps({**ROW, field: value}))
