"""Every query of every panel, asked of a real Prometheus that scrapes two real workers."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from streams.broker import Broker
from tests.operations.dashboard_drawing import answers_to, draw
from tests.support.case_figures import DAY_US, SURVEY, expected_cases, expected_groups, groups_of, states_of
from tests.support.corpus import as_logs, corpus
from tests.support.dashboard_answers import View, assert_shows_something
from tests.support.dashboards import PanelQuery, dashboards, queries
from tests.support.follow_ups import passives, some_follow_ups
from tests.support.oracle import PartitionOracle, total_counts
from tests.support.oracle_scores import score_rows
from tests.support.prometheus_binaries import Binaries
from tests.support.prometheus_server import PrometheusServer, Series, scraping
from tests.support.stage import PARTITIONS, WINDOWS, now_us, stage_for, within

WINDOW = "30d"
INTERVAL_S = 1.0
RECORDS, PASSIVES = 1_500, 80
FOLLOW_UPS = 100
"""To each partition."""
Z = 1.959964

CHOSEN = {
    "job": "nps",
    "namespace": "",
    "instance": ".*",
    "survey": SURVEY,
    "segment": "all",
    "window": WINDOW,
    "dimension": "[^=+]+",
}
"""At the top of the dashboards."""
QUERIES = [
    (uid, query)
    for uid, dashboard in dashboards().items()
    if uid != "nps-crm"  # of other processes: test_dashboard_crm
    for query in queries(dashboard)
]


@dataclass(frozen=True)
class Scene:
    """Two workers have read the corpus, then what a CRM sent, and are gone; what Prometheus saw of them stays."""

    prometheus: PrometheusServer
    began_s: float
    ended_s: float
    oracles: list[PartitionOracle]
    rows: list[dict[tuple[str, str, str], dict[str, Any]]]
    """Score rows as they were to be at the beginning and at the end: the hour may have changed."""
    todays: list[int]
    """Days since the epoch, at the beginning and at the end."""

    def ask(self, query: PanelQuery, **others: str) -> list[Series]:
        """What the panel would show, were it looked at when the workers had read everything."""
        return View(self.prometheus, self.began_s, self.ended_s, INTERVAL_S, CHOSEN).ask(query, **others)


@pytest.fixture(scope="module")
def scene(broker: Broker, prometheus: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("dashboards")
    stage = stage_for(broker.bootstrap_servers, f"t-{uuid.uuid4().hex[:12]}", directory)
    stage = stage.with_settings(follow_up_sla_hours="72")
    stage = replace(stage, oracle_config=replace(stage.oracle_config, sla_hours=72))
    published_ms = time.time_ns() // 1_000_000
    produced = [
        *corpus(11, RECORDS, published_ms, "tables", PARTITIONS),
        *passives(PASSIVES, SURVEY, published_ms, PARTITIONS),
    ]
    oracles = list(stage.oracles(produced).values())
    counts = total_counts(oracles)
    with stage.worker("one") as one, stage.worker("two") as two:
        workers = (one, two)
        for worker in workers:
            worker.wait_ready()
        targets = [f"127.0.0.1:{worker.environment['NPS_HTTP_PORT']}" for worker in workers]
        with PrometheusServer(directory / "prometheus", scraping(targets, interval_s=INTERVAL_S)) as server:

            def both_own_partitions() -> None:
                assert server.value("count(nps_owned_partitions > 0)") == 2
                assert server.value("sum(nps_owned_partitions)") == PARTITIONS

            def all_seen() -> float:
                """The instant at which Prometheus had seen all of both workers."""
                at_s = time.time()
                last_rows = score_rows(counts, now_us(), WINDOWS).values()
                counted = sum(
                    row["responses"] for row in last_rows if (row["segment"], row["window"]) == ("all", "400d")
                )
                for promql, expected in (
                    ("sum(up)", 2),
                    ("sum(nps_responses_total)", len(produced)),
                    ("sum(nps_follow_ups_total)", len(followed_up)),
                    ("sum(nps_follow_up_contact_seconds_count)", sum(len(oracle.contacts_us) for oracle in oracles)),
                    (f'sum(nps_window_cases{{{of_all}, state="contacted"}})', contacted),
                    ('sum(nps_window_case_groups{window="400d", state="contacted"})', contacted),
                    ("sum(nps_consumer_lag_records)", 0),
                    ("count(nps_window_partitions)", PARTITIONS),
                    ('sum(nps_window_responses{segment="all", window="400d"})', counted),
                ):
                    assert server.value(promql, at_s) == expected, promql
                return at_s

            def all_that_wait_are_overdue() -> None:
                due = sum(len(oracle.due(now_us())) for oracle in oracles)
                assert server.value("sum(nps_follow_up_overdue_total)") >= due > 10

            within(60, both_own_partitions)
            began_s = time.time()
            time.sleep(2 * INTERVAL_S)  # a rate needs two samples, and counters must be seen at 0
            before = score_rows(counts, now_us(), WINDOWS)
            stage.publish(produced)
            stage.wait_until_done(*workers)
            within(60, all_that_wait_are_overdue)
            # What cases are, but for overdue, hangs on the logs alone: all responses are read before the follow-ups.
            rng, now_ms = random.Random(12), time.time_ns() // 1_000_000
            followed_up = [
                each for oracle in oracles for each in some_follow_ups(rng, oracle, FOLLOW_UPS, now_ms, PARTITIONS)
            ]
            for records, oracle in zip(as_logs(followed_up, PARTITIONS).values(), oracles, strict=True):
                for record in records:
                    oracle.process_follow_up(record)
            of_all = 'segment="all", window="400d"'
            contacted = states_of(oracles, None, "all", "400d", now_us() // DAY_US)["contacted"]
            stage.follow_up(followed_up)
            stage.wait_until_done(*workers, follow_ups=True)
            ended_s = within(60, all_seen)
            after = score_rows(counts, now_us(), WINDOWS)
            for worker in workers:
                worker.check_running()
                worker.sigkill()
            todays = [int(at_s * 1_000_000 // DAY_US) for at_s in (began_s, ended_s)]
            yield Scene(server, began_s, ended_s, oracles, [before, after], todays)


@pytest.mark.parametrize(
    "query", [query for _, query in QUERIES], ids=[f"{uid}: {query.panel}: {query.legend}" for uid, query in QUERIES]
)
def test_the_query_returns_data(scene: Scene, query: PanelQuery) -> None:
    assert_shows_something(query, scene.ask(query))


def of_panel(title: str) -> list[PanelQuery]:
    found = [query for _, query in QUERIES if query.panel == title]
    assert found, title
    return found


SEGMENTS = ("all", "country=NO")


@pytest.mark.parametrize("window", ["7d", "30d", "400d"])
@pytest.mark.parametrize("segment", SEGMENTS)
def test_the_figures_of_a_segment_are_those_of_the_specification(scene: Scene, segment: str, window: str) -> None:
    def shown(title: str) -> list[float]:
        asked = [scene.ask(query, segment=segment, window=window) for query in of_panel(title)]
        assert all(len(found) == 1 for found in asked), "one figure in each"
        return [found[0].value for found in asked]

    figures = {
        "NPS": shown("NPS"),
        "interval": shown("95 % interval of the NPS"),
        "responses": shown("Responses"),
        "passive": shown("Passive share"),
        "7s and 8s": shown("7s and 8s among the passives"),
        "trend": shown("NPS with its 95 % interval"),
        "categories": shown("Detractors, 7s, 8s, promoters"),
    }
    expected = [expected_figures(rows[SURVEY, segment, window]) for rows in scene.rows]
    assert any(
        all(figures[name] == pytest.approx(values, rel=1e-9) for name, values in each.items()) for each in expected
    ), (figures, expected)


def expected_figures(row: dict[str, Any]) -> dict[str, list[float]]:
    assert row["responses"] > 10
    return {
        "NPS": [row["nps"]],
        "interval": [row["nps_low"], row["nps_high"]],
        "responses": [row["responses"]],
        "passive": [row["passive_share"]],
        "7s and 8s": [row[name] / row["passives"] for name in ("sevens", "eights")],
        "trend": [row["nps"], row["nps_low"], row["nps_high"]],
        "categories": [row[name] / row["responses"] for name in ("detractors", "sevens", "eights", "promoters")],
    }


def test_the_heat_map_holds_every_simple_segment_and_window(scene: Scene) -> None:
    [query] = of_panel("NPS by segment and window")
    shown = {(each.labels["segment"], each.labels["window"]): each.value for each in scene.ask(query)}
    expected = [
        {
            (segment, window): row["nps"]
            for (survey, segment, window), row in rows.items()
            if survey == SURVEY and "+" not in segment and segment != "all" and row["nps"] is not None
        }
        for rows in scene.rows
    ]
    assert any(shown == pytest.approx(each) for each in expected)
    assert {window for _, window in shown} == set(WINDOWS)
    assert len({segment.partition("=")[0] for segment, _ in shown}) > 1


def test_compared_are_the_segments_of_the_chosen_names(scene: Scene) -> None:
    for query in of_panel("Segments, in the chosen window"):
        names = {each.labels["segment"].partition("=")[0] for each in scene.ask(query, dimension="(country|tier)")}
        assert names == {"country", "tier"}, query.legend


def test_passives_found_and_converted_are_counted_by_score_and_reason(scene: Scene) -> None:
    """Prometheus extrapolates what grew to the ends of the range: at most two scrapes' worth in about ten."""

    def shown(title: str, *labels: str) -> dict[tuple[str, ...], float]:
        [query] = of_panel(title)
        return {tuple(each.labels[label] for label in labels): each.value for each in scene.ask(query)}

    found: Counter[tuple[int, str]] = sum((oracle.found for oracle in scene.oracles), Counter())
    converted: Counter[int] = sum((oracle.converted for oracle in scene.oracles), Counter())
    reasons = shown("Reasons of those found", "score", "reason")
    assert len(reasons) == 12
    for (score, reason), count in reasons.items():
        assert count == pytest.approx(found[int(score), reason], rel=0.3), (score, reason)
    by_score: Counter[int] = Counter()
    for (score, _), count in found.items():
        by_score[score] += count
    for title, expected in (("Passives found", by_score), ("Passives converted", converted)):
        assert min(expected[7], expected[8]) > 5
        wanted = {(str(score),): count for score, count in expected.items()}
        assert shown(title, "score") == pytest.approx(wanted, rel=0.3), title
    rates = shown("Conversions per passive found", "score")
    wanted = {(str(score),): converted[score] / by_score[score] for score in (7, 8)}
    assert rates == pytest.approx(wanted, rel=0.2)


