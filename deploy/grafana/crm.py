"""The dashboard of those who keep webhooks and the intake running: who is up, is told, is taken from, what is lost."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import StackingMode

from deploy.grafana import variables
from deploy.grafana.counters import quantiles, rate
from deploy.grafana.crm_looks import DEAD_LETTERED, DELIVERIES, LAG_STEPS, NO_WEBHOOKS, SECONDS_STEPS
from deploy.grafana.crm_webhooks import dead_letters, endpoints
from deploy.grafana.panels import (
    ANY_IS_WRONG_STEPS,
    ARRIVING_STEPS,
    GREEN,
    NONE_IS_WRONG_STEPS,
    ORANGE,
    RED,
    AnyPanel,
    Query,
    Steps,
    add_row,
    lines,
    new_dashboard,
    number,
)
from deploy.grafana.variables import INTAKE, WEBHOOKS

UID: Final = "nps-crm"

REQUESTS: Final = "nps_intake_requests_total"

NO_INTAKE: Final = "Nothing is scraped from nps intake"
NOTHING_CAME: Final = "No request came at this time"

NOT_TAKEN_STEPS: Final[Steps] = ((None, GREEN), (0.01, ORANGE), (0.05, RED))
STATUS_COLOURS: Final = {
    "202": "#2F7D4F",
    "422": "#E0B040",
    "429": "#5B8DB8",
    "500": "#5E1A14",
    "503": "#C4473A",
    "504": "#8E2F26",
}


def _up(processes: str) -> str:
    """How many answer. 0, and not nothing, where there were some in the time range and no target is left."""
    return f"sum(up{{{processes}}}) or sum(0 * max_over_time(up{{{processes}}}[$__range]))"


def _share_of(status: str) -> str:
    """Requests that were answered with one of these, out of all."""
    answered = rate(REQUESTS, f'{INTAKE}, status=~"{status}"', "job")
    return f"{answered} / ({rate(REQUESTS, INTAKE, 'job')} > 0)"


def _instances(title: str, processes: str, alert: str, no_value: str) -> AnyPanel:
    return number(
        Query(_up(processes), "up"),
        Query(f"count(up{{{processes}}})", "known"),
        title=title,
        description="Instances that answer Prometheus, and those that it looks for. Red: none; a 0 alone: there were "
        f"some in the time range, and their targets are gone. Alert: {alert}.",
        unit="none",
        decimals=0,
        steps=NONE_IS_WRONG_STEPS,
        no_value=no_value,
        width=4,
        height=4,
    )


def _health() -> list[AnyPanel]:
    over_time = lines(
        Query(f"sum(up{{{WEBHOOKS}}})", "webhooks"),
        Query(f"sum(up{{{INTAKE}}})", "intake"),
        title="Instances that are up",
        description="Since when one is missing, and whether it comes back and ends again: what ends at each start is "
        "seen here as teeth. Dashed: 1, below which nobody is left.",
        unit="none",
        decimals=0,
        steps=NONE_IS_WRONG_STEPS,
        limits=True,
        no_value="Neither webhooks nor the intake are scraped",
        width=24,
        height=5,
    )
    return [
        _instances("Webhooks", WEBHOOKS, "NpsNoWebhooks", NO_WEBHOOKS),
        _instances("Intake", INTAKE, "NpsNoIntake", NO_INTAKE),
        number(
            Query(f"sum(max by (endpoint) (nps_webhook_disabled{{{WEBHOOKS}}}))", "disabled"),
            title="Disabled endpoints",
            description="Of all. They answered 410 (gone) and are sent nothing until the process is started again. "
            "Red: any. Alert: NpsWebhookDisabled.",
            unit="none",
            decimals=0,
            steps=ANY_IS_WRONG_STEPS,
            no_value=NO_WEBHOOKS,
            width=4,
            height=4,
        ),
        number(
            Query(f"max(sum by (endpoint) (nps_webhook_lag_records{{{WEBHOOKS}}}))", "lag"),
            title="Greatest lag",
            description="Records of the event topics that are not committed for the endpoint that is furthest behind. "
            "Orange from 1,000. Alert: NpsWebhookLagGrowing.",
            unit="short",
            steps=LAG_STEPS,
            no_value=NO_WEBHOOKS,
            width=4,
            height=4,
        ),
        number(
            Query(f"sum(increase({DELIVERIES}{{{WEBHOOKS}, {DEAD_LETTERED}}}[$__range]))", "dead letters"),
            title="Dead letters",
            description="Events of all endpoints that will not be sent again, in the time range. Red: any. "
            "Alert: NpsWebhookDeadLetters.",
            unit="none",
            decimals=0,
            steps=ANY_IS_WRONG_STEPS,
            no_value=NO_WEBHOOKS,
            width=4,
            height=4,
        ),
        number(
            Query(f'sum(increase({REQUESTS}{{{INTAKE}, status=~"5.."}}[$__range]))', "5xx"),
            title="Requests not taken",
            description="Answered with 503 or 504 in the time range, for Kafka has not acknowledged, or with 500: who "
            "sent them must send them again. Orange: any; a few belong to a broker's restart. "
            "Alert: NpsIntakeUnavailable.",
            unit="none",
            decimals=0,
            steps=((None, GREEN), (1, ORANGE)),
            no_value=NO_INTAKE,
            width=4,
            height=4,
        ),
        over_time.min(0),
    ]


def _intake() -> list[AnyPanel]:
    not_taken = lines(
        Query(_share_of("5.."), "5xx"),
        Query(_share_of("4.."), "4xx"),
        title="5xx and 4xx, out of all requests",
        description="5xx: Kafka does not acknowledge, the intake is too slow or has failed. 4xx: a sender's fault, "
        "such as 401 (its token), 422 (its records), 429 (too many). Dashed: 1 % and 5 %. Alert, of 5xx: "
        "NpsIntakeUnavailable.",
        unit="percentunit",
        decimals=1,
        steps=NOT_TAKEN_STEPS,
        limits=True,
        colours={"5xx": "#C4473A", "4xx": "#E0B040"},
        no_value=NOTHING_CAME,
        width=12,
        height=8,
    )
    return [
        lines(
            Query(rate(REQUESTS, INTAKE, "status"), "{{status}}"),
            title="Requests, by status",
            description="Answered per second; 202 is taken. Green from 1 a minute: something arrives.",
            unit="suffix: /s",
            steps=ARRIVING_STEPS,
            stacked=StackingMode.NORMAL,
            colours=STATUS_COLOURS,
            no_value=NO_INTAKE,
            width=12,
            height=8,
        ).min(0),
        not_taken.min(0).max(1),
        lines(
            Query(rate("nps_intake_records_total", INTAKE, "path, result"), "{{path}}: {{result}}"),
            title="Records, by path and result",
            description="Per second: accepted (acknowledged by Kafka), and refused for breaking a rule. One refused "
            "record refuses its whole body; the others of that body are in neither. Green from 1 a minute.",
            unit="suffix: /s",
            steps=ARRIVING_STEPS,
            no_value=NO_INTAKE,
            width=12,
            height=8,
        ).min(0),
        lines(
            *quantiles("nps_intake_seconds", INTAKE, 0.5, 0.99, by="path"),
            title="Time of a request, by path",
            description="From a request to its answer, Kafka's acknowledgement included, half of them and 99 in 100. "
            "Dashed: 1 s, and 10 s, after which Kafka is waited for no longer. Alert: NpsIntakeUnavailable.",
            unit="s",
            steps=SECONDS_STEPS,
            limits=True,
            no_value=NOTHING_CAME,
            width=12,
            height=8,
        ).min(0),
    ]


def dashboard() -> models.Dashboard:
    """The dashboard `nps-crm`."""
    built = new_dashboard(UID, "NPS CRM", "Webhooks and intake: who is up, is told, is taken from, and dead letters.")
    built.time("now-3h", "now").refresh("30s")
    for variable in (
        *(variables.datasource(), variables.webhooks_job(), variables.intake_job()),
        *(variables.crm_namespace(), variables.endpoint()),
    ):
        built.with_variable(variable)
    add_row(built, "Health", _health())
    add_row(built, "Webhooks: is every endpoint told", endpoints())
    add_row(built, "Intake: is everything taken", _intake())
    add_row(built, "Dead letters of webhooks", dead_letters())
    return built.build()
