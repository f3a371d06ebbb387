"""Rows of the CRM dashboard about the endpoints of webhooks: whether each is told, what is a dead letter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from grafana_foundation_sdk.models.common import StackingMode

from deploy.grafana.counters import increase, per_hour, quantiles, rate
from deploy.grafana.crm_looks import DEAD_LETTERED, DELIVERIES, LAG_STEPS, NO_WEBHOOKS, SECONDS_STEPS
from deploy.grafana.panels import (
    ANY_IS_WRONG_STEPS,
    GREEN,
    RARE_STEPS,
    RED,
    SOME_STEPS,
    YELLOW,
    AnyPanel,
    Query,
    Steps,
    column_look,
    columns,
    lines,
    mapped,
    number,
    option,
)
from deploy.grafana.variables import WEBHOOKS

ENDPOINTS: Final = f'{WEBHOOKS}, endpoint=~"$endpoint"'
DISABLED: Final = f"max by (endpoint) (nps_webhook_disabled{{{ENDPOINTS}}})"
"""Each process comes to know of a 410 by itself."""

NOTHING_SENT: Final = "Nothing was sent to an endpoint at this time"

PENDING_STEPS: Final[Steps] = ((None, GREEN), (500, YELLOW))
UNHEARD_STEPS: Final[Steps] = ((None, GREEN), (300, RED))
FAILED_STEPS: Final[Steps] = ((None, GREEN), (0.05, YELLOW), (0.5, RED))
RESULT_COLOURS: Final = {
    "delivered": "#2F7D4F",
    "retried": "#E0B040",
    "dead_lettered": "#C4473A",
    "gone": "#9AA0A6",
}


def _by_endpoint(gauge: str) -> str:
    """Each process has its share of an endpoint's partitions, and with it of what waits."""
    return f"sum by (endpoint) ({gauge}{{{ENDPOINTS}}})"


def _failed(grew: Callable[[str, str, str], str]) -> str:
    """Attempts that did not deliver, out of all."""
    failed = grew(DELIVERIES, f'{ENDPOINTS}, result!="delivered"', "endpoint")
    return f"{failed} / ({grew(DELIVERIES, ENDPOINTS, 'endpoint')} > 0)"


def _overview() -> list[AnyPanel]:
    """Every endpoint in a line, and what came of all attempts."""
    disabled = [*column_look(ANY_IS_WRONG_STEPS, "none"), option("mappings", [mapped({"0": "No", "1": "Yes"})])]
    return [
        columns(
            {
                "disabled": DISABLED,
                "pending": _by_endpoint("nps_webhook_pending"),
                "lag": _by_endpoint("nps_webhook_lag_records"),
                "delivered": increase(DELIVERIES, f'{ENDPOINTS}, result="delivered"', "endpoint"),
                "failed": _failed(increase),
                "dead letters": increase(DELIVERIES, f"{ENDPOINTS}, {DEAD_LETTERED}", "endpoint"),
                "deleted": increase("nps_webhook_deleted_records_total", ENDPOINTS, "endpoint"),
                "unheard": f"time() - min by (endpoint) (nps_webhook_heard_timestamp_seconds{{{ENDPOINTS}}})",
            },
            key="endpoint",
            sorted_by="lag",
            looks={
                "disabled": disabled,
                "pending": column_look(PENDING_STEPS, "short"),
                "lag": column_look(LAG_STEPS, "short"),
                "failed": column_look(FAILED_STEPS, "percentunit", 1),
                "dead letters": column_look(ANY_IS_WRONG_STEPS, "none"),
                "deleted": column_look(ANY_IS_WRONG_STEPS, "none"),
                "unheard": column_look(UNHEARD_STEPS, "s"),
            },
            title="Endpoints",
            description="As they are now: disabled, pending, lag; in the time range: events delivered, the share of "
            "attempts that failed, dead letters, and records that Kafka deleted before they were delivered; and for "
            "how long Kafka has told nothing about it. Green from 1 delivered; colours of the others as in their "
            "panels. Alerts, where some are pending and none is delivered: NpsWebhookStalled; where some were deleted: "
            "NpsWebhookEventsDeleted; where Kafka is not heard for 5 minutes: NpsWebhookUnheard.",
            unit="none",
            decimals=0,
            steps=SOME_STEPS,
            no_value=NO_WEBHOOKS,
            width=13,
            height=9,
        ),
        lines(
            Query(rate(DELIVERIES, ENDPOINTS, "result"), "{{result}}"),
            title="Deliveries, by result",
            description="Attempts per second: delivered, retried (failed, and made again later), dead_lettered (given "
            "up), gone (410). The thresholds are those of the failures: orange from 1 an hour. Alerts: "
            "NpsWebhookStalled, NpsWebhookDeadLetters.",
            unit="suffix: /s",
            steps=RARE_STEPS,
            stacked=StackingMode.NORMAL,
            colours=RESULT_COLOURS,
            no_value=NO_WEBHOOKS,
            width=11,
            height=9,
        ).min(0),
    ]


