"""The rules that are deployed: promtool's unit tests of each, and that they fit the metrics and the runbook."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from schemas.keys import counts_key
from schemas.times import US_PER_HOUR
from streams.engine.formats import CASE_COUNTS, COUNTS
from streams.engine.observer import PartitionStatus
from streams.intake.metrics import Metrics as IntakeMetrics
from streams.metrics import Metrics
from streams.rules.windows import parse_windows
from streams.scoreboard import table
from streams.scoreboard.board import Scoreboard
from streams.webhooks.metrics import EndpointState
from streams.webhooks.metrics import Metrics as WebhookMetrics
from tests.support.prometheus_binaries import Binaries
from tests.support.prometheus_server import RULES

ROOT = Path(__file__).resolve().parents[2]
UNIT_TESTS = sorted((Path(__file__).parent / "prometheus").glob("*.yml"))
RULES_OF = {
    path.name: [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    for path in RULES
}
ALERTS = {rule["alert"]: rule for rules in RULES_OF.values() for rule in rules if "alert" in rule}
RECORDED = {rule["record"]: rule for rules in RULES_OF.values() for rule in rules if "record" in rule}
CASES: list[dict[str, Any]] = [test for path in UNIT_TESTS for test in yaml.safe_load(path.read_text())["tests"]]
RUNBOOK = ROOT / "docs" / "operations.md"
DAY = 20_779


def test_there_are_rules_and_unit_tests() -> None:
    assert {"recording.yml", "alerts.yml", "crm.yml"} <= set(RULES_OF)
    assert len(ALERTS) >= 18
    assert "nps:score" in RECORDED
    names = [rule.get("alert") or rule["record"] for rules in RULES_OF.values() for rule in rules]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_unit_tests_of_promtool_pass(prometheus: Binaries, path: Path) -> None:
    done = subprocess.run([prometheus.promtool, "test", "rules", path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules(prometheus: Binaries) -> None:
    done = subprocess.run(
        [prometheus.promtool, "check", "rules", "--lint=all", "--lint-fatal", *RULES],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_loads_every_rule_file() -> None:
    folder = ROOT / "deploy" / "prometheus"
    patterns = yaml.safe_load((folder / "prometheus.yml").read_text())["rule_files"]
    assert {path for pattern in patterns for path in folder.glob(pattern)} == set(RULES)
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["prometheus"]
    assert "./deploy/prometheus:/etc/prometheus:ro" in compose["volumes"]


def test_the_example_of_an_alertmanager_is_one(prometheus: Binaries, tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
    example = re.search(r"^# alerting:\n(?:#  .*\n)+", text, flags=re.MULTILINE)
    assert example is not None
    with_it = text.replace(example[0], re.sub(r"^# ", "", example[0], flags=re.MULTILINE))
    (manager,) = yaml.safe_load(with_it)["alerting"]["alertmanagers"]
    assert manager["static_configs"][0]["targets"]
    config = tmp_path / "prometheus.yml"
    config.write_text(with_it.replace("rules/*.yml", str(RULES[0].parent / "*.yml")))
    done = subprocess.run([prometheus.promtool, "check", "config", config], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_pager_is_given_a_page_that_is_there() -> None:
    """What the runbook has the Alertmanager do: an address of yours, and what the alert says behind it."""
    (example,) = re.findall(r"^```yaml\n(route:.*?)^```", RUNBOOK.read_text(), flags=re.DOTALL | re.MULTILINE)
    config = yaml.safe_load(example)
    (receiver,) = config["receivers"]
    assert config["route"]["receiver"] == receiver["name"]
    assert "alertname" in config["route"]["group_by"], "else the alerts of a message have no page in common"
    (link,) = receiver["pagerduty_configs"][0]["links"]
    base, _, annotation = link["href"].partition("/blob/main/")
    assert base.startswith("https://")
    used = re.fullmatch(r"{{ \.CommonAnnotations\.(\w+) }}", annotation)
    assert used is not None
    for alert in ALERTS.values():
        path, _, anchor = alert["annotations"][used[1]].partition("#")
        assert (ROOT / path) == RUNBOOK
        assert anchor


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_seen_firing_and_not_firing(alert: str) -> None:
    expected = [
        bool(expected["exp_alerts"])
        for case in CASES
        for expected in case.get("alert_rule_test", ())
        if expected["alertname"] == alert
    ]
    assert set(expected) == {True, False}


@pytest.mark.parametrize("record", RECORDED)
def test_every_recorded_series_is_looked_at(record: str) -> None:
    looked_at = [
        expected["exp_samples"]
        for case in CASES
        for expected in case.get("promql_expr_test", ())
        if re.search(rf"(?<![\w:]){re.escape(record)}(?![\w:])", expected["expr"])
    ]
    assert any(looked_at), "there is no test with samples of it"


@pytest.mark.parametrize("alert", ALERTS)
def test_jobs_that_rules_ask_for_are_scraped(alert: str) -> None:
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    asked = set(re.findall(r'\bjob="([^"]+)"', ALERTS[alert]["expr"]))
    assert asked <= {each["job_name"] for each in scraped}


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_is_wrong_how_urgent_it_is_and_where_to_read_on(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert all(rule["annotations"].values())
    assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{alert.lower()}"
    assert "for" in rule or "keep_firing_for" in rule, "it would come and go with one scrape"


def test_every_alert_has_its_page_in_the_runbook() -> None:
    headings = re.findall(r"^#+ (.+)$", RUNBOOK.read_text(), flags=re.MULTILINE)
    assert {alert.lower() for alert in ALERTS} <= {heading.strip("` ").lower() for heading in headings}


# What the rules read


class Engine:
    joined = True

    def partitions(self) -> list[PartitionStatus]:
        return [PartitionStatus(0, True, 0, 0, 0, 0, 0)]


@pytest.fixture
async def exported(tmp_path: Path) -> dict[str, list[dict[str, str]]]:
    """Labels of each sample that a worker, webhooks and the intake export, by name."""
    board = Scoreboard(parse_windows("1d,7d", 400), 1, lambda: (DAY * 24 + 12) * US_PER_HOUR)
    cases = Scoreboard(board.windows, 1, lambda: (DAY * 24 + 12) * US_PER_HOUR, table.CASES)
    metrics = Metrics(CollectorRegistry(), board, cases, "1", tmp_path)
    metrics.attach(Engine())
    for each, counted in ((board, COUNTS), (cases, CASE_COUNTS)):
        each.partition_opening(0)
        each.partition_rows(0, [(counts_key("s", "all", DAY), counted.encode({0: 1}))])
        each.partition_ready(0)
    webhooks = WebhookMetrics(CollectorRegistry(), "1")
    webhooks.endpoint("crm")
    webhooks.attach(lambda: [EndpointState("crm", 0, 0, False, 0)])
    found: dict[str, list[dict[str, str]]] = {}
    for process in (metrics, webhooks, IntakeMetrics(CollectorRegistry(), "1")):
        for family in text_string_to_metric_families((await process.render(""))[0].decode()):
            for sample in family.samples:
                found.setdefault(sample.name, []).append(sample.labels)
    return found


@pytest.mark.parametrize("name", [*ALERTS, *RECORDED])
def test_a_rule_reads_what_is_there(name: str, exported: dict[str, list[dict[str, str]]]) -> None:
    expr = (ALERTS.get(name) or RECORDED[name])["expr"]
    read = set(re.findall(r"(?<![\w:])(?:nps|process)_\w+", re.sub(r'"[^"]*"', '""', expr)))
    recorded = set(re.findall(r"(?<![\w:])nps:[\w:]+", expr))
    assert read | recorded | set(re.findall(r"\bup\b", expr)), "a rule of nothing"
    assert read <= set(exported)
    assert recorded <= set(RECORDED)
    for metric, matchers in re.findall(r"(?<![\w:])(nps_\w+)\{([^}]*)\}", expr):
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!=|=)\s*"([^"]*)"', matchers):
            values = {labels[label] for labels in exported[metric]}
            assert set(value.split("|") if operator == "=~" else [value]) <= values, f"{metric}{{{label}}}"
