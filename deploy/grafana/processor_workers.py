"""Rows of the processor dashboard that tell partitions and workers apart: lag, commits, restores, memory, CPU, disk."""

from __future__ import annotations

from grafana_foundation_sdk.models.common import StackingMode

from deploy.grafana.counters import rate
from deploy.grafana.panels import BLUE, GREEN, NONE_IS_WRONG_STEPS, ORANGE, RARE_STEPS, RED, AnyPanel, Query, lines
from deploy.grafana.processor_looks import (
    CHOSEN,
    LAG_STEPS,
    NO_PARTITION,
    NOT_SCRAPED,
    WORKERS,
)


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


def kafka() -> list[AnyPanel]:
    """How far the partitions are behind, how commits end, what is being restored."""
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
            Query(rate("nps_commits_total", CHOSEN, "result"), "{{result}}"),
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
            description="Changelog records still to be read before a partition goes on; 0 when it is ready, none "
            "before the restore has begun. Blue while there are any. A level curve is a restore that is stuck.",
            unit="short",
            steps=((None, GREEN), (1, BLUE)),
            no_value=NO_PARTITION,
            width=12,
            height=8,
        ).min(0),
    ]


def resources() -> list[AnyPanel]:
    """What each worker uses and owns."""
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
