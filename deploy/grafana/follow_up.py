"""The dashboard of those who follow passive customers up: who waits, who was contacted in time, what converts."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import StackingMode

from deploy.grafana import variables
from deploy.grafana.cases import (
    CONVERTED,
    IN_TIME,
    LEFT,
    WITHDRAWN,
    cases,
    contact_share,
    conversion,
    conversion_bound,
    open_now,
    overdue_share,
    still_open,
)
from deploy.grafana.counters import increase, per_hour
from deploy.grafana.follow_up_looks import (
    CONTACT_STEPS,
    CONVERSION_COLOURS,
    CONVERSION_STEPS,
    COVERAGE_COLOURS,
    COVERAGE_STEPS,
    NO_CASE,
    NONE_DUE,
    NOT_SCRAPED,
    OVERDUE_COLOURS,
    OVERDUE_STEPS,
    SAMPLE_STEPS,
    WAITING_STEPS,
)
from deploy.grafana.follow_up_tables import by_group, by_segment
from deploy.grafana.panels import (
    ANY_IS_WRONG_STEPS,
    SOME_STEPS,
    AnyPanel,
    Query,
    add_row,
    fixed,
    gauges,
    lines,
    new_dashboard,
    number,
    option,
)
from deploy.grafana.variables import DEPLOYMENT
from streams.rules.scores import SMALL_SAMPLE_RESPONSES

UID: Final = "nps-follow-up"

SURVEY: Final = f'{DEPLOYMENT}, survey="$survey"'
CHOSEN: Final = f'{SURVEY}, segment=~"$segment", window="$window"'
ALL_WINDOWS: Final = f'{SURVEY}, segment=~"$segment"'

COLOURS: Final = {"converted": "#2F7D4F", "open": "#5B8DB8", "left": "#C4473A", "withdrawn": "#9AA0A6"}


def _contacts(grew: str, over: str) -> list[Query]:
    """So soon came half of the first contacts, and nine in ten."""
    buckets = f"sum by (le) ({grew}(nps_follow_up_contact_seconds_bucket{{{DEPLOYMENT}}}[{over}]))"
    return [Query(f"histogram_quantile({of}, {buckets})", name) for of, name in ((0.5, "half"), (0.9, "nine in ten"))]


def _waiting() -> list[AnyPanel]:
    """Who waits now."""
    over_time = lines(
        Query(open_now(DEPLOYMENT), "{{survey}}"),
        title="Open cases over time, by survey",
        description="Cases that have not ended: the customer is still passive, contacted or not. Of all surveys. A "
        "line that only rises: more are found than become promoters or detractors. Yellow from 1.",
        unit="none",
        decimals=0,
        steps=WAITING_STEPS,
        no_value=NOT_SCRAPED,
        width=10,
        height=8,
    )
    return [
        number(
            Query(open_now(SURVEY), "open"),
            title="Open cases of $survey",
            description="Passive customers whose case has not ended, of those opened while counts are kept (400 days "
            "unless set otherwise). Each is somebody to stay in touch with. Yellow where there are any.",
            unit="none",
            decimals=0,
            steps=WAITING_STEPS,
            no_value="No case of this survey, or a partition is changing hands",
            width=5,
            height=8,
        ),
        gauges(
            Query(still_open(f'{SURVEY}, segment="all"', "window"), "{{window}}"),
            title="Open cases of $survey by age",
            description="Of the cases opened in each rolling window those that are open; a longer window holds the "
            "shorter ones too. Erased customers' cases are among them. Yellow where there are any.",
            unit="none",
            decimals=0,
            steps=WAITING_STEPS,
            no_value=NO_CASE,
            width=9,
            height=8,
        ).min(0),
        over_time.min(0),
    ]


def _now() -> list[AnyPanel]:
    """The figures of one segment's cases, as they are now."""
    return [
        number(
            Query(cases(CHOSEN, "segment"), "cases"),
            title="Cases opened",
            description="Passive customers found whose case opened on the UTC days of the window. Red below "
            f"{SMALL_SAMPLE_RESPONSES}: look at the interval before the conversion. Green from 400.",
            unit="none",
            decimals=0,
            steps=SAMPLE_STEPS,
            no_value=NO_CASE,
            width=4,
            height=5,
        ),
        number(
            Query(contact_share(CHOSEN, "segment"), "contacted"),
            Query(contact_share(CHOSEN, "segment", IN_TIME), "in time"),
            title="Contact coverage",
            description="Cases that somebody contacted, and contacted before they were due, out of those not "
            "withdrawn. The newest may still be in time, so a short window is lower. The share of responses that were "
            f"answered is in `/v1/scores`. {COVERAGE_COLOURS} Alert: NpsContactCoverageLow.",
            unit="percentunit",
            decimals=0,
            steps=COVERAGE_STEPS,
            no_value=NO_CASE,
            width=6,
            height=5,
        ),
        number(
            Query(overdue_share(CHOSEN, "segment"), "overdue"),
            title="Overdue share",
            description="Cases that became overdue, out of those that did or were contacted in time: what is not yet "
            "due is in neither. Nothing where `NPS_FOLLOW_UP_SLA_HOURS` is 0. "
            f"{OVERDUE_COLOURS} Alert: NpsFollowUpsOverdue.",
            unit="percentunit",
            decimals=0,
            steps=OVERDUE_STEPS,
            no_value=NONE_DUE,
            width=4,
            height=5,
        ),
        number(
            Query(conversion(CHOSEN, "segment"), "converted"),
            title="Conversion",
            description="Cases whose customer became a promoter, out of those not withdrawn. Young cases have had less "
            "time; of cases that have all had 90 days: `nps conversions`, or `/v1/conversions`. By reason, action and "
            f"score: below. {CONVERSION_COLOURS}",
            unit="percentunit",
            decimals=1,
            steps=CONVERSION_STEPS,
            no_value=NO_CASE,
            width=4,
            height=5,
        ),
        number(
            Query(conversion_bound(CHOSEN, "segment", "-"), "from"),
            Query(conversion_bound(CHOSEN, "segment", "+"), "to"),
            title="95 % interval of the conversion",
            description="The range of conversion that so many cases allow for, with 95 % confidence (Wilson). Segments "
            f"whose intervals overlap need not differ. {CONVERSION_COLOURS}",
            unit="percentunit",
            decimals=1,
            steps=CONVERSION_STEPS,
            no_value=NO_CASE,
            width=6,
            height=5,
        ),
    ]


