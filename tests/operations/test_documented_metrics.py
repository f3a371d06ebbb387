"""What documents tell operators to query is there: every metric by its name, with the labels that it is asked by."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from streams.intake.metrics import Metrics as IntakeMetrics
from streams.webhooks.metrics import EndpointState
from streams.webhooks.metrics import Metrics as WebhookMetrics
from tests.operations.test_metrics_contract import OPENMETRICS, Worker
from tests.operations.test_prometheus_rules import CASES, RECORDED

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "docs" / f"{name}.md" for name in ("operations", "conversions", "crm", "scaling")]
OF_TARGETS = {"instance", "job", "namespace"}
"""What Prometheus, and whoever finds the targets for it, puts on every series."""
PROPERTIES_OF_CRMS = {
    f"nps_{name}"
    for name in ("action", "customer_id", "event_id", "opened", "reason", "responded_at", "status", "survey_id")
}
"""Names in documents that look like metrics and are fields of a CRM."""

Known = dict[str, set[str]]
Asked = tuple[str, frozenset[str]]


def asked_for(text: str) -> list[Asked]:
    """Each metric that is named in code, with the labels of its braces, of `by (…)`, and of “`…` by label”."""
    found: list[Asked] = []
    blocks = re.compile(r"^```\w*\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
    code = re.findall(r"`([^`\n]+)`(?: by (\w+))?", blocks.sub("", text))
    code += [(line, "") for block in blocks.findall(text) for line in block.split("\n")]
    for expression, told_apart_by in code:
        grouped = {
            label
            for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
            for label in re.split(r",\s*", labels)
            if label
        } | ({told_apart_by} if told_apart_by else set())
        for name, selected in re.findall(r"(?<![\w:.])(nps(?:_[a-z]|:[a-z])[\w:]*)(?:\{([^}]*)\})?", expression):
            if name not in PROPERTIES_OF_CRMS:
                found.append(
                    (name, frozenset(grouped | set(re.findall(r"(\w+)(?=\s*(?:[=!]|,|$))", unquoted(selected)))))
                )
    return found


def unquoted(selectors: str) -> str:
    return re.sub(r'"[^"]*"', '""', selectors)


def unknown(asked: Iterable[Asked], known: Known) -> list[str]:
    """Those that are not there, and the labels that are not."""
    wrong = []
    for name, labels in asked:
        if name not in known:
            wrong.append(name)
        elif missing := labels - known[name] - OF_TARGETS:
            wrong.append(f"{name}{{{', '.join(sorted(missing))}}}")
    return wrong


@pytest.fixture
async def known(tmp_path: Path) -> Known:
    """Labels by name: of what workers, `nps webhooks` and `nps intake` export, and of what the rules record."""
    worker = Worker(tmp_path)
    worker.own(0)
    webhooks = WebhookMetrics(CollectorRegistry(), "1")
    webhooks.endpoint("crm")
    webhooks.attach(lambda: [EndpointState("crm", 0, 0, False, 0)])
    found: Known = {}
    for metrics in (worker.metrics, webhooks, IntakeMetrics(CollectorRegistry(), "1")):
        for family in text_string_to_metric_families((await metrics.render(OPENMETRICS))[0].decode()):
            for sample in family.samples:
                names = {sample.name, family.name} if family.type == "histogram" else {sample.name}
                for name in names:
                    found.setdefault(name, set()).update(sample.labels)
    return found | {name: recorded_labels(name) for name in RECORDED}


def recorded_labels(record: str) -> set[str]:
    """Those with which promtool's unit tests have seen it come out of the rules."""
    expressions = [expected for case in CASES for expected in case.get("promql_expr_test", ())]
    named = re.compile(rf"(?<![\w:]){re.escape(record)}(?![\w:])")
    samples = [
        each["labels"] for test in expressions if named.search(test["expr"]) for each in test["exp_samples"] or ()
    ]
    return {label for labels in samples for label in re.findall(r"(\w+)=", unquoted(labels))}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_metrics_that_are_named_exist_with_their_labels(document: Path, known: Known) -> None:
    assert unknown(asked_for(document.read_text("utf-8")), known) == []


def test_they_are_found_in_the_documents() -> None:
    named = {name for document in DOCUMENTS for name, _ in asked_for(document.read_text("utf-8"))}
    assert len(named) > 15
    assert {"nps:responses", "nps_webhook_deliveries_total", "nps_commits_total"} <= named


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("`rate(nps_commits_total[5m])` by result", []),
        ("`rate(nps_commits_total[5m])` by survey", ["nps_commits_total{survey}"]),
        ("`nps_commits`", ["nps_commits"]),
        ("`nps_processing_seconds`, `nps_processing_seconds_bucket{le}`", []),
        ("`nps_webhook_deliveries_total{endpoint,result}`", []),
        ('`nps_responses_total{outcome="a=b",survey="s"}`', ["nps_responses_total{survey}"]),
        ("`count by (partition, topic) (nps_window_partitions)`", ["nps_window_partitions{topic}"]),
        ('`nps:responses{segment="all",window="1d"} > 0`', []),
        ('`nps:responses{category="eight"}`', ["nps:responses{category}"]),
        ("`nps:responses:sum`", ["nps:responses:sum"]),
        ("```yaml\nexpr: nps_ready_at_all == 0\n```\n", ["nps_ready_at_all"]),
    ],
)
def test_what_is_not_there_would_be_noticed(text: str, wrong: list[str], known: Known) -> None:
    assert unknown(asked_for(text), known) == wrong
