"""One published score: a survey's segment over a rolling window."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from schemas.fields import Instant, SurveyId

Count: TypeAlias = Annotated[int, Field(ge=0)]
Nps: TypeAlias = Annotated[float, Field(ge=-100, le=100)]


class ScoreRow(BaseModel):
    """A row of `nps.segment-scores` and of `/v1/scores`. Nothing is rounded; with no responses, no score but null."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", title="Score row")

    survey_id: SurveyId
    segment: Annotated[str, Field(min_length=1)]
    window: Annotated[str, Field(min_length=1)]
    as_of: Instant
    responses: Count
    promoters: Count
    passives: Count
    detractors: Count
    sevens: Count
    eights: Count
    nps: Nps | None
    nps_low: Nps | None
    nps_high: Nps | None
    passive_share: Annotated[float, Field(ge=0, le=1)] | None
    csat_mean: Annotated[float, Field(ge=1, le=5)] | None
    csat_responses: Count
    small_sample: bool