@pytest.mark.parametrize("window", ["7d", "30d", "400d"])
@pytest.mark.parametrize("segment", SEGMENTS)
def test_the_figures_of_cases_are_those_of_the_oracle(scene: Scene, segment: str, window: str) -> None:
    def shown(title: str) -> list[float]:
        return [scene.ask(query, segment=segment, window=window)[0].value for query in of_panel(title)]

    figures = {
        name: shown(title)
        for name, title in (
            ("cases", "Cases opened"),
            ("coverage", "Contact coverage"),
            ("conversion", "Conversion"),
            ("became", "What became of the cases"),
        )
    }
    expected = [expected_cases(states_of(scene.oracles, SURVEY, segment, window, today)) for today in scene.todays]
    assert any(all(figures[name] == pytest.approx(each[name]) for name in figures) for each in expected), (
        figures,
        expected,
    )
    # A Wilson bound is a share from which the one found is 1.96 of its own standard errors away.
    [conversion], [cases] = figures["conversion"], figures["cases"]
    standing = cases - figures["became"][-1]
    low, high = shown("95 % interval of the conversion")
    assert 0 <= low <= conversion <= high <= 1
    for bound in (low, high):
        assert (conversion - bound) ** 2 == pytest.approx(Z**2 * bound * (1 - bound) / standing, abs=1e-6)


