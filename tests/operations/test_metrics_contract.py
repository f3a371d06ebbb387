"""The metrics as a contract: every name with its type and labels, so that dashboards and alerts may rely on them."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from schemas.keys import counts_key
from schemas.times import US_PER_HOUR
from streams.engine.formats import CASE_COUNTS, COUNTS
from streams.engine.observer import PartitionStatus, UnitReport
from streams.http.endpoints import Endpoints
from streams.http.server import HttpServer
from streams.metrics import Metrics
from streams.rules.windows import parse_windows
from streams.scoreboard.board import Scoreboard
from streams.scoreboard.table import CASES

DAY = 20_779
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

CONTRACT: dict[str, tuple[str, tuple[str, ...]]] = {
    "nps_build": ("info", ("version",)),
    "nps_commit_seconds": ("histogram", ()),
    "nps_commits": ("counter", ("result",)),
    "nps_consumer_lag_records": ("gauge", ("partition",)),
    "nps_consumer_lag_seconds": ("gauge", ("partition",)),
    "nps_dead_letters": ("counter", ("reason",)),
    "nps_end_to_end_seconds": ("histogram", ()),
    "nps_event_loop_hold_seconds": ("histogram", ()),
    "nps_event_loop_stall_seconds": ("histogram", ()),
    "nps_events_suppressed": ("counter", ("cause",)),
    "nps_follow_up_contact_seconds": ("histogram", ()),
    "nps_deleted_unprocessed_records": ("counter", ("input",)),
    "nps_follow_up_overdue": ("counter", ()),
    "nps_follow_ups": ("counter", ("outcome",)),
    "nps_follow_ups_lag_records": ("gauge", ("partition",)),
    "nps_follow_ups_lag_seconds": ("gauge", ("partition",)),
    "nps_misplaced_records": ("counter", ()),
    "nps_open_cases": ("gauge", ("survey",)),
    "nps_owned_partitions": ("gauge", ()),
    "nps_partitions": ("gauge", ()),
    "nps_passive_converted": ("counter", ("score",)),
    "nps_passive_detected": ("counter", ("trigger",)),
    "nps_passive_detected_reasons": ("counter", ("reason", "score")),
    "nps_passive_withdrawn": ("counter", ("cause",)),
    "nps_processing_seconds": ("histogram", ()),
    "nps_ready": ("gauge", ()),
    "nps_responses": ("counter", ("outcome",)),
    "nps_restore_records": ("gauge", ("partition",)),
    "nps_score_changed": ("counter", ("change",)),
    "nps_scores_complete": ("gauge", ()),
    "nps_segments_overflowed": ("counter", ()),
    "nps_state_bytes": ("gauge", ("partition",)),
    "nps_state_disk_free_bytes": ("gauge", ()),
    "nps_state_disk_size_bytes": ("gauge", ()),
    "nps_window_case_groups": ("gauge", ("action", "reason", "score", "state", "survey", "window")),
    "nps_window_cases": ("gauge", ("segment", "state", "survey", "window")),
    "nps_window_conversion_seconds": ("gauge", ("action", "reason", "score", "survey", "window")),
    "nps_window_partitions": ("gauge", ("partition",)),
    "nps_window_responses": ("gauge", ("category", "segment", "survey", "window")),
}
"""Family: type, labels. Counters' samples end in `_total`."""

PARTS_OF_HISTOGRAMS = {"le"}


class Engine:
    def __init__(self) -> None:
        self.joined = True
        self.statuses: list[PartitionStatus] = []

    def partitions(self) -> list[PartitionStatus]:
        return self.statuses


