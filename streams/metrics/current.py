"""What is, made into gauges at each scrape: so a partition that is lost takes its series with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.engine.observer import PartitionStatus
from streams.rules.case_counts import ENDS
from streams.rules.conversions import INDEX_OF
from streams.rules.segments import ALL
from streams.scoreboard.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class View:
    """What is, at the moment of a scrape."""

    partitions: int
    """How many there are, whoever owns them."""
    statuses: Sequence[PartitionStatus]
    ready: bool
    scores_complete: bool
    snapshot: Snapshot
    cases: Snapshot


class Current(Collector):
    """Gauges made at each scrape, all from one view."""

    def __init__(self, registry: CollectorRegistry, version: str, view: View, state_dir: Path | None) -> None:
        self.view = view
        self._version = version
        self._state_dir = state_dir
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return the families; their samples are of no matter here."""
        return self.collect()

    def collect(self) -> Iterable[Metric]:
        """Return all gauges."""
        view = self.view
        yield InfoMetricFamily("nps_build", "The release that runs.", {"version": self._version})
        yield GaugeMetricFamily("nps_ready", "1 while /readyz answers 200, else 0.", int(view.ready))
        yield GaugeMetricFamily("nps_partitions", "Partitions of the responses, whoever owns them.", view.partitions)
        yield GaugeMetricFamily("nps_owned_partitions", "Partitions that this worker owns.", len(view.statuses))
        yield GaugeMetricFamily(
            "nps_scores_complete",
            "1 while the counts of every partition, of all workers, are known here, else 0.",
            int(view.scores_complete),
        )
        lag_records = _by_partition("nps_consumer_lag_records", "Responses not yet committed.")
        lag_seconds = _by_partition("nps_consumer_lag_seconds", "Age of the oldest response not yet committed.")
        follow_ups_records = _by_partition(
            "nps_follow_ups_lag_records", "Follow-ups not yet committed, as far as is known while they cannot be read."
        )
        follow_ups_seconds = _by_partition(
            "nps_follow_ups_lag_seconds",
            "Age of the oldest follow-up not yet committed; while they cannot be read, time since they last were.",
        )
        to_restore = _by_partition("nps_restore_records", "Changelog records still to be restored, once that is known.")
        state_bytes = _by_partition("nps_state_bytes", "Size of the local state.")
        for status in view.statuses:
            labels = [str(status.partition)]
            lag_records.add_metric(labels, status.lag_records)
            lag_seconds.add_metric(labels, status.lag_seconds)
            follow_ups_records.add_metric(labels, status.follow_ups_lag_records)
            follow_ups_seconds.add_metric(labels, status.follow_ups_lag_seconds)
            if status.ready:
                to_restore.add_metric(labels, 0)
            elif status.restore_total:  # else it waits for its turn, or its changelogs have no leader
                to_restore.add_metric(labels, max(status.restore_total - status.restored_records, 0))
            state_bytes.add_metric(labels, status.state_bytes)
        yield from (lag_records, lag_seconds, follow_ups_records, follow_ups_seconds, to_restore, state_bytes)
        yield from self._disk()
        counted = GaugeMetricFamily(
            "nps_window_partitions",
            "1 for each partition that this worker's nps_window_responses counts.",
            labels=["partition"],
        )
        for partition in view.snapshot.own_partitions:
            counted.add_metric([str(partition)], 1)
        yield counted
        yield _open_cases(view.cases)

    def _disk(self) -> Iterable[Metric]:
        if self._state_dir is None:
            return
        try:
            usage = shutil.disk_usage(self._state_dir)
        except OSError:  # gone, or does not answer: better no figure than a wrong one
            return
        yield GaugeMetricFamily(
            "nps_state_disk_free_bytes", "What the worker may still write to the disk of its state.", usage.free
        )
        yield GaugeMetricFamily("nps_state_disk_size_bytes", "Size of the disk of the worker's state.", usage.total)


def _by_partition(name: str, documentation: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, f"{documentation} Of each partition that this worker owns.", labels=["partition"])


def _open_cases(cases: Snapshot) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "nps_open_cases",
        "Cases that are open, of those opened while counts are kept, in the partitions that this worker owns.",
        labels=["survey"],
    )
    for place in cases.own_series.nonzero()[0].tolist():
        survey_id, segment = cases.series[place]
        if segment == ALL:
            kept = cases.own[place, -1].tolist()
            ended = sum(kept[INDEX_OF[end]] for end in ENDS)
            family.add_metric([survey_id], max(kept[INDEX_OF["cases"]] - ended, 0))
    return family