@pytest.mark.parametrize("window", ["30d", "400d"])
@pytest.mark.parametrize(
    ("dimension", "title"),
    [("score", "7 against 8"), ("reason", "Conversion by reason"), ("action", "Conversion by action")],
)
def test_the_cases_of_a_group_are_those_of_the_oracle(scene: Scene, dimension: str, title: str, window: str) -> None:
    shown = {
        query.legend: {each.labels[dimension]: each.value for each in scene.ask(query, window=window)}
        for query in of_panel(title)
    }
    expected = [expected_groups(groups_of(scene.oracles, dimension, window, today)) for today in scene.todays]
    assert any(all(shown[name] == pytest.approx(each[name]) for name in each) for each in expected), (shown, expected)
    assert len(shown["conversion"]) > 1
    assert any(shown["days"].values())
    for group, share in shown["conversion"].items():
        assert 0 <= shown["from"][group] <= share <= shown["to"][group] <= 1


def test_open_cases_are_those_that_have_not_ended(scene: Scene) -> None:
    def still_open(survey: str) -> int:
        states = states_of(scene.oracles, survey, "all", "400d", scene.todays[-1])
        return states["cases"] - sum(states[end] for end in ("converted", "left", "withdrawn", "erased"))

    [query] = of_panel("Open cases of $survey")
    assert [each.value for each in scene.ask(query)] == [still_open(SURVEY)]
    [query] = of_panel("Open cases over time, by survey")
    by_survey = {each.labels["survey"]: each.value for each in scene.ask(query)}
    assert len(by_survey) > 1
    assert by_survey == {survey: still_open(survey) for survey in by_survey}


