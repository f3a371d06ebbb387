"""The dashboard of those who keep the processor running: health, throughput, latency, Kafka, resources."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import StackingMode

from deploy.grafana import variables
from deploy.grafana.panels import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    AnyPanel,
    Query,
    Steps,
    add_row,
    lines,
    mapped,
    new_dashboard,
    number,
)
from deploy.grafana.variables import DEPLOYMENT

UID: Final = "nps-processor"

CHOSEN: Final = f'{DEPLOYMENT}, instance=~"$instance"'
WORKERS: Final = f"{{{CHOSEN}}}"

NOT_SCRAPED: Final = "Nothing is scraped from the workers"
NO_PARTITION: Final = "The workers own no partition"

LAG_STEPS: Final[Steps] = ((None, GREEN), (30, ORANGE), (300, RED))
RARE_STEPS: Final[Steps] = ((None, GREEN), (1 / 3600, ORANGE))
NONE_IS_WRONG_STEPS: Final[Steps] = ((None, RED), (1, GREEN))
OUTCOME_COLOURS: Final = {
    "accepted": "#2F7D4F",
    "late": "#A3C255",
    "amended": "#5B8DB8",
    "duplicate": "#9AA0A6",
    "erased": "#6B5B95",
    "too_old": "#E0B040",
    "dead_letter": "#C4473A",
}


def _rate(metric: str, by: str) -> str:
    """Per second, all workers together."""
    return f"sum by ({by}) (rate({metric}{WORKERS}[$__rate_interval]))"


def _quantile(of: float, histogram: str) -> str:
    return f"histogram_quantile({of}, {_rate(f'{histogram}_bucket', 'le')})"


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
            steps=((None, GREEN), (1, RED)),
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
            Query(_rate("nps_responses_total", "outcome"), "{{outcome}}"),
            title="Responses, by outcome",
            description="Records read and committed, per second. Green from 1 a minute: something arrives.",
            unit="suffix: /s",
            steps=((None, "text"), (1 / 60, GREEN)),
            stacked=StackingMode.NORMAL,
            colours=OUTCOME_COLOURS,
            no_value=NOT_SCRAPED,
            width=12,
            height=8,
        ).min(0),
        lines(
            Query(_rate("nps_passive_detected_total", "job"), "passive-detected"),
            Query(_rate("nps_score_changed_total", "job"), "score-changed"),
            Query(_rate("nps_passive_withdrawn_total", "job"), "passive-withdrawn"),
            Query(_rate("nps_events_suppressed_total", "cause"), "suppressed: {{cause}}"),
            title="Events",
            description="Events published per second, and those that were not: `stale` because the response was too "
            "old, `cooldown` because its customer was reported lately. Green from 1 a minute.",
            unit="suffix: /s",
            steps=((None, "text"), (1 / 60, GREEN)),
            no_value=NOT_SCRAPED,
            width=12,
            height=8,
        ).min(0),
        lines(
            Query(_rate("nps_dead_letters_total", "reason"), "{{reason}}"),
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
            Query(_rate("nps_misplaced_records_total", "job"), "misplaced records"),
            Query(_rate("nps_segments_overflowed_total", "job"), "counts diverted to __other__"),
            title="Misplaced keys, too many segments",
            description="Per second. Misplaced: a publisher does not use the Java client's partitioner, and journeys "
            "split. Diverted: a survey has more segments than `NPS_SEGMENT_LIMIT`. Orange from 1 an hour. "
            "Alert: NpsMisplacedKeys.",
            unit="suffix: /s",
            steps=RARE_STEPS,
            no_value=NOT_SCRAPED,
            width=12,
            height=7,
        ).min(0),
    ]


def _latency() -> list[AnyPanel]:
    def quantiles(histogram: str, *of: float) -> list[Query]:
        return [Query(_quantile(quantile, histogram), f"p{100 * quantile:g}") for quantile in of]

    return [
        lines(
            *quantiles("nps_end_to_end_seconds", 0.5, 0.95, 0.99),
            title="From record to commit",
            description="End to end: from a record's timestamp to the commit that makes its counts and events visible. "
            "Dashed: 1 s, and 30 s, from where lag is orange. NpsLagGrowing wakes somebody from 5 min on, if it grows.",
            unit="s",
            steps=((None, GREEN), (1, YELLOW), (30, ORANGE)),
            limits=True,
            no_value="No responses in this time range",
            width=12,
            height=8,
        ).min(0),
        lines(
            *quantiles("nps_commit_seconds", 0.5, 0.99),
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
            *quantiles("nps_processing_seconds", 0.5, 0.99),
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
            *quantiles("nps_event_loop_stall_seconds", 0.5, 0.99, 0.999),
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


def _lag(metric: str, title: str, in_seconds: str, in_records: str) -> list[AnyPanel]:
    """Two panels of an input's lag; the latter two are their descriptions."""
    return [
        lines(
            Query(f"max by (partition) ({metric}_seconds{WORKERS})", "{{partition}}"),
            title=f"{title} in seconds, by partition",
            description=in_seconds,
            unit="s",
            steps=LAG_STEPS,
            limits=True,
            no_value=NO_PARTITION,
            width=12,
            height=8,
        ).min(0),
        lines(
            Query(f"sum by (partition) ({metric}_records{WORKERS})", "{{partition}}"),
            title=f"{title} in records, by partition",
            description=in_records,
            unit="short",
            steps=((None, GREEN), (100_000, ORANGE)),
            no_value=NO_PARTITION,
            width=12,
            height=8,
        ).min(0),
    ]


