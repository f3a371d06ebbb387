"""The dashboard of those who keep the processor running: health, throughput, latency, Kafka, resources."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import StackingMode

from deploy.grafana import variables
from deploy.grafana.counters import quantiles, rate
from deploy.grafana.panels import (
    ANY_IS_WRONG_STEPS,
    ARRIVING_STEPS,
    BLUE,
    GREEN,
    NONE_IS_WRONG_STEPS,
    ORANGE,
    RARE_STEPS,
    RED,
    YELLOW,
    AnyPanel,
    Query,
    add_row,
    lines,
    mapped,
    new_dashboard,
    number,
)
from deploy.grafana.processor_looks import (
    CHOSEN,
    LAG_STEPS,
    NO_PARTITION,
    NOT_SCRAPED,
    WORKERS,
)
from deploy.grafana.processor_workers import kafka, resources
from deploy.grafana.variables import DEPLOYMENT

UID: Final = "nps-processor"

OUTCOME_COLOURS: Final = {
    "accepted": "#2F7D4F",
    "late": "#A3C255",
    "amended": "#5B8DB8",
    "duplicate": "#9AA0A6",
    "erased": "#6B5B95",
    "too_old": "#E0B040",
    "dead_letter": "#C4473A",
}


def _mean(histogram: str) -> str:
    total = f"sum(rate({histogram}_sum{WORKERS}[$__rate_interval]))"
    return f"{total} / (sum(rate({histogram}_count{WORKERS}[$__rate_interval])) > 0)"


def _health() -> list[AnyPanel]:
    complete = number(
        Query(f"min(nps_scores_complete{WORKERS})", "complete"),
        title="Scores complete",
        description="Yes while every worker knows the counts of all partitions, so that `/v1/scores` and `/readyz` of "
        "each say so. Red: a worker is still reading, or a partition has no owner.",
        unit="none",
        steps=NONE_IS_WRONG_STEPS,
        no_value=NOT_SCRAPED,
        width=4,
        height=4,
    ).mappings([mapped({"0": "No", "1": "Yes"})])
    return [
        number(
            Query(f"count(nps_ready{WORKERS})", "up"),
            Query(f"sum(nps_ready{WORKERS})", "ready"),
            title="Workers",
            description="Those that Prometheus reaches, and those whose `/readyz` answers 200. Red: none. Alerts: "
            "NpsWorkerDown, NpsNoWorker, NpsWorkerNotReady.",
            unit="none",
            steps=NONE_IS_WRONG_STEPS,
            no_value=NOT_SCRAPED,
            width=4,
            height=4,
        ),
        number(
            Query(
                f"max(nps_partitions{{{DEPLOYMENT}}})"
                f" - (count(count by (partition) (nps_consumer_lag_records{{{DEPLOYMENT}}})) or vector(0))",
                "without",
            ),
            title="Partitions without a worker",
            description="Their responses wait. Some seconds after a worker has gone are normal. Red: any. Alert: "
            "NpsPartitionsUnowned.",
            unit="none",
            steps=ANY_IS_WRONG_STEPS,
            no_value=NOT_SCRAPED,
            width=4,
            height=4,
        ),
        complete,
        number(
            Query(f"max(nps_consumer_lag_seconds{WORKERS})", "lag"),
            title="Greatest lag",
            description="Age of the oldest response that is not yet committed, of the slowest partition. Orange from "
            "30 s, red from 5 min. "
            "Alert: NpsLagGrowing.",
            unit="s",
            decimals=1,
            steps=LAG_STEPS,
            no_value=NO_PARTITION,
            width=4,
            height=4,
        ),
        number(
            Query(
                f'sum(increase(nps_responses_total{{{CHOSEN}, outcome="dead_letter"}}[$__range]))'
                f" / (sum(increase(nps_responses_total{WORKERS}[$__range])) > 0)",
                "dead letters",
            ),
            title="Dead letters",
            description="Out of all responses read in the time range. Orange from 1 %, red from 5 %: a publisher sends "
            "what nobody can count. "
            "Alert: NpsDeadLetterRate.",
            unit="percentunit",
            decimals=2,
            steps=((None, GREEN), (0.01, ORANGE), (0.05, RED)),
            no_value="No records read in this time range",
            width=4,
            height=4,
        ),
        number(
            Query(f"sum(nps_restore_records{WORKERS})", "to restore"),
            title="Records to restore",
            description="Changelog records that are still to be read before their partitions go on. Blue while there "
            "are any; it must sink. "
            "Alert: NpsRestoreStuck.",
            unit="short",
            steps=((None, GREEN), (1, BLUE)),
            no_value=NO_PARTITION,
            width=4,
            height=4,
        ),
    ]


def _throughput() -> list[AnyPanel]:
    return [
        lines(
            Query(rate("nps_responses_total", CHOSEN, "outcome"), "{{outcome}}"),
            title="Responses, by outcome",
            description="Records read and committed, per second. Green from 1 a minute: something arrives.",
            unit="suffix: /s",
            steps=ARRIVING_STEPS,
            stacked=StackingMode.NORMAL,
            colours=OUTCOME_COLOURS,
            no_value=NOT_SCRAPED,
            width=12,
            height=8,
        ).min(0),
        lines(
            Query(rate("nps_passive_detected_total", CHOSEN, "job"), "passive-detected"),
            Query(rate("nps_score_changed_total", CHOSEN, "job"), "score-changed"),
            Query(rate("nps_passive_withdrawn_total", CHOSEN, "job"), "passive-withdrawn"),
            Query(rate("nps_events_suppressed_total", CHOSEN, "cause"), "suppressed: {{cause}}"),
            title="Events",
            description="Events published per second, and those that were not: `stale` because the response was too "
            "old, `cooldown` because its customer was reported lately. Green from 1 a minute.",
            unit="suffix: /s",
            steps=ARRIVING_STEPS,
            no_value=NOT_SCRAPED,
            width=12,
            height=8,
        ).min(0),
        lines(
            Query(rate("nps_dead_letters_total", CHOSEN, "reason"), "{{reason}}"),
            title="Dead letters, by reason",
            description="Records of both inputs per second that are no valid ones. Orange from 1 an hour: "
            "`nps dead-letters list` shows those of responses and where they came from, with `--follow-ups` those of "
            "follow-ups (`unknown_case` is theirs alone). Alerts: NpsDeadLetterRate, NpsFollowUpsDeadLetterRate.",
            unit="suffix: /s",
            steps=RARE_STEPS,
            stacked=StackingMode.NORMAL,
            no_value=NOT_SCRAPED,
            width=12,
            height=7,
        ).min(0),
        lines(
            Query(rate("nps_misplaced_records_total", CHOSEN, "job"), "misplaced records"),
            Query(rate("nps_segments_overflowed_total", CHOSEN, "job"), "counts diverted to __other__"),
            Query(rate("nps_deleted_unprocessed_records_total", CHOSEN, "input"), "{{input}} deleted unprocessed"),
            title="Misplaced keys, too many segments, deleted too soon",
            description="Per second. Misplaced: a publisher does not use the Java client's partitioner, and journeys "
            "split. Diverted: a survey has more segments than `NPS_SEGMENT_LIMIT`. Deleted: retention took what was "
            "not processed yet. Orange from 1 an hour. Alerts: NpsMisplacedKeys, NpsRecordsDeletedUnprocessed.",
            unit="suffix: /s",
            steps=RARE_STEPS,
            no_value=NOT_SCRAPED,
            width=12,
            height=7,
        ).min(0),
    ]


def _latency() -> list[AnyPanel]:
    return [
        lines(
            *quantiles("nps_end_to_end_seconds", CHOSEN, 0.5, 0.95, 0.99),
            title="From record to commit",
            description="End to end: from a record's timestamp to the commit that makes its counts and events visible. "
            "Dashed: 1 s, and 30 s, from where lag is orange. NpsLagGrowing wakes somebody from 5 min on, unless it "
            "shrinks.",
            unit="s",
            steps=((None, GREEN), (1, YELLOW), (30, ORANGE)),
            limits=True,
            no_value="No responses in this time range",
            width=12,
            height=8,
        ).min(0),
        lines(
            *quantiles("nps_commit_seconds", CHOSEN, 0.5, 0.99),
            title="Commit",
            description="From the beginning of a transaction to its commit's acknowledgement. Dashed: 1 s, and 10 s, a "
            "third of the time after which brokers abort it.",
            unit="s",
            steps=((None, GREEN), (1, ORANGE), (10, RED)),
            limits=True,
            no_value="No commits in this time range",
            width=12,
            height=8,
        ).min(0),
        lines(
            *quantiles("nps_processing_seconds", CHOSEN, 0.5, 0.99),
            Query(_mean("nps_processing_seconds"), "mean"),
            title="Deciding a response",
            description="Time to decide one record, as the mean of its unit of work; small units cost more a record. "
            "Dashed: 1 ms, where one worker decides fewer than 1,000 a second.",
            unit="s",
            steps=((None, GREEN), (0.001, ORANGE)),
            limits=True,
            no_value="No responses in this time range",
            width=12,
            height=8,
        ).min(0),
        lines(
            *quantiles("nps_event_loop_stall_seconds", CHOSEN, 0.5, 0.99, 0.999),
            title="Event loop stalls",
            description="How much too late the event loop wakes what is due. A stall holds up all partitions of a "
            "worker, and its heartbeats. Dashed: 0.1 s and 1 s.",
            unit="s",
            steps=((None, GREEN), (0.1, ORANGE), (1, RED)),
            limits=True,
            no_value=NOT_SCRAPED,
            width=12,
            height=8,
        ).min(0),
    ]


def dashboard() -> models.Dashboard:
    """The dashboard `nps-processor`."""
    built = new_dashboard(UID, "NPS processor", "Throughput, latency, lag and resources of the workers.")
    built.time("now-3h", "now").refresh("30s")
    for variable in (variables.datasource(), variables.job(), variables.namespace(), variables.instance()):
        built.with_variable(variable)
    add_row(built, "Health", _health())
    add_row(built, "Throughput", _throughput())
    add_row(built, "Latency", _latency())
    add_row(built, "Kafka", kafka())
    add_row(built, "Workers", resources())
    return built.build()