def test_the_overdue_share_is_of_those_known_to_be_in_time_or_not(scene: Scene) -> None:
    [query] = of_panel("Overdue share")
    [share] = scene.ask(query)
    counted = 'sum(nps_window_cases{survey="relational", segment="all", window="30d", state=~"%s"})'
    overdue, due = (
        scene.prometheus.query(counted % states, scene.ended_s)[0].value
        for states in ("overdue", "overdue|contacted_in_time")
    )
    assert 0 < overdue < due
    assert share.value == pytest.approx(overdue / due)


def test_follow_ups_are_counted_by_outcome(scene: Scene) -> None:
    [query] = of_panel("Follow-ups by outcome")
    shown = {each.labels["outcome"]: each.value for each in scene.ask(query)}
    outcomes: Counter[str] = sum((oracle.follow_up_outcomes for oracle in scene.oracles), Counter())
    assert outcomes["matched"] > 10
    assert {name: count for name, count in shown.items() if count} == pytest.approx(dict(outcomes), rel=0.3)


def test_partitions_and_records_of_both_workers_are_added_up(scene: Scene) -> None:
    def shown(title: str) -> list[Series]:
        return [each for query in of_panel(title) for each in scene.ask(query)]

    assert [each.value for each in shown("Workers")] == [2, 2]
    assert [each.value for each in shown("Partitions without a worker")] == [0]
    assert sum(each.value for each in shown("Owned partitions, by worker")) == PARTITIONS
    assert [each.value for each in shown("Scores complete")] == [1]
    lag = shown("Lag in seconds, by partition")
    assert {each.labels["partition"] for each in lag} == {str(partition) for partition in range(PARTITIONS)}
    dead = sum(oracle.outcomes["dead_letter"] for oracle in scene.oracles)
    assert [each.value for each in shown("Dead letters")] == [pytest.approx(dead / (RECORDS + PASSIVES), rel=0.2)]


@pytest.mark.filterwarnings("ignore:Glyph")  # the corpus has names that no font has
@pytest.mark.parametrize("uid", ["nps-programme", "nps-follow-up"])
def test_what_the_panels_show_can_be_drawn(scene: Scene, tmp_path: Path, uid: str) -> None:
    """`make dashboard-preview` does so with more life in it."""
    dashboard = dashboards()[uid]
    draw(
        dashboard,
        answers_to(dashboard, scene.ask),
        {"survey": SURVEY, "segment": "all", "window": WINDOW},
        "a caption",
        tmp_path / "picture.png",
    )
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width == 1_600
        assert picture.height > 1_000