def _trend() -> list[AnyPanel]:
    """How one segment came to where it is."""
    covered = lines(
        Query(contact_share(CHOSEN, "segment"), "contacted"),
        Query(contact_share(CHOSEN, "segment", IN_TIME), "in time"),
        Query(overdue_share(CHOSEN, "segment"), "overdue"),
        title="Contacted, in time, overdue",
        description="The rolling shares of the three figures above. Contacted without in time is late; neither is "
        "forgotten, or young. Dashed: a half and 80 %, as for the coverage.",
        unit="percentunit",
        decimals=0,
        steps=COVERAGE_STEPS,
        limits=True,
        colours={"contacted": "#5B8DB8", "in time": "#2F7D4F", "overdue": "#C4473A"},
        no_value=NO_CASE,
        width=8,
        height=9,
    )
    interval = lines(
        Query(conversion(CHOSEN, "segment"), "converted"),
        Query(conversion_bound(CHOSEN, "segment", "-"), "from"),
        Query(conversion_bound(CHOSEN, "segment", "+"), "to"),
        title="Conversion with its 95 % interval",
        description="The rolling conversion at each moment and its interval as a band. A change within the band may be "
        "chance. Dashed: 5 % and 15 %.",
        unit="percentunit",
        decimals=1,
        steps=CONVERSION_STEPS,
        limits=True,
        no_value=NO_CASE,
        width=8,
        height=9,
    )
    band = [fixed("#5B8DB8"), option("custom.lineWidth", 0)]
    plain = [option("custom.lineWidth", 2), option("custom.fillOpacity", 0)]
    interval.override_by_name("converted", [fixed("#1F60A8"), *plain])
    interval.override_by_name("from", [*band, option("custom.fillOpacity", 0)])
    interval.override_by_name("to", [*band, option("custom.fillBelowTo", "from"), option("custom.fillOpacity", 20)])
    ends = {name: cases(CHOSEN, "segment", name) for name in (CONVERTED, LEFT, WITHDRAWN)}
    became = lines(
        *(Query(promql, name) for name, promql in {"open": still_open(CHOSEN, "segment"), **ends}.items()),
        title="What became of the cases",
        description="Of the cases opened in the window: still passive, now promoters, now detractors, and those whose "
        "answer was corrected. Erased customers' cases are among the open ones. Green from 1.",
        unit="none",
        decimals=0,
        steps=SOME_STEPS,
        stacked=StackingMode.NORMAL,
        colours=COLOURS,
        no_value=NO_CASE,
        width=8,
        height=9,
    )
    return [covered.min(0).max(1), interval.min(0), became.min(0)]


