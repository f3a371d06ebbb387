"""A real Prometheus beside real workers: PromQL through the deployed rules gives the contract's numbers, and partitions
that change hands are never counted twice.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from streams.broker import Broker
from tests.support.comparing import CATEGORIES
from tests.support.corpus import corpus
from tests.support.oracle import HOUR_US, total_counts
from tests.support.oracle_events import CHANGED, DETECTED, WITHDRAWN
from tests.support.oracle_scores import score_rows
from tests.support.prometheus_binaries import Binaries
from tests.support.prometheus_server import RULES, PrometheusServer, scraping
from tests.support.stage import PARTITIONS, WINDOWS, now_us, stage_for, within
from tests.support.worker import WorkerProcess

SCRAPE_S = 2.0
EVALUATE_S = 0.5
STEP_S = 0.1
SLACK_S = 1.0
"""A busy machine scrapes late."""
ROW = ("survey", "segment", "window")
ScoreRows = Mapping[tuple[str, str, str], Mapping[str, Any]]

RECORDED_AS = {
    "nps:responses": "responses",
    "nps:score": "nps",
    "nps:score_low": "nps_low",
    "nps:score_high": "nps_high",
    "nps:passive_share": "passive_share",
}


def test_promql_gives_the_contracts_numbers_and_no_rebalance_disturbs_them(
    prometheus: Binaries, broker: Broker, unique: str, tmp_path: Path
) -> None:
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path)
    produced = list(corpus(11, 1_500, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    oracles = stage.oracles(produced)
    counts = total_counts(oracles.values())
    one, two = stage.worker("one"), stage.worker("two")
    targets = [f"127.0.0.1:{worker.environment['NPS_HTTP_PORT']}" for worker in (one, two)]
    config = scraping(targets, rule_files=RULES, interval_s=SCRAPE_S, evaluation_interval_s=EVALUATE_S)

    with PrometheusServer(tmp_path / "prometheus", config) as server, one, two:
        one.wait_ready()
        two.wait_ready()
        server.wait_scraped(2)  # at 0, so that what comes is an increase
        stage.publish(produced)
        stage.wait_until_done(one, two)
        within(20, lambda: assert_shared(one, two))

        def check_scores() -> None:
            before = now_us()
            assert_recorded(server, score_rows(counts, before, WINDOWS))
            assert before // HOUR_US == now_us() // HOUR_US

        within(30, check_scores)
        assert server.values("up", "instance") == {(target,): 1 for target in targets}
        assert server.value("min(nps_ready)") == 1
        assert server.value("max(nps_partitions)") == PARTITIONS
        assert server.value("count(0 < nps_state_disk_free_bytes <= nps_state_disk_size_bytes)") == 2
        within(10, lambda: assert_counters(server, list(oracles.values())))
        assert all(rule["health"] in ("ok", "unknown") for rule in server.rules()), server.rules()
        within(20, lambda: assert_firing(server, "NpsMisplacedKeys"))  # the corpus has some, and nothing else to report

        began = time.time()
        # One leaves: the other has everything.
        two.sigterm()
        within(60, lambda: assert_shared(one))
        left = time.time()
        within(30, check_scores)
        # It joins again and takes its share.
        joining = time.time()
        two.start()
        within(60, lambda: assert_shared(one, two))
        joined = time.time()
        within(30, check_scores)
        time.sleep(2 * SCRAPE_S)  # for what may yet be wrong
        ended = time.time()

        assert_undisturbed(server, counts, began, ended, [(began, left), (joining, joined)])


def assert_shared(*workers: WorkerProcess) -> None:
    """Every partition is owned and processed by exactly one of the workers, and each has some."""
    owned: list[int] = []
    for worker in workers:
        said = worker.problem("/readyz")  # the same members, ready or not
        assert said.startswith("{"), said
        state = json.loads(said)
        assert state["joined"]
        assert state["owned_partitions"]
        assert not state["restoring"]
        owned += state["owned_partitions"]
    assert sorted(owned) == list(range(PARTITIONS))


def assert_firing(server: PrometheusServer, *names: str) -> None:
    assert {alert["labels"]["alertname"] for alert in server.alerts() if alert["state"] == "firing"} == set(names)


def assert_recorded(server: PrometheusServer, rows: ScoreRows) -> None:
    """The recorded series, against score rows that are computed from the contract."""
    for name, field in RECORDED_AS.items():
        found = server.values(name, *ROW)
        expected = {place: row[field] for place, row in rows.items() if row[field] is not None}
        # A segment whose responses have all been retracted may be there at 0 or not at all.
        assert {place for place, value in expected.items() if value or name != "nps:responses"} <= found.keys(), name
        for place, value in found.items():
            assert math.isclose(value, expected[place], rel_tol=1e-9, abs_tol=1e-9), f"{name} of {place}"
    by_category = server.values("nps:window_responses:sum", *ROW, "category")
    for (survey, segment, window, category), value in by_category.items():
        assert value == rows[survey, segment, window][CATEGORIES[category]]


def assert_counters(server: PrometheusServer, oracles: list[Any]) -> None:
    """Counters of all workers together."""
    labels: Counter[Any] = sum((oracle.labels for oracle in oracles), Counter())
    outcomes: Counter[str] = sum((oracle.outcomes for oracle in oracles), Counter())
    reasons: Counter[str] = sum((oracle.reasons for oracle in oracles), Counter())

    def of(event_type: str) -> dict[str, int]:
        return {label: count for (kind, label), count in labels.items() if kind == event_type}

    for metric, label, expected in (
        ("nps_responses_total", "outcome", outcomes),
        ("nps_passive_detected_total", "trigger", of(DETECTED)),
        ("nps_score_changed_total", "change", of(CHANGED)),
        ("nps_passive_withdrawn_total", "cause", of(WITHDRAWN)),
        ("nps_dead_letters_total", "reason", reasons),
    ):
        found = server.values(f"sum by ({label}) ({metric}) > 0", label)
        assert found == {(value,): count for value, count in expected.items() if count}, metric
    assert server.value("sum(nps_end_to_end_seconds_count)") == sum(outcomes.values())


def assert_undisturbed(
    server: PrometheusServer, counts: Any, began: float, ended: float, moves: list[tuple[float, float]]
) -> None:
    """All that was recorded is the truth. What is missing is missing while partitions move and a scrape after that."""
    window = max(WINDOWS, key=lambda name: WINDOWS[name])
    truth: dict[str, set[int]] = {}  # by survey; two values if an hour ended meanwhile
    for at in (began, ended):
        for (survey, segment, of_window), row in score_rows(counts, round(at * 1e6), WINDOWS).items():
            if (segment, of_window) == ("all", window):
                truth.setdefault(survey, set()).add(row["responses"])
    selected = f'{{segment="all", window="{window}"}}'
    recorded = server.query(f"nps:responses{selected}[{ended - began:.0f}s]", ended)
    assert {series.labels["survey"] for series in recorded} == set(truth)
    for series in recorded:
        assert {value for _, value in series.samples} <= truth[series.labels["survey"]]

    # Asked of all that was scraped: evaluations are farther apart, and a busy machine leaves one out now and then.
    guard = rule("nps:partitions_counted_once")
    summed = rule("nps:window_responses:sum").replace("(nps_window_responses)", f"(nps_window_responses{selected})")
    of_survey = f"sum by (survey) ({summed})"
    for series in server.query_range(of_survey, began, ended, STEP_S):
        assert {value for _, value in series.samples} <= truth[series.labels["survey"]]
    (whole,) = server.query_range(guard, began, ended, STEP_S)
    gaps = [(before, after) for (before, _), (after, _) in pairwise(whole.samples) if after - before > 1.5 * STEP_S]
    (raw,) = server.query_range(f"sum(nps_window_responses{selected})", began, ended, STEP_S)
    print(f"partitions moved for {[f'{end - start:.1f} s' for start, end in moves]}")
    print(f"not whole for {[f'{after - before - STEP_S:.1f} s' for before, after in gaps]}")
    print(f"of {truth}, raw sums at every {STEP_S} s: {Counter(value for _, value in raw.samples)}")
    for before, after in gaps:
        assert any(start - STEP_S <= before and after <= end + SCRAPE_S + SLACK_S for start, end in moves), (
            gaps,
            moves,
        )


def rule(name: str) -> str:
    """The expression of a recording rule."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    (expr,) = [rule["expr"] for group in groups for rule in group["rules"] if rule.get("record") == name]
    return str(expr)
