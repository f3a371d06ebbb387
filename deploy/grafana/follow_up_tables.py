"""Rows of the follow-up dashboard that compare: reasons, actions, 7s and 8s, segments."""

from __future__ import annotations

from typing import Final

from deploy.grafana.cases import (
    BY_GROUP,
    IN_TIME,
    cases,
    contact_share,
    conversion,
    conversion_bound,
    days_to_convert,
    overdue_share,
)
from deploy.grafana.follow_up_looks import (
    CONVERSION_COLOURS,
    CONVERSION_STEPS,
    COVERAGE_STEPS,
    DAYS_COLOURS,
    DAYS_STEPS,
    NO_CASE,
    NONE_CONVERTED,
    OVERDUE_STEPS,
    SAMPLE_STEPS,
)
from deploy.grafana.panels import AnyPanel, Query, column_look, columns, gauges, lines
from deploy.grafana.variables import DEPLOYMENT
from streams.rules.scores import SMALL_SAMPLE_RESPONSES

SURVEY: Final = f'{DEPLOYMENT}, survey="$survey"'
EVERYBODY: Final = f'{SURVEY}, window="$window"'
COMPARED: Final = f'{SURVEY}, segment=~"$dimension=[^+]*", window="$window"'

SAMPLE_COLOURS: Final = f"Cases: red below {SMALL_SAMPLE_RESPONSES}, green from 400."


def by_group() -> list[AnyPanel]:
    """What converts: everybody's cases by reason, action and score."""
    over_time = lines(
        Query(conversion(EVERYBODY, "score", metric=BY_GROUP), "{{score}}"),
        title="Conversion of 7s and of 8s",
        description="The rolling conversion of cases that a 7 opened and of those that an 8 did: cohorts, each case "
        "counted where it opened. Look at their intervals beside it. Dashed: 5 % and 15 %.",
        unit="percentunit",
        decimals=1,
        steps=CONVERSION_STEPS,
        limits=True,
        no_value=NO_CASE,
        width=7,
        height=8,
    )
    return [
        _groups(
            "reason",
            "Conversion by reason",
            "By why the customer was passive, as the answers or the CRM have it; unknown: nobody said.",
            width=12,
            height=9,
        ),
        _groups(
            "action",
            "Conversion by action",
            "By what was done, as the CRM reports it; none: no action was reported. Not an experiment: who gets "
            "what may differ from the start.",
            width=12,
            height=9,
        ),
        _groups("score", "7 against 8", "By the score that opened the case.", width=10, height=8),
        over_time.min(0),
        gauges(
            Query(days_to_convert(SURVEY, "window"), "{{window}}"),
            title="Days to convert",
            description="Mean days from the detection to the answer that made a promoter, of the converted cases that "
            "opened in each window. A short window can only hold quick ones. "
            f"{DAYS_COLOURS}",
            unit="suffix: days",
            decimals=1,
            steps=DAYS_STEPS,
            no_value=NONE_CONVERTED,
            width=7,
            height=8,
        ).min(0),
    ]


def _groups(label: str, title: str, description: str, *, width: int, height: int) -> AnyPanel:
    """A table with a row for each value of the label."""
    return columns(
        {
            "cases": cases(EVERYBODY, label, metric=BY_GROUP),
            "contacted": contact_share(EVERYBODY, label, metric=BY_GROUP),
            "conversion": conversion(EVERYBODY, label, metric=BY_GROUP),
            "from": conversion_bound(EVERYBODY, label, "-", metric=BY_GROUP),
            "to": conversion_bound(EVERYBODY, label, "+", metric=BY_GROUP),
            "days": days_to_convert(EVERYBODY, label),
        },
        key=label,
        sorted_by="cases",
        looks={
            "cases": column_look(SAMPLE_STEPS, "none"),
            "contacted": column_look(COVERAGE_STEPS, "percentunit"),
            "conversion": column_look(CONVERSION_STEPS, "percentunit", 1),
            "days": column_look(DAYS_STEPS, "none", 1),
        },
        title=title,
        description=f"{description} Conversion, out of cases not withdrawn, with its 95 % interval (where intervals "
        f"overlap, it may be chance), and mean days to convert. {CONVERSION_COLOURS} {SAMPLE_COLOURS} {DAYS_COLOURS}",
        unit="percentunit",
        decimals=1,
        steps=CONVERSION_STEPS,
        no_value=NO_CASE,
        width=width,
        height=height,
    )


def by_segment() -> list[AnyPanel]:
    """Simple segments of the chosen names, side by side."""
    return [
        columns(
            {
                "cases": cases(COMPARED, "segment"),
                "contacted": contact_share(COMPARED, "segment"),
                "in time": contact_share(COMPARED, "segment", IN_TIME),
                "overdue": overdue_share(COMPARED, "segment"),
                "conversion": conversion(COMPARED, "segment"),
                "from": conversion_bound(COMPARED, "segment", "-"),
                "to": conversion_bound(COMPARED, "segment", "+"),
            },
            key="segment",
            sorted_by="cases",
            looks={
                "cases": column_look(SAMPLE_STEPS, "none"),
                "contacted": column_look(COVERAGE_STEPS, "percentunit"),
                "in time": column_look(COVERAGE_STEPS, "percentunit"),
                "overdue": column_look(OVERDUE_STEPS, "percentunit"),
                "conversion": column_look(CONVERSION_STEPS, "percentunit", 1),
            },
            title="Follow-up by segment, in the chosen window",
            description="Cases, coverage, overdue share, and conversion with its 95 % interval. Conversion: red below "
            f"5 %, green from 15 %. {SAMPLE_COLOURS}",
            unit="percentunit",
            decimals=1,
            steps=CONVERSION_STEPS,
            no_value=NO_CASE,
            width=24,
            height=12,
        )
    ]