def _windows() -> list[AnyPanel]:
    """One segment, windows compared."""
    shares = (
        ("Contact coverage in each window", contact_share, COVERAGE_STEPS, COVERAGE_COLOURS, NO_CASE, 0),
        ("Overdue share in each window", overdue_share, OVERDUE_STEPS, OVERDUE_COLOURS, NONE_DUE, 0),
        ("Conversion in each window", conversion, CONVERSION_STEPS, CONVERSION_COLOURS, NO_CASE, 1),
    )
    return [
        gauges(
            Query(share(ALL_WINDOWS, "window"), "{{window}}"),
            title=title,
            description="As the figure above, of the cases opened in each window. Short windows tell of young cases, "
            f"which have had less time, and of few. {colours}",
            unit="percentunit",
            decimals=decimals,
            steps=steps,
            no_value=no_value,
            width=8,
            height=6,
        ).min(0)
        for title, share, steps, colours, no_value, decimals in shares
    ]


def _came_in() -> list[AnyPanel]:
    """What the CRM sent in the time range, and what that was about."""
    outcomes = lines(
        Query(per_hour("nps_follow_ups_total", DEPLOYMENT, "outcome"), "{{outcome}}"),
        title="Follow-ups over time, by outcome",
        description="Records from the CRM per hour. Matched ones are about an open case, late ones about one that has "
        "ended; unknown_case and dead_letter are kept as dead letters. Green from 1 an hour.",
        unit="suffix: /h",
        steps=SOME_STEPS,
        stacked=StackingMode.NORMAL,
        no_value=NOT_SCRAPED,
        width=12,
        height=8,
    )
    slow = lines(
        *_contacts("rate", "$__rate_interval"),
        title="Time to the first contact",
        description="From the opening of a case to its first contact, of the contacts reported at each moment: so soon "
        "were half of them, and nine in ten. Dashed: a day, and 72 hours, the default of `NPS_FOLLOW_UP_SLA_HOURS`.",
        unit="s",
        decimals=1,
        steps=CONTACT_STEPS,
        limits=True,
        no_value="No first contact at this time",
        width=12,
        height=8,
    )
    return [
        number(
            Query(increase("nps_follow_ups_total", DEPLOYMENT, "outcome"), "{{outcome}}"),
            title="Follow-ups by outcome",
            description="Records from the CRM in the time range, by what became of them. Green where there are any.",
            unit="none",
            decimals=0,
            steps=SOME_STEPS,
            no_value=NOT_SCRAPED,
            width=10,
            height=6,
        ),
        number(
            Query(f"sum(increase(nps_follow_up_overdue_total{{{DEPLOYMENT}}}[$__range]))", "overdue"),
            title="Became overdue",
            description="Events `follow-up-overdue` in the time range: nobody was in time. Red: any.",
            unit="none",
            decimals=0,
            steps=ANY_IS_WRONG_STEPS,
            no_value=NOT_SCRAPED,
            width=4,
            height=6,
        ),
        number(
            *_contacts("increase", "$__range"),
            title="First contact within",
            description="From the opening of a case to its first contact, of the contacts reported in the time range. "
            "Yellow from a day, red from 72 hours, the default of `NPS_FOLLOW_UP_SLA_HOURS`.",
            unit="s",
            decimals=1,
            steps=CONTACT_STEPS,
            no_value="No first contact in this time range",
            width=10,
            height=6,
        ),
        outcomes.min(0),
        slow.min(0),
    ]


def dashboard() -> models.Dashboard:
    """The dashboard `nps-follow-up`."""
    built = new_dashboard(UID, "NPS follow-up", "Passive customers who wait, who was contacted in time, what converts.")
    built.time("now-7d", "now").refresh("1m")
    for variable in (
        *(variables.datasource(), variables.job(), variables.namespace(), variables.survey()),
        *(variables.segment(), variables.window(), variables.dimension()),
    ):
        built.with_variable(variable)
    add_row(built, "Open cases", _waiting())
    # Grafana repeats the row, with what is below it, for each chosen segment.
    add_row(
        built,
        "$survey, $segment, cases opened in the last $window",
        [*_now(), *_trend(), *_windows()],
        repeat="segment",
    )
    add_row(built, "Everybody of $survey by reason, action and score, cases opened in the last $window", by_group())
    add_row(built, "What the CRM reports, of all surveys", _came_in())
    add_row(built, "Segments of $survey", by_segment())
    return built.build()