def _kafka() -> list[AnyPanel]:
    return [
        *_lag(
            "nps_consumer_lag",
            "Lag",
            "Age of the oldest response that is not yet committed. One partition alone: a hot key or a stuck "
            "transaction; all of them: too few workers, or Kafka is slow. Dashed: 30 s and 5 min.",
            "Records not yet committed. Orange from 100,000: seconds of work for one worker, or a flood.",
        ),
        *_lag(
            "nps_follow_ups_lag",
            "Lag of follow-ups",
            "Age of the oldest follow-up that is not yet committed; while they cannot be read, time since they last "
            "were. Dashed: 30 s and 5 min. Alert: NpsFollowUpsLagGrowing.",
            "Follow-ups not yet committed, as far as is known while they cannot be read. Orange from 100,000.",
        ),
        lines(
            Query(_rate("nps_commits_total", "result"), "{{result}}"),
            title="Commits, by result",
            description="Transactions ended per second: committed, aborted (tried again from the last commit), fenced "
            "(another worker owns the partition now; normal when partitions move). The thresholds are those of the "
            "failures: orange from 1 an hour. "
            "Alerts: NpsCommitsFailing, NpsFencedRepeatedly.",
            unit="suffix: /s",
            steps=RARE_STEPS,
            colours={"committed": "#2F7D4F", "aborted": "#E0B040", "fenced": "#C4473A"},
            no_value=NOT_SCRAPED,
            width=12,
            height=8,
        ).min(0),
        lines(
            Query(f"sum by (partition) (nps_restore_records{WORKERS})", "{{partition}}"),
            title="Restores, by partition",
            description="Changelog records still to be read before a partition goes on; 0 when it is ready. Blue while "
            "there are any. A curve that stays level is a restore that is stuck.",
            unit="short",
            steps=((None, GREEN), (1, BLUE)),
            no_value=NO_PARTITION,
            width=12,
            height=8,
        ).min(0),
    ]


def _resources() -> list[AnyPanel]:
    return [
        lines(
            Query(f"process_resident_memory_bytes{WORKERS}", "{{instance}}"),
            title="Memory, by worker",
            description="Resident. It grows with partitions and segments, not with customers. Dashed: 1 and 2 GiB.",
            unit="bytes",
            steps=((None, GREEN), (2**30, ORANGE), (2**31, RED)),
            limits=True,
            no_value=NOT_SCRAPED,
            width=8,
            height=8,
        ).min(0),
        lines(
            Query(f"rate(process_cpu_seconds_total{WORKERS}[$__rate_interval])", "{{instance}}"),
            title="CPU, by worker",
            description="Cores. A worker uses little more than one: from 0.9 (dashed) on, lag grows; add workers.",
            unit="none",
            decimals=2,
            steps=((None, GREEN), (0.9, ORANGE)),
            limits=True,
            no_value=NOT_SCRAPED,
            width=8,
            height=8,
        ).min(0),
        lines(
            Query(f"sum by (partition) (nps_state_bytes{WORKERS})", "{{partition}}"),
            title="State on disk, by partition",
            description="Local state: RocksDB's files and memtables. One far above the others: a publisher's keys are "
            "uneven. Orange from 10 GiB: a restore takes long.",
            unit="bytes",
            steps=((None, GREEN), (10 * 2**30, ORANGE)),
            stacked=StackingMode.NORMAL,
            no_value=NO_PARTITION,
            width=8,
            height=8,
        ).min(0),
        lines(
            Query(f"nps_state_disk_free_bytes{WORKERS} / nps_state_disk_size_bytes{WORKERS}", "{{instance}}"),
            title="Free on the state's disk, by worker",
            description="What is left of the disk with the local state. Dashed: 40 % and 10 %. A full disk ends the "
            "worker. Alerts: NpsStateDiskFilling, NpsStateDiskNearlyFull.",
            unit="percentunit",
            decimals=0,
            steps=((None, RED), (0.1, ORANGE), (0.4, GREEN)),
            limits=True,
            no_value=NOT_SCRAPED,
            width=8,
            height=8,
        )
        .min(0)
        .max(1),
        lines(
            Query(f"nps_owned_partitions{WORKERS}", "{{instance}}"),
            title="Owned partitions, by worker",
            description="Steps are rebalances. Red: a worker that owns none; there are more workers than partitions.",
            unit="none",
            steps=NONE_IS_WRONG_STEPS,
            stacked=StackingMode.NORMAL,
            no_value=NOT_SCRAPED,
            width=8,
            height=8,
        ).min(0),
        lines(
            Query(f"nps_scores_complete{WORKERS}", "{{instance}}"),
            title="Scores complete, by worker",
            description="1 while the worker knows the counts of all partitions. Red at 0: `/readyz` answers 503.",
            unit="none",
            decimals=0,
            steps=NONE_IS_WRONG_STEPS,
            no_value=NOT_SCRAPED,
            width=8,
            height=8,
        )
        .min(0)
        .max(1),
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
    add_row(built, "Kafka", _kafka())
    add_row(built, "Workers", _resources())
    return built.build()
