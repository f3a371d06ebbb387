"""The metrics as Prometheus reads them."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterable

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from schemas.keys import counts_key
from schemas.times import US_PER_HOUR
from streams.engine.formats import COUNTS
from streams.engine.observer import PartitionStatus, UnitReport
from streams.http.endpoints import Endpoints
from streams.http.server import HttpServer
from streams.metrics import BulkHistogram, Metrics
from streams.rules.windows import parse_windows
from streams.scoreboard.board import Scoreboard
from streams.scoreboard.table import CASES
from tests.support.holding import longest_hold_s
from tests.support.prometheus_binaries import Binaries

DAY = 20_779
OPENMETRICS = "application/openmetrics-text; version=1.0.0, text/plain;version=0.0.4;q=0.5"


def labels(**of: str) -> frozenset[tuple[str, str]]:
    return frozenset(of.items())


LABELS_FROM_THE_START = {
    "nps_responses_total": ("accepted", "late", "too_old", "duplicate", "amended", "erased", "dead_letter"),
    "nps_passive_detected_total": (
        *("first_response", "from_detractor", "from_promoter", "still_passive", "corrected"),
    ),
    "nps_score_changed_total": (
        *("passive_to_promoter", "passive_to_detractor", "detractor_to_promoter", "promoter_to_detractor"),
    ),
    "nps_passive_withdrawn_total": ("corrected", "erased"),
    "nps_events_suppressed_total": ("cooldown", "stale"),
    "nps_dead_letters_total": (
        "invalid_json",
        "invalid_response",
        "too_large",
        "key_mismatch",
        "from_future",
        "unknown_case",
    ),
    "nps_follow_ups_total": (
        *("matched", "duplicate", "amended", "late", "feedback", "unknown_case", "case_full", "dead_letter"),
    ),
    "nps_commits_total": ("committed", "aborted", "fenced"),
}
BY_ANSWER_FROM_THE_START = {
    "nps_passive_detected_reasons_total": {
        labels(score=score, reason=reason)
        for score in ("7", "8")
        for reason in (
            *("expectations_met", "no_major_problems", "indifferent", "needs_more_time", "value_for_price", "unknown"),
        )
    },
    "nps_passive_converted_total": {labels(score="7"), labels(score="8")},
}
WITHOUT_LABELS = {
    *("nps_misplaced_records_total", "nps_segments_overflowed_total", "nps_owned_partitions", "nps_scores_complete"),
    "nps_follow_up_overdue_total",
    *(
        f"nps_{name}_seconds_{part}"
        for name in (
            *("processing", "end_to_end", "commit", "event_loop_stall", "event_loop_hold", "follow_up_contact"),
        )
        for part in ("count", "sum")
    ),
}
BY_PARTITION = {
    *(f"nps_{of}_lag_{unit}" for of in ("consumer", "follow_ups") for unit in ("records", "seconds")),
    *("nps_restore_records", "nps_state_bytes"),
}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Engine:
    joined = True

    def __init__(self) -> None:
        self.statuses: list[PartitionStatus] = []

    def partitions(self) -> list[PartitionStatus]:
        return self.statuses


class Worker:
    def __init__(self, partitions: int = 2) -> None:
        self.board = Scoreboard(parse_windows("1d,7d", 400), partitions, lambda: (DAY * 24 + 12) * US_PER_HOUR)
        self.cases = Scoreboard(
            parse_windows("1d,7d,400d", 400), partitions, lambda: (DAY * 24 + 12) * US_PER_HOUR, CASES
        )
        self.metrics = Metrics(CollectorRegistry(), self.board, self.cases, "1.2.3")
        self.engine = Engine()
        self.metrics.attach(self.engine)

    def own(self, partition: int, rows: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.board.partition_opening(partition)
        self.board.partition_rows(partition, list(rows))
        self.board.partition_ready(partition)
        self.engine.statuses.append(PartitionStatus(partition, True, 7, 1.5, 100, 100, 4096, 3, 2.5))

    def lose(self, partition: int) -> None:
        self.board.partition_closed(partition, None)
        self.engine.statuses = [status for status in self.engine.statuses if status.partition != partition]
        self.metrics.partition_gone(partition)

    async def text(self, accept: str = OPENMETRICS) -> str:
        return (await self.metrics.render(accept))[0].decode()

    async def samples(self) -> Samples:
        return samples(await self.text())


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_openmetrics(text)
        for sample in family.samples
    }


def counts(segment: str, cells: dict[int, int]) -> tuple[bytes, bytes]:
    return counts_key("s", segment, DAY), COUNTS.encode({12 * 7 + counter: count for counter, count in cells.items()})


async def test_every_metric_is_there_from_the_start_at_0() -> None:
    found = await Worker().samples()
    for name, values in LABELS_FROM_THE_START.items():
        by_value = {dict(of).popitem()[1]: value for (found_name, of), value in found.items() if found_name == name}
        assert by_value == dict.fromkeys(values, 0.0)
    for name, series in BY_ANSWER_FROM_THE_START.items():
        of_name = {of: value for (found_name, of), value in found.items() if found_name == name}
        assert of_name == dict.fromkeys(series, 0)
    for name in WITHOUT_LABELS:
        assert found[name, frozenset()] == 0
    assert found["nps_build_info", labels(version="1.2.3")] == 1
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"):
        assert found[name, frozenset()] > 0
    assert any(name == "python_gc_collections_total" for name, _ in found)
    assert any(name == "python_info" for name, _ in found)
    assert not any(name.endswith("_created") for name, _ in found), "twice the series of every counter, for nothing"


async def test_every_metric_has_help_and_a_base_unit() -> None:
    worker = Worker()
    worker.own(0, [counts("all", {0: 1})])
    families = list(parse_openmetrics(await worker.text()))
    assert {family.name for family in families} >= BY_PARTITION | {"nps_window_responses"}
    for family in families:
        assert family.documentation
        assert not family.name.endswith(("_ms", "_millis", "_minutes", "_kb"))


async def test_a_unit_of_work_is_counted() -> None:
    worker = Worker()
    worker.metrics.unit_committed(
        UnitReport(
            0,
            records=10,
            outcomes=Counter(accepted=6, dead_letter=4),
            detected=Counter(first_response=3),
            found_answers=Counter({(7, "indifferent"): 1, (8, None): 2}),
            changed=Counter(passive_to_promoter=2),
            converted=Counter({8: 2}),
            withdrawn=Counter(erased=1),
            suppressed=Counter(stale=5),
            dead_letters=Counter(too_large=4),
            misplaced=2,
            overflowed=9,
            record_times_ms=[1_000, 1_980, 1_990, 2_500],
            processing_s=0.0004,
            commit_s=0.025,
            committed_at_ms=2_000,
        )
    )
    worker.metrics.commit_failed(1, "fenced")
    found = await worker.samples()
    for name, label, value, expected in (
        ("nps_responses_total", "outcome", "accepted", 6),
        ("nps_responses_total", "outcome", "dead_letter", 4),
        ("nps_passive_detected_total", "trigger", "first_response", 3),
        ("nps_score_changed_total", "change", "passive_to_promoter", 2),
        ("nps_passive_withdrawn_total", "cause", "erased", 1),
        ("nps_events_suppressed_total", "cause", "stale", 5),
        ("nps_dead_letters_total", "reason", "too_large", 4),
        ("nps_commits_total", "result", "committed", 1),
        ("nps_commits_total", "result", "fenced", 1),
        ("nps_commits_total", "result", "aborted", 0),
    ):
        assert found[name, labels(**{label: value})] == expected
    for score, reason, expected in (("7", "indifferent", 1), ("8", "unknown", 2), ("8", "indifferent", 0)):
        assert found["nps_passive_detected_reasons_total", labels(score=score, reason=reason)] == expected
    assert found["nps_passive_converted_total", labels(score="8")] == 2
    assert found["nps_passive_converted_total", labels(score="7")] == 0
    assert found["nps_misplaced_records_total", frozenset()] == 2
    assert found["nps_segments_overflowed_total", frozenset()] == 9
    assert found["nps_processing_seconds_count", frozenset()] == 10
    assert found["nps_processing_seconds_sum", frozenset()] == pytest.approx(0.0004)
    assert found["nps_commit_seconds_bucket", labels(le="0.03")] == 1
    assert found["nps_commit_seconds_bucket", labels(le="0.02")] == 0
    # A record time ahead of the commit (another clock) counts as no time at all.
    assert found["nps_end_to_end_seconds_sum", frozenset()] == pytest.approx(1.03)
    assert found["nps_end_to_end_seconds_bucket", labels(le="0.01")] == 2
    assert found["nps_end_to_end_seconds_bucket", labels(le="0.025")] == 3
    assert found["nps_end_to_end_seconds_bucket", labels(le="300.0")] == 4


async def test_a_lost_partition_takes_its_series_with_it() -> None:
    worker = Worker()
    worker.own(0, [counts("all", {0: 1}), counts("c=NO", {3: 4})])
    worker.own(1, [counts("all", {0: 10, 1: 2, 2: 3, 3: 5, 4: 9, 5: 9})])
    found = await worker.samples()
    of_all = {
        category: found["nps_window_responses", labels(survey="s", segment="all", window="1d", category=category)]
        for category in ("detractor", "seven", "eight", "promoter")
    }
    assert of_all == {"detractor": 11, "seven": 2, "eight": 3, "promoter": 5}
    assert found["nps_owned_partitions", frozenset()] == 2
    assert found["nps_scores_complete", frozenset()] == 1
    for name, expected in (("lag_records", 7), ("lag_seconds", 1.5)):
        assert found[f"nps_consumer_{name}", labels(partition="1")] == expected
    for name, expected in (("lag_records", 3), ("lag_seconds", 2.5)):
        assert found[f"nps_follow_ups_{name}", labels(partition="1")] == expected
    assert found["nps_state_bytes", labels(partition="0")] == 4096

    worker.lose(0)
    found = await worker.samples()
    at = {"survey": "s", "window": "7d", "category": "detractor"}
    assert found["nps_window_responses", labels(segment="all", **at)] == 10
    assert ("nps_window_responses", labels(segment="c=NO", **at)) not in found
    assert found["nps_owned_partitions", frozenset()] == 1
    assert found["nps_scores_complete", frozenset()] == 0
    for name in BY_PARTITION:
        assert (name, labels(partition="0")) not in found
        assert (name, labels(partition="1")) in found


async def test_what_is_left_to_restore() -> None:
    worker = Worker()
    worker.engine.statuses = [
        PartitionStatus(0, False, 0, 0, 300, 1_000, 0),
        PartitionStatus(1, False, 0, 0, 0, 0, 0),
        PartitionStatus(2, True, 0, 0, 1_000, 1_000, 0),
    ]
    found = await worker.samples()
    assert found["nps_restore_records", labels(partition="0")] == 700
    assert ("nps_restore_records", labels(partition="1")) not in found, "not known yet, and not 0"
    assert found["nps_restore_records", labels(partition="2")] == 0


async def test_awkward_names_are_escaped() -> None:
    name = 'c="\\ø\u2028x'
    worker = Worker(1)
    worker.own(0, [counts(name, {3: 1})])
    for parse, accept in ((parse_openmetrics, OPENMETRICS), (parse_text, "")):
        families = {family.name: family for family in parse(await worker.text(accept))}
        assert {sample.labels["segment"] for sample in families["nps_window_responses"].samples} == {name}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0"),
        ("", "text/plain; version=0.0.4"),
        ("text/plain", "text/plain; version=0.0.4"),
        ("text/html,*/*", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=nonsense", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=1.0.0; escaping=nonsense", "application/openmetrics-text"),
    ],
)
async def test_content_negotiation(accept: str, content_type: str) -> None:
    text, found = await Worker().metrics.render(accept)
    assert found.startswith(content_type)
    assert text.endswith(b"# EOF\n") == ("openmetrics" in found)


@pytest.mark.parametrize("seed", range(5))
def test_the_bulk_histogram_equals_the_librarys(seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    bounds = sorted({round(dice.random() * 10, 2) for _ in range(8)})
    bulk_registry, registry = CollectorRegistry(), CollectorRegistry()
    bulk = BulkHistogram(bulk_registry, "h", "Help.", bounds)
    single = Histogram("h", "Help.", buckets=bounds, registry=registry)
    for _ in range(20):
        values = [dice.choice((dice.choice(bounds), dice.random() * 12)) for _ in range(dice.randrange(50))]
        bulk.observe_many(values)
        once, times = dice.random() * 12, dice.randrange(4)
        bulk.observe(once, times)
        for value in [*values, *[once] * times]:
            single.observe(value)
    for name, of in [
        ("h_count", {}),
        ("h_sum", {}),
        *(("h_bucket", {"le": str(bound)}) for bound in [*bounds, "+Inf"]),
    ]:
        expected = registry.get_sample_value(name, of)
        assert expected is not None
        assert bulk_registry.get_sample_value(name, of) == pytest.approx(expected)


async def test_promtool_finds_nothing_to_say(prometheus: Binaries) -> None:
    worker = Worker()
    worker.own(0, [counts("all", {0: 1}), counts('c="\\', {3: 4})])
    worker.metrics.unit_committed(UnitReport(0, 1, Counter(accepted=1), record_times_ms=[1], committed_at_ms=30))
    text = await worker.text("text/plain")
    checked = await asyncio.to_thread(
        subprocess.run, [prometheus.promtool, "check", "metrics"], input=text, text=True, capture_output=True
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_counting_costs_little() -> None:
    """Measured 0.07 µs a record and 8 µs a unit; the bounds are for slow machines."""
    metrics = Worker().metrics
    report = UnitReport(
        *(0, 2_000, Counter(accepted=1_900, late=50, duplicate=50), Counter(first_response=500, still_passive=3)),
        Counter({(score, reason): 83 for score in (7, 8) for reason in ("indifferent", "needs_more_time", None)}),
        *(Counter(passive_to_promoter=30), Counter({7: 10, 8: 20})),
        record_times_ms=[1_000_000 + at for at in range(2_000)],
        committed_at_ms=1_003_000,
    )
    best = min(_seconds(metrics, report) for _ in range(200))
    print(f"{best * 1e6:.0f} µs for a unit of 2,000 records")
    assert best < 0.002


def _seconds(metrics: Metrics, report: UnitReport) -> float:
    started = time.perf_counter()
    metrics.unit_committed(report)
    return time.perf_counter() - started


async def test_a_scrape_of_a_thousand_segments_does_not_hold_the_loop() -> None:
    worker = Worker(1)
    worker.board = Scoreboard(parse_windows("1d,7d,30d,90d", 400), 1, lambda: (DAY * 24 + 12) * US_PER_HOUR)
    worker.metrics = Metrics(CollectorRegistry(), worker.board, worker.cases, "1")
    worker.own(0, [counts(f"country={number}", {1: 1, 3: 2}) for number in range(1_000)])
    server = HttpServer(
        "127.0.0.1", 0, Endpoints(worker.board, worker.cases, worker.engine, worker.metrics.render).by_path()
    )
    await server.start()
    took_s, body = [], b""

    async with aiohttp.ClientSession(server.url) as client:

        async def scrape() -> None:
            nonlocal body
            started = time.process_time()
            async with client.get("/metrics", headers={"Accept": OPENMETRICS}) as response:
                body = await response.read()
            took_s.append(time.process_time() - started)

        held_s = await longest_hold_s(scrape)
    await server.stop()
    print(f"{len(body)} bytes, CPU {took_s}")
    assert body.count(b"\nnps_window_responses{") == 16_000
    assert min(took_s) < 0.2
    assert held_s < 0.05