class Worker:
    def __init__(self, state_dir: Path | None = None, partitions: int = 1) -> None:
        self.board = Scoreboard(parse_windows("1d,7d", 400), partitions, lambda: (DAY * 24 + 12) * US_PER_HOUR)
        self.cases = Scoreboard(self.board.windows, partitions, lambda: (DAY * 24 + 12) * US_PER_HOUR, CASES)
        self.engine = Engine()
        self.metrics = Metrics(CollectorRegistry(), self.board, self.cases, "1.2.3", state_dir)
        self.metrics.attach(self.engine)

    def own(self, partition: int, ready: bool = True) -> None:
        for board in (self.board, self.cases):
            board.partition_opening(partition)
        self.board.partition_rows(partition, [(counts_key("s", "all", DAY), COUNTS.encode({12 * 7: 1}))])
        self.cases.partition_rows(partition, [(counts_key("s", "all", DAY), CASE_COUNTS.encode({0: 1}))])
        self.engine.statuses.append(PartitionStatus(partition, ready, 0, 0.0, 0, 0, 0))
        if ready:
            self.board.partition_ready(partition)
            self.cases.partition_ready(partition)

    def lose(self, partition: int) -> None:
        self.board.partition_closed(partition, None)
        self.cases.partition_closed(partition, None)
        self.engine.statuses = [status for status in self.engine.statuses if status.partition != partition]
        self.metrics.partition_gone(partition)

    async def series(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Samples of one gauge by their labels."""
        text = (await self.metrics.render(OPENMETRICS))[0].decode()
        return {
            tuple(sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        }

    async def value(self, name: str) -> float:
        return (await self.series(name))[()]


async def test_the_metrics_are_these(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    worker.own(0)
    text = (await worker.metrics.render(OPENMETRICS))[0].decode()
    found = {
        family.name: (
            family.type,
            tuple(sorted({label for sample in family.samples for label in sample.labels} - PARTS_OF_HISTOGRAMS)),
        )
        for family in text_string_to_metric_families(text)
        if family.name.startswith("nps_")
    }
    assert found == CONTRACT


async def test_nothing_that_happens_brings_a_series_beyond_the_known_ones(tmp_path: Path) -> None:
    """Cardinality is bounded: all labels of counters are there before anything has happened."""
    worker = Worker(tmp_path)
    worker.own(0)

    async def counters() -> set[tuple[str, tuple[tuple[str, str], ...]]]:
        return {
            (sample.name, tuple(sorted(sample.labels.items())))
            for family in text_string_to_metric_families((await worker.metrics.render(OPENMETRICS))[0].decode())
            for sample in family.samples
            if family.name.startswith("nps_") and family.type in ("counter", "histogram")
        }

    before = await counters()
    by_label: dict[str, Counter[str]] = {}
    for name, labels in before:
        for label, value in labels:
            by_label.setdefault(f"{name} {label}", Counter())[value] += 1
    worker.metrics.unit_committed(
        UnitReport(
            partition=0,
            records=9,
            outcomes=by_label["nps_responses_total outcome"],
            detected=by_label["nps_passive_detected_total trigger"],
            found_answers=Counter({(7, "indifferent"): 1, (8, None): 2}),
            changed=by_label["nps_score_changed_total change"],
            converted=Counter({7: 1, 8: 1}),
            withdrawn=by_label["nps_passive_withdrawn_total cause"],
            suppressed=by_label["nps_events_suppressed_total cause"],
            dead_letters=by_label["nps_dead_letters_total reason"],
            misplaced=1,
            overflowed=1,
            record_times_ms=[1],
            committed_at_ms=2,
        )
    )
    for result in ("aborted", "fenced"):
        worker.metrics.commit_failed(0, result)
    worker.metrics.event_loop_stalled(9.0, 9.0)
    assert await counters() == before


async def test_ready_is_what_readyz_answers() -> None:
    worker = Worker(partitions=2)
    server = HttpServer(
        "127.0.0.1", 0, Endpoints(worker.board, worker.cases, worker.engine, worker.metrics.render).by_path()
    )
    await server.start()
    async with aiohttp.ClientSession(server.url) as client:

        async def both() -> tuple[int, float]:
            async with client.get("/readyz") as response:
                return response.status, await worker.value("nps_ready")

        worker.engine.joined = False
        assert await both() == (503, 0)
        worker.engine.joined = True
        worker.own(0)
        assert await both() == (503, 0)  # the counts of partition 1 are not known
        worker.own(1, ready=False)
        assert await both() == (503, 0)
        worker.board.partition_ready(1)
        assert await both() == (503, 0)  # its counts of responses are, and not those of cases
        worker.cases.partition_ready(1)
        assert await both() == (503, 0)  # its counts are, but it is not processing
        worker.engine.statuses[1] = worker.engine.statuses[0]
        assert await both() == (200, 1)
        worker.engine.joined = False
        assert await both() == (503, 0)
    await server.stop()


async def test_partitions_in_the_windows_are_those_whose_counts_are_whole() -> None:
    worker = Worker(partitions=3)
    assert await worker.value("nps_partitions") == 3
    worker.own(0)
    worker.own(2, ready=False)
    assert await worker.series("nps_window_partitions") == {(("partition", "0"),): 1}
    assert await worker.value("nps_owned_partitions") == 2
    worker.board.partition_ready(2)
    of = (("category", "detractor"), ("segment", "all"), ("survey", "s"), ("window", "7d"))
    assert await worker.series("nps_window_partitions") == {(("partition", "0"),): 1, (("partition", "2"),): 1}
    assert (await worker.series("nps_window_responses"))[of] == 2
    worker.lose(0)
    assert await worker.series("nps_window_partitions") == {(("partition", "2"),): 1}
    assert (await worker.series("nps_window_responses"))[of] == 1
    worker.lose(2)
    assert await worker.series("nps_window_partitions") == {}
    assert await worker.series("nps_window_responses") == {}
    assert await worker.value("nps_partitions") == 3


async def test_the_disk_of_the_state(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    assert await worker.value("nps_state_disk_size_bytes") == usage.total
    assert await worker.value("nps_state_disk_free_bytes") == pytest.approx(usage.free, rel=0.2)


async def test_a_disk_that_does_not_answer_fails_no_scrape(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "gone")
    assert await worker.series("nps_state_disk_free_bytes") == {}
    assert await worker.value("nps_partitions") == 1
