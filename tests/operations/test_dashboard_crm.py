"""The CRM dashboard on a real Prometheus: two `nps webhooks` and an `nps intake`, without Kafka, with all they tell."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from prometheus_client import CollectorRegistry

from streams.http.server import HttpServer
from streams.webhooks.endpoints import HttpEndpoints
from streams.webhooks.metrics import EndpointState, Metrics
from tests.intake.serving import JSON, NDJSON, Intake, lines, response, serving_in_a_thread
from tests.operations.dashboard_drawing import answers_to, draw
from tests.support.dashboard_answers import View, assert_shows_something
from tests.support.dashboards import PanelQuery, dashboards, panels, queries, variables
from tests.support.prometheus_binaries import Binaries
from tests.support.prometheus_server import ROOT, PrometheusServer, Series, scraping
from tests.support.stage import within
from tests.support.threads import in_a_thread

DASHBOARD = dashboards()["nps-crm"]
QUERIES = queries(DASHBOARD)
CHOSEN = {"webhooks_job": "nps-webhooks", "intake_job": "nps-intake", "namespace": "", "endpoint": ".*"}
INTERVAL_S = 1.0

DELIVERED, RETRIED, DEAD, GONE = "delivered", "retried", "dead_lettered", "gone"
ATTEMPTS = (
    {"hubspot": {DELIVERED: 40, RETRIED: 15}, "salesforce": {DELIVERED: 10, GONE: 1}},
    {"hubspot": {DELIVERED: 20, DEAD: 5}, "salesforce": {DELIVERED: 8, GONE: 1}},
)
"""Of each process, by endpoint and result."""
FAILED = {"hubspot": 20 / 80, "salesforce": 2 / 20}
STATES = (
    [EndpointState("hubspot", 7, 1200, False, 1_000), EndpointState("salesforce", 2, 30, True, 1_000)],
    [EndpointState("hubspot", 3, 300, False, 1_000), EndpointState("salesforce", 0, 20, True, 1_000)],
)
QUICK_S, SLOW_S = 0.02, 2.0
"""An attempt that delivers, and one that does not."""
REQUESTS = {202: 32, 401: 4, 422: 3, 503: 1}
RECORDS = {
    ("/v1/responses", "accepted"): 40,
    ("/v1/responses", "refused"): 6,
    ("/v1/follow-ups", "accepted"): 2,
    ("/v1/follow-ups", "refused"): 0,
}


@asynccontextmanager
async def serving(metrics: Metrics) -> AsyncIterator[str]:
    """A `nps webhooks` that tells of its endpoints; gives the address."""
    server = HttpServer("127.0.0.1", 0, HttpEndpoints([], metrics.render).by_path())
    await server.start()
    try:
        yield server.url.removeprefix("http://")
    finally:
        await server.stop()


def deliver(metrics: Metrics, attempts: Mapping[str, Mapping[str, int]]) -> None:
    for endpoint, results in attempts.items():
        told = metrics.endpoint(endpoint)
        for result, count in results.items():
            for _ in range(count):
                told.ended(result)
                told.took(QUICK_S if result == DELIVERED else SLOW_S)


def send(intake: Intake) -> None:
    """What makes `REQUESTS` and `RECORDS`."""

    def post(path: str, headers: Mapping[str, str], *records: dict[str, Any]) -> int:
        request = urllib.request.Request(intake.server.url + path, lines(*records), dict(headers))
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    follow_up = {
        "follow_up_id": "f-1",
        "customer_id": "c-1",
        "survey_id": "s",
        "status": "contacted",
        "action": "personal_follow_up",
        "occurred_at": datetime.now(UTC).isoformat(),
    }
    statuses = [post("/v1/responses", JSON, response()) for _ in range(29)]
    statuses.append(post("/v1/responses", NDJSON, *(response(f"r-{number}") for number in range(11))))
    statuses += [post("/v1/follow-ups", JSON, follow_up) for _ in range(2)]
    statuses += [post("/v1/responses", {**JSON, "Authorization": "Bearer no"}, response()) for _ in range(4)]
    statuses += [post("/v1/responses", NDJSON, *[response(score=11)] * 2, response()) for _ in range(3)]
    intake.published.fails = True
    statuses.append(post("/v1/responses", JSON, response()))
    assert {status: statuses.count(status) for status in statuses} == REQUESTS


@pytest.fixture(scope="module")
def view(prometheus: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """Looked at when Prometheus has seen all."""
    with ExitStack() as stack:
        webhooks = [Metrics(CollectorRegistry(), "1") for _ in ATTEMPTS]
        for metrics, states in zip(webhooks, STATES, strict=True):
            metrics.attach(states.copy)
            deliver(metrics, {state.name: {} for state in states})
        targets = [stack.enter_context(in_a_thread(serving(metrics))) for metrics in webhooks]
        intake = stack.enter_context(serving_in_a_thread())
        config = scraping(targets, job="nps-webhooks", interval_s=INTERVAL_S)
        config["scrape_configs"] += scraping([intake.server.url.removeprefix("http://")], job="nps-intake")[
            "scrape_configs"
        ]
        server = stack.enter_context(PrometheusServer(tmp_path_factory.mktemp("crm") / "prometheus", config))
        server.wait_scraped(3)
        began_s = time.time()
        time.sleep(2 * INTERVAL_S)  # a rate needs two samples, and counters must be seen at 0
        for metrics, attempts in zip(webhooks, ATTEMPTS, strict=True):
            deliver(metrics, attempts)
        send(intake)

        def all_seen() -> float:
            at_s = time.time()
            assert server.value("sum(up)", at_s) == 3
            assert server.value("sum(nps_webhook_deliveries_total)", at_s) == 100
            assert server.value("sum(nps_intake_requests_total)", at_s) == sum(REQUESTS.values())
            return at_s

        yield View(server, began_s, within(30, all_seen), INTERVAL_S, CHOSEN)


@pytest.mark.parametrize("query", QUERIES, ids=[f"{query.panel}: {query.legend}" for query in QUERIES])
def test_the_query_returns_data(view: View, query: PanelQuery) -> None:
    assert_shows_something(query, view.ask(query))


def of_panel(title: str) -> list[PanelQuery]:
    found = [query for query in QUERIES if query.panel == title]
    assert found, title
    return found


def shown(view: View, title: str, **others: str) -> dict[str, list[Series]]:
    """By what the legend of each query says."""
    return {query.legend: view.ask(query, **others) for query in of_panel(title)}


def by(label: str, found: list[Series]) -> dict[str, float]:
    return {series.labels[label]: series.value for series in found}


def test_instances_of_each_are_counted(view: View) -> None:
    for title, count in (("Webhooks", 2), ("Intake", 1)):
        figures = shown(view, title)
        assert [[each.value for each in found] for found in figures.values()] == [[count], [count]], title
    curves = shown(view, "Instances that are up")
    assert {name: [each.value for each in found] for name, found in curves.items()} == {"webhooks": [2], "intake": [1]}


def test_a_line_of_the_table_is_an_endpoint_of_all_processes(view: View) -> None:
    """Prometheus extrapolates what grew to the ends of the range, for each process another way: at most two scrapes'
    worth in about five.
    """
    table = {name: by("endpoint", found) for name, found in shown(view, "Endpoints").items()}
    assert table["disabled"] == {"hubspot": 0, "salesforce": 1}
    assert table["pending"] == {"hubspot": 10, "salesforce": 2}
    assert table["lag"] == {"hubspot": 1500, "salesforce": 50}
    assert table["failed"] == pytest.approx(FAILED, rel=0.3)
    assert table["delivered"] == pytest.approx({"hubspot": 60, "salesforce": 18}, rel=0.6)
    assert table["dead letters"] == pytest.approx({"hubspot": 5, "salesforce": 0}, rel=0.6)


def test_the_figures_above_are_of_all_endpoints(view: View) -> None:
    for title, expected in (("Disabled endpoints", 1), ("Greatest lag", 1500)):
        [found] = shown(view, title, endpoint="another").values()
        assert [each.value for each in found] == [expected], title


def test_what_is_lost_or_not_taken_is_counted(view: View) -> None:
    for title, expected in (("Dead letters", 5), ("Requests not taken", REQUESTS[503])):
        [found] = shown(view, title).values()
        assert [each.value for each in found] == [pytest.approx(expected, rel=0.6)], title
    [found] = shown(view, "Dead letters, by endpoint").values()
    assert by("endpoint", found) == pytest.approx({"hubspot": 5, "salesforce": 0}, rel=0.6)


def test_endpoints_can_be_chosen(view: View) -> None:
    for query in QUERIES:
        if '=~"$endpoint"' in query.promql:
            found = view.ask(query, endpoint="(hubspot|another)")
            assert {each.labels.get("endpoint", "hubspot") for each in found} == {"hubspot"}, query


def test_shares_and_times_are_those_of_what_happened(view: View) -> None:
    failed = by("endpoint", shown(view, "Failed attempts, by endpoint")["{{endpoint}}"])
    assert failed == pytest.approx(FAILED, rel=0.3)
    shares = {name: found[0].value for name, found in shown(view, "5xx and 4xx, out of all requests").items()}
    assert shares == pytest.approx({"5xx": 1 / 40, "4xx": 7 / 40})
    times = {name: by("endpoint", found) for name, found in shown(view, "Time of an attempt, by endpoint").items()}
    assert 0.01 < times["p50 of {{endpoint}}"]["hubspot"] <= 0.025
    assert 1 < times["p99 of {{endpoint}}"]["hubspot"] <= 2.5


def test_requests_and_records_are_told_apart(view: View) -> None:
    """As shares of all: how much a second hangs on the interval."""
    statuses = by("status", shown(view, "Requests, by status")["{{status}}"])
    whole = sum(statuses.values())
    assert {int(status): value / whole for status, value in statuses.items() if value} == pytest.approx(
        {status: count / sum(REQUESTS.values()) for status, count in REQUESTS.items()}
    )
    [found] = shown(view, "Records, by path and result").values()
    records = {(each.labels["path"], each.labels["result"]): each.value for each in found}
    whole = sum(records.values())
    assert {of: value / whole for of, value in records.items()} == pytest.approx(
        {of: count / sum(RECORDS.values()) for of, count in RECORDS.items()}
    )


def test_what_the_variables_offer_is_there(view: View) -> None:
    asked = {name: str(variable["query"]) for name, variable in variables(DASHBOARD).items()}
    offered = {}
    for name in ("webhooks_job", "intake_job", "endpoint"):
        [(metric, label)] = re.findall(r"^label_values\((.+), (\w+)\)$", asked[name])
        selected = PanelQuery("", "", metric, True)
        offered[name] = {each.labels[label] for each in view.ask(selected)}
    assert offered == {
        "webhooks_job": {"nps-webhooks"},
        "intake_job": {"nps-intake"},
        "endpoint": {"hubspot", "salesforce"},
    }


def test_what_the_panels_show_can_be_drawn(view: View, tmp_path: Path) -> None:
    draw(DASHBOARD, answers_to(DASHBOARD, view.ask), {}, "a caption", tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width == 1_600
        assert picture.height > 1_000


@pytest.mark.parametrize(
    ("up", "figure"),
    [
        (("1x9 0x30", "1x40"), 1),
        (("1x9 0x30", "1x9 0x30"), 0),
        (("1x9 stale", "1x9 stale"), 0),
        ((), None),
    ],
    ids=["one of two", "none answers", "no target is left", "it is not run here"],
)
@pytest.mark.parametrize(("title", "job"), [("Webhooks", "nps-webhooks"), ("Intake", "nps-intake")])
def test_none_is_told_from_not_run_here(
    prometheus: Binaries, tmp_path: Path, title: str, job: str, up: tuple[str, ...], figure: int | None
) -> None:
    [query] = [query for query in of_panel(title) if query.legend == "up"]
    series = [
        {"series": f'up{{job="{job}", namespace="n", instance="{instance}"}}', "values": values}
        for instance, values in enumerate(up)
    ]
    others = [{"series": f'up{{job="{job}", namespace="other", instance="c"}}', "values": "1x40"}]
    expected = {
        "expr": query.with_variables({**CHOSEN, "namespace": "n", "__range": "3h"}),
        "eval_time": "30m",
        "exp_samples": [] if figure is None else [{"labels": "{}", "value": figure}],
    }
    file = tmp_path / "test.yml"
    test = {"interval": "1m", "input_series": [*series, *others], "promql_expr_test": [expected]}
    file.write_text(json.dumps({"tests": [test]}))
    done = subprocess.run([prometheus.promtool, "test", "rules", file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_about_webhooks_and_the_intake_is_named_where_its_cause_shows() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules" / "crm.yml").read_text("utf-8"))
    alerts = {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    assert len(alerts) == 9
    for alert, condition in alerts.items():
        naming = [panel for panel in panels(DASHBOARD) if alert in panel["description"]]
        asked = " ".join(target["expr"] for panel in naming for target in panel["targets"])
        about = re.findall(r"\b(?:nps_\w+|up)\b(?=[\[{)])", condition)[0]
        assert f"{about}{{" in asked, alert


def test_lag_is_coloured_from_where_the_alert_looks_at_it() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "rules" / "crm.yml").read_text("utf-8")
    [limit] = re.findall(r"\(nps_webhook_lag_records\) > (\d+)", rules)
    for title in ("Greatest lag", "Lag in records, by endpoint"):
        [panel] = [panel for panel in panels(DASHBOARD) if panel["title"] == title]
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert [step["value"] for step in steps] == [None, float(limit)], title
