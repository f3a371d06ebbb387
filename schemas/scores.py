"""One published score: a survey's segment over a rolling window."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from schemas.fields import Instant, SurveyId

Count: TypeAlias = Annotated[int, Field(ge=0)]
Nps: TypeAlias = Annotated[float, Field(ge=-100, le=100)]


class ScoreRow(BaseModel):
    """A row of `nps.segment-scores` and of `/v1/scores`. Nothing is rounded; with no responses, no score but null."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", title="Score row", use_attribute_docstrings=True
    )

    survey_id: SurveyId
    """The survey."""
    segment: Annotated[str, Field(min_length=1)]
    """`all`, `name=value`, or a cross such as `country=NO+industry=bank`; `%` and `+` of a value are `%25`, `%2B`."""
    window: Annotated[str, Field(min_length=1)]
    """The window's name, such as `7d`."""
    as_of: Instant
    """When the window was evaluated: it holds the clock hour (UTC) of this instant and the hours before it."""
    responses: Count
    """All counted responses in the window."""
    promoters: Count
    """Scores 9 and 10."""
    passives: Count
    """Scores 7 and 8."""
    detractors: Count
    """Scores 0 to 6."""
    sevens: Count
    """Scores 7."""
    eights: Count
    """Scores 8."""
    nps: Nps | None
    """100 times (promoters - detractors) / responses."""
    nps_low: Nps | None
    """Lower bound of the 95 % interval (adjusted Wald)."""
    nps_high: Nps | None
    """Upper bound of the 95 % interval (adjusted Wald)."""
    passive_share: Annotated[float, Field(ge=0, le=1)] | None
    """Passives / responses."""
    csat_mean: Annotated[float, Field(ge=1, le=5)] | None
    """Mean satisfaction; null when nobody gave any."""
    csat_responses: Count
    """Responses with a satisfaction."""
    small_sample: bool
    """Whether there are fewer than 30 responses."""
    answered: Count
    """Responses whose customer somebody has contacted about them."""
    answered_share: Annotated[float, Field(ge=0, le=1)] | None
    """Answered / responses."""