def endpoints() -> list[AnyPanel]:
    """Whether each endpoint is told."""
    failed = lines(
        Query(_failed(rate), "{{endpoint}}"),
        title="Failed attempts, by endpoint",
        description="Retried, dead-lettered or gone, out of all attempts; at quiet times there is none. Dashed: 5 %, "
        "and a half. An endpoint at 100 % takes nothing. Alert: NpsWebhookStalled.",
        unit="percentunit",
        decimals=0,
        steps=FAILED_STEPS,
        limits=True,
        no_value=NOTHING_SENT,
        width=12,
        height=8,
    )
    return [
        *_overview(),
        lines(
            Query(_by_endpoint("nps_webhook_pending"), "{{endpoint}}"),
            title="Pending, by endpoint",
            description="Events held in memory until they are delivered. Dashed: 500, half of the default of "
            "`NPS_WEBHOOKS_PENDING`, from where a process reads no more and lag grows. Alert: NpsWebhookStalled.",
            unit="short",
            steps=PENDING_STEPS,
            limits=True,
            no_value=NO_WEBHOOKS,
            width=8,
            height=8,
        ).min(0),
        lines(
            Query(_by_endpoint("nps_webhook_lag_records"), "{{endpoint}}"),
            title="Lag in records, by endpoint",
            description="Records of the event topics that are not committed for the endpoint, also those that it does "
            "not want. Dashed: 1,000. Level or falling is no trouble. Alert: NpsWebhookLagGrowing.",
            unit="short",
            steps=LAG_STEPS,
            limits=True,
            no_value=NO_WEBHOOKS,
            width=8,
            height=8,
        ).min(0),
        lines(
            Query(DISABLED, "{{endpoint}}"),
            title="Disabled, by endpoint",
            description="1 once the endpoint has answered 410 (gone): its events wait in Kafka. Red at 1. "
            "Alert: NpsWebhookDisabled.",
            unit="none",
            decimals=0,
            steps=ANY_IS_WRONG_STEPS,
            no_value=NO_WEBHOOKS,
            width=8,
            height=8,
        )
        .min(0)
        .max(1),
        failed.min(0).max(1),
        lines(
            *quantiles("nps_webhook_seconds", ENDPOINTS, 0.5, 0.99, by="endpoint"),
            title="Time of an attempt, by endpoint",
            description="From the request to the endpoint's answer, half of them and 99 in 100. Dashed: 1 s, and 10 s, "
            "the default of `NPS_WEBHOOKS_TIMEOUT_S`. Slow endpoints fall behind: NpsWebhookLagGrowing.",
            unit="s",
            steps=SECONDS_STEPS,
            limits=True,
            no_value=NOTHING_SENT,
            width=12,
            height=8,
        ).min(0),
    ]


def dead_letters() -> list[AnyPanel]:
    """What is not sent again."""
    of_endpoints = f"{ENDPOINTS}, {DEAD_LETTERED}"
    return [
        number(
            Query(increase(DELIVERIES, of_endpoints, "endpoint"), "{{endpoint}}"),
            title="Dead letters, by endpoint",
            description="Events in the time range that the endpoint refused, or that failed for 24 hours "
            "(`NPS_WEBHOOKS_RETRY_FOR_S`). Red: any. They are kept for 30 days: `nps webhooks replay ENDPOINT`. "
            "Alert: NpsWebhookDeadLetters.",
            unit="none",
            decimals=0,
            steps=ANY_IS_WRONG_STEPS,
            no_value=NO_WEBHOOKS,
            width=10,
            height=7,
        ),
        lines(
            Query(per_hour(DELIVERIES, of_endpoints, "endpoint"), "{{endpoint}}"),
            title="Dead letters over time, by endpoint",
            description="Per hour. A block of them: the endpoint has begun to refuse, mostly since a release of it. "
            "The header `nps.webhook.cause` of each says why. Red from 1 an hour. Alert: NpsWebhookDeadLetters.",
            unit="suffix: /h",
            steps=ANY_IS_WRONG_STEPS,
            no_value=NO_WEBHOOKS,
            width=14,
            height=7,
        ).min(0),
    ]
