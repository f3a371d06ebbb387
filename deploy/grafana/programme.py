"""The dashboard of those who run the NPS programme: scores, passive customers, what becomes of them, segments."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import StackingMode

from deploy.grafana import variables
from deploy.grafana.counters import increase, per_hour
from deploy.grafana.panels import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    SOME_STEPS,
    YELLOW,
    AnyPanel,
    Query,
    Steps,
    add_row,
    coloured_text,
    columns,
    fixed,
    gauges,
    heat_map,
    lines,
    new_dashboard,
    number,
    option,
    stacked_bars,
    thresholds,
)
from deploy.grafana.scores import (
    DETRACTORS,
    EIGHTS,
    PASSIVES,
    PROMOTERS,
    SEVENS,
    nps,
    nps_bound,
    responses,
    share,
)
from deploy.grafana.variables import DEPLOYMENT
from streams.rules.scores import SMALL_SAMPLE_RESPONSES

UID: Final = "nps-programme"

SURVEY: Final = f'{DEPLOYMENT}, survey="$survey"'
CHOSEN: Final = f'{SURVEY}, segment=~"$segment", window="$window"'
ALL_WINDOWS: Final = f'{SURVEY}, segment=~"$segment"'
COMPARED: Final = f'{SURVEY}, segment=~"$dimension=[^+]*"'

NPS_STEPS: Final[Steps] = ((None, RED), (0, YELLOW), (20, GREEN), (50, "dark-green"))
HEAT_STEPS: Final[Steps] = ((None, "dark-red"), (-10, RED), (0, ORANGE), (10, YELLOW), (20, GREEN), (50, "dark-green"))
NPS_COLOURS: Final = "Red below 0 (more detractors than promoters), green from 20, dark green from 50."
SAMPLE_STEPS: Final[Steps] = ((None, RED), (SMALL_SAMPLE_RESPONSES, YELLOW), (400, GREEN))
HALF_STEPS: Final[Steps] = ((None, BLUE), (0.5, YELLOW))
CORRECTED_STEPS: Final[Steps] = ((None, "text"), (1, YELLOW))
CONVERSION_STEPS: Final[Steps] = ((None, RED), (0.05, YELLOW), (0.15, GREEN))

NOBODY_ANSWERED: Final = "No responses in this window, or a partition is changing hands"
NOT_SCRAPED: Final = "Nothing is scraped from the workers"

COLOURS: Final = {"detractors": "#C4473A", "7": "#E0B040", "8": "#A3C255", "promoters": "#2F7D4F"}
PASSIVE_COLOURS: Final = {score: COLOURS[score] for score in ("7", "8")}


def _now() -> list[AnyPanel]:
    """The figures of one segment, as they are now."""
    return [
        number(
            Query(nps(CHOSEN, "segment"), "NPS"),
            title="NPS",
            description=f"100 · (promoters - detractors) / responses of the rolling window. {NPS_COLOURS}",
            unit="none",
            decimals=1,
            steps=NPS_STEPS,
            no_value=NOBODY_ANSWERED,
            width=5,
            height=5,
        ),
        number(
            Query(nps_bound(CHOSEN, "segment", "-"), "from"),
            Query(nps_bound(CHOSEN, "segment", "+"), "to"),
            title="95 % interval of the NPS",
            description="The range of NPS that the sample allows for, with 95 % confidence (adjusted Wald). Segments "
            f"whose intervals overlap need not differ. {NPS_COLOURS}",
            unit="none",
            decimals=1,
            steps=NPS_STEPS,
            no_value=NOBODY_ANSWERED,
            width=6,
            height=5,
        ),
        number(
            Query(responses(CHOSEN, "segment"), "responses"),
            title="Responses",
            description=f"Sample of the rolling window. Red below {SMALL_SAMPLE_RESPONSES}: look at the interval "
            "before the number. Green from 400, where the interval reaches 10 points at most to either side. "
            "Alert: NpsSurveySilent.",
            unit="none",
            steps=SAMPLE_STEPS,
            no_value=NOBODY_ANSWERED,
            width=4,
            height=5,
        ),
        number(
            Query(share(CHOSEN, "segment", PASSIVES), "passive"),
            title="Passive share",
            description="7s and 8s out of all responses of the window. Yellow from a half: more customers are passive "
            "than detractors and promoters together.",
            unit="percentunit",
            decimals=0,
            steps=HALF_STEPS,
            no_value=NOBODY_ANSWERED,
            width=4,
            height=5,
        ),
        number(
            Query(share(CHOSEN, "segment", SEVENS, PASSIVES), "7"),
            Query(share(CHOSEN, "segment", EIGHTS, PASSIVES), "8"),
            title="7s and 8s among the passives",
            description="Out of the passive responses of the window. An 8 is one point from a promoter, a 7 is one "
            "point from a detractor. Yellow: the greater half.",
            unit="percentunit",
            decimals=0,
            steps=HALF_STEPS,
            no_value="No passive responses in this window, or a partition is changing hands",
            width=5,
            height=5,
        ),
    ]


def _trend() -> list[AnyPanel]:
    """How one segment came to where it is."""
    interval = lines(
        Query(nps(CHOSEN, "segment"), "NPS"),
        Query(nps_bound(CHOSEN, "segment", "-"), "from"),
        Query(nps_bound(CHOSEN, "segment", "+"), "to"),
        title="NPS with its 95 % interval",
        description="The rolling NPS at each moment and its interval as a band. A change within the band may be "
        "chance. Dashed: 0 and 20, as in the figure above. Alert: NpsScoreDropped.",
        unit="none",
        decimals=1,
        steps=NPS_STEPS,
        limits=True,
        no_value=NOBODY_ANSWERED,
        width=10,
        height=9,
    )
    band = [fixed("#5B8DB8"), option("custom.lineWidth", 0), option("custom.fillOpacity", 0)]
    interval.override_by_name("NPS", [fixed("#1F60A8"), option("custom.lineWidth", 2), option("custom.fillOpacity", 0)])
    interval.override_by_name("from", band)
    to = [option("custom.fillBelowTo", "from"), option("custom.fillOpacity", 20)]
    interval.override_by_name("to", [*band[:2], *to])
    of_windows = lines(
        Query(nps(ALL_WINDOWS, "window"), "{{window}}"),
        title="NPS in each window",
        description="Short windows move first: a short one below the longer ones says that it is getting worse. They "
        f"are also the noisiest. {NPS_COLOURS}",
        unit="none",
        decimals=1,
        steps=NPS_STEPS,
        limits=True,
        no_value="No responses in any window, or a partition is changing hands",
        width=7,
        height=9,
    )
    categories = {"detractors": DETRACTORS, "7": SEVENS, "8": EIGHTS, "promoters": PROMOTERS}
    split = lines(
        *(Query(share(CHOSEN, "segment", category), name) for name, category in categories.items()),
        title="Detractors, 7s, 8s, promoters",
        description="Shares of the window's responses. 7s and 8s are told apart: they are different customers. The "
        "thresholds, at a half, say which of the four has a majority.",
        unit="percentunit",
        decimals=0,
        steps=HALF_STEPS,
        stacked=StackingMode.NORMAL,
        colours=COLOURS,
        no_value=NOBODY_ANSWERED,
        width=7,
        height=9,
    ).min(0)
    return [interval, of_windows, split.max(1)]


def _passives_in_range() -> list[AnyPanel]:
    """What became of passive customers in the time range on display."""
    found = increase("nps_passive_detected_reasons_total", DEPLOYMENT, "score")
    converted = increase("nps_passive_converted_total", DEPLOYMENT, "score")
    return [
        number(
            Query(found, "{{score}}"),
            title="Passives found",
            description="Customers found to be passive in the time range, by the score given: events "
            "`passive-detected` but those of the trigger still_passive, which find nobody new. Green from 1.",
            unit="none",
            decimals=0,
            steps=SOME_STEPS,
            no_value=NOT_SCRAPED,
            width=6,
            height=5,
        ),
        number(
            Query(converted, "from {{score}}"),
            title="Passives converted",
            description="Events `score-changed` from passive to promoter in the time range, by the passive score "
            "before. Green where there are any.",
            unit="none",
            decimals=0,
            steps=SOME_STEPS,
            no_value=NOT_SCRAPED,
            width=6,
            height=5,
        ),
        gauges(
            Query(
                f"{converted} / ({found} > 0)",
                "from {{score}}",
            ),
            title="Conversions per passive found",
            description="Both in the time range, by passive score; detections that were withdrawn count as found. No "
            "cohort: who converts now was found earlier, so choose a range much longer than the time between two "
            "surveys. Yellow from 5 %, green from 15 %.",
            unit="percentunit",
            decimals=1,
            steps=CONVERSION_STEPS,
            no_value="No passives found in this time range",
            width=6,
            height=5,
        ).min(0),
        number(
            Query(increase("nps_passive_withdrawn_total", DEPLOYMENT, "cause"), "{{cause}}"),
            title="Detections withdrawn",
            description="Events `passive-withdrawn` in the time range: the answer was corrected or the customer "
            "erased. Yellow where there are any: follow-ups to drop.",
            unit="none",
            decimals=0,
            steps=CORRECTED_STEPS,
            no_value=NOT_SCRAPED,
            width=6,
            height=5,
        ),
    ]


def _passives_over_time() -> list[AnyPanel]:
    found = lines(
        Query(per_hour("nps_passive_detected_total", DEPLOYMENT, "trigger"), "{{trigger}}"),
        title="Passives found over time, by trigger",
        description="Events `passive-detected` per hour: a first response, a fall from promoter, a rise from "
        "detractor, still passive after the cooldown, or a corrected answer. Of all surveys. Green from 1 an hour.",
        unit="suffix: /h",
        steps=SOME_STEPS,
        stacked=StackingMode.NORMAL,
        no_value=NOT_SCRAPED,
        width=8,
        height=8,
    )
    converted = lines(
        Query(per_hour("nps_passive_converted_total", DEPLOYMENT, "score"), "from {{score}}"),
        title="Passives converted over time, by score",
        description="Passive customers who became promoters per hour, by the passive score before. Of all surveys. "
        "Green from 1 an hour.",
        unit="suffix: /h",
        steps=SOME_STEPS,
        stacked=StackingMode.NORMAL,
        colours={f"from {score}": colour for score, colour in PASSIVE_COLOURS.items()},
        no_value=NOT_SCRAPED,
        width=8,
        height=8,
    )
    reasons = stacked_bars(
        Query(increase("nps_passive_detected_reasons_total", DEPLOYMENT, "reason, score"), "{{reason}}"),
        row="reason",
        column="score",
        colours=PASSIVE_COLOURS,
        title="Reasons of those found",
        description="Why passives say that they are passive, in the time range, 7s and 8s apart; unknown gave no "
        "reason. Of all surveys. Green where there are any.",
        unit="none",
        decimals=0,
        steps=SOME_STEPS,
        no_value=NOT_SCRAPED,
        width=8,
        height=8,
    )
    return [found.min(0), converted.min(0), reasons]


def _segments() -> list[AnyPanel]:
    coloured = [coloured_text()]
    percent = [option("unit", "percentunit"), option("decimals", 0), thresholds(HALF_STEPS)]
    whole = [option("decimals", 0), thresholds(SAMPLE_STEPS), *coloured]
    compared = f'{COMPARED}, window="$window"'
    return [
        columns(
            {
                "NPS": nps(compared, "segment"),
                "from": nps_bound(compared, "segment", "-"),
                "to": nps_bound(compared, "segment", "+"),
                "responses": responses(compared, "segment"),
                "passive": share(compared, "segment", PASSIVES),
                "8s of passives": share(compared, "segment", EIGHTS, PASSIVES),
            },
            key="segment",
            sorted_by="responses",
            looks={"NPS": coloured, "responses": whole, "passive": percent, "8s of passives": percent},
            title="Segments, in the chosen window",
            description=f"NPS with its 95 % interval, sample, share of passives and of 8s among them. {NPS_COLOURS} "
            f"Samples: red below {SMALL_SAMPLE_RESPONSES}, green from 400.",
            unit="none",
            decimals=1,
            steps=NPS_STEPS,
            no_value=NOBODY_ANSWERED,
            width=13,
            height=14,
        ),
        heat_map(
            Query(nps(COMPARED, "segment, window"), "{{segment}} {{window}}"),
            row="segment",
            column="window",
            columns_first=("1d", "7d", "30d", "90d"),
            title="NPS by segment and window",
            description="Read along a row: from left to right the windows grow longer. "
            "Dark red below -10, red below 0, orange, yellow from 10, green from 20, dark green from 50. Short windows "
            "of small segments are mostly noise: their intervals are in the table beside.",
            unit="none",
            decimals=0,
            steps=HEAT_STEPS,
            no_value="No responses in any window, or a partition is changing hands",
            width=11,
            height=14,
        ),
    ]


def dashboard() -> models.Dashboard:
    """The dashboard `nps-programme`."""
    built = new_dashboard(UID, "NPS programme", "Scores, passive customers found and converted, segments compared.")
    built.time("now-7d", "now").refresh("1m")
    for variable in (
        *(variables.datasource(), variables.job(), variables.namespace(), variables.survey()),
        *(variables.segment(), variables.window(), variables.dimension()),
    ):
        built.with_variable(variable)
    # Grafana repeats the row, with what is below it, for each chosen segment.
    add_row(built, "$survey, $segment, last $window", [*_now(), *_trend()], repeat="segment")
    add_row(built, "Passive customers, of all surveys", [*_passives_in_range(), *_passives_over_time()])
    add_row(built, "Segments of $survey", _segments())
    return built.build()
