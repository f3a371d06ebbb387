"""The dashboards as files: what the code gives, complete for those who read them, asking for what processes export."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from deploy.grafana.__main__ import DASHBOARDS, main, texts
from deploy.grafana.variables import OF_INTAKE, OF_WEBHOOKS, OF_WORKERS
from schemas.keys import counts_key
from schemas.times import US_PER_DAY
from streams.engine.formats import CASE_COUNTS, COUNTS
from streams.engine.observer import PartitionStatus
from streams.intake.metrics import Metrics as IntakeMetrics
from streams.metrics import Metrics
from streams.rules.windows import parse_windows
from streams.scoreboard.board import Scoreboard
from streams.scoreboard.table import CASES
from streams.webhooks.metrics import EndpointState
from streams.webhooks.metrics import Metrics as WebhookMetrics
from tests.support.dashboards import DIRECTORY, Json, dashboards, panels, queries, variables
from tests.support.prometheus_binaries import Binaries
from tests.support.prometheus_server import ROOT, RULES

GRID_COLUMNS = 24
BUILT_IN = {"__rate_interval", "__range"}
ADDED_BY_PROMETHEUS = {"job", "namespace", "instance"}
BARE = r"\b(up|(?:nps|process)_\w+)(?!\w|\{)"
"""A metric that is asked for without labels."""

JOBS = {"job": "worker"}
JOBS_OF = {"nps-crm": {"webhooks_job": "webhooks", "intake_job": "intake"}}
"""Where a dashboard has others than `JOBS`: variable → the process that it is the job of."""

ALL = dashboards()
PANELS = [(uid, panel) for uid, dashboard in ALL.items() for panel in panels(dashboard)]
each_dashboard = pytest.mark.parametrize("uid", ALL)
each_panel = pytest.mark.parametrize(
    "panel", [panel for _, panel in PANELS], ids=[f"{uid}: {panel['title']}" for uid, panel in PANELS]
)


def test_the_files_are_what_the_code_gives() -> None:
    assert DASHBOARDS == DIRECTORY
    committed = {path.name: path.read_text("utf-8") for path in DIRECTORY.iterdir()}
    assert committed == texts(), "run make dashboards"


def test_the_check_tells_of_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.grafana.__main__.DASHBOARDS", tmp_path)
    monkeypatch.setattr("sys.argv", ["grafana", "--check"])
    assert main() == 1
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("sys.argv", ["grafana"])
    assert main() == 0
    monkeypatch.setattr("sys.argv", ["grafana", "--check"])
    assert main() == 0


def test_dashboards_have_uids_that_links_may_rely_on() -> None:
    assert set(ALL) == {"nps-programme", "nps-follow-up", "nps-processor", "nps-crm"}


def test_whoever_is_on_call_is_told_of_every_dashboard() -> None:
    told = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert [uid for uid in ALL if f"`{uid}`" not in told] == []


@each_dashboard
def test_grafanas_own_model_reads_all_of_it(uid: str) -> None:
    """Every name and enumeration is one of Grafana's; what its model does not know it would drop."""
    read = Dashboard.from_json(ALL[uid])
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == ALL[uid]


@each_panel
def test_a_panel_tells_its_reader_all(panel: Json) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert len(panel["description"]) > 30
    assert panel["description"].endswith(".")
    assert defaults["unit"]
    assert len(defaults["noValue"]) > 5
    assert panel["options"] is not None, "Grafana trips over null"
    steps = defaults["thresholds"]["steps"]
    assert steps[0]["value"] is None
    limits = [step["value"] for step in steps[1:]]
    assert limits
    assert limits == sorted(limits)
    colours = [step["color"] for step in steps]
    assert len(set(colours)) == len(colours)
    said = panel["description"].lower()
    names = {colour.replace("-", " ") for colour in colours} | {"dashed", "threshold"}
    assert any(name in said for name in names), "what the thresholds mean must be said"


def test_alerts_that_panels_name_exist() -> None:
    known = {name for path in RULES for name in re.findall(r"alert: (\w+)", path.read_text("utf-8"))}
    named = {name for _, panel in PANELS for name in re.findall(r"\bNps[A-Z]\w+", panel["description"])}
    assert len(named) > 5
    assert named <= known


@each_panel
def test_a_panel_asks_the_chosen_datasource(panel: Json) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["datasource"] == chosen
    assert [target["datasource"] for target in panel["targets"]] == [chosen] * len(panel["targets"])
    references = [target["refId"] for target in panel["targets"]]
    assert references
    assert len(set(references)) == len(references)
    assert all(target.get("instant", False) != target.get("range", False) for target in panel["targets"])


@each_dashboard
def test_the_layout_is_neat(uid: str) -> None:
    """Within the grid, nothing over anything else, lines of panels filled to the right edge."""
    boxes = [(panel["title"], panel["gridPos"]) for panel in ALL[uid]["panels"]]
    filled: Counter[int] = Counter()
    for _, box in boxes:
        assert 0 <= box["x"] < box["x"] + box["w"] <= GRID_COLUMNS
        filled[box["y"]] += box["w"]
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (one, other)
    assert set(filled.values()) == {GRID_COLUMNS}


@each_dashboard
def test_panels_have_numbers_and_titles_of_their_own(uid: str) -> None:
    numbers = [panel["id"] for panel in ALL[uid]["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) > 0
    titles = [panel["title"] for panel in panels(ALL[uid])]
    assert len(set(titles)) == len(titles)


@each_dashboard
def test_variables_are_defined_used_and_lead_to_the_chosen_datasource(uid: str) -> None:
    dashboard = ALL[uid]
    defined = variables(dashboard)
    text = json.dumps([dashboard["panels"], [each["query"] for each in defined.values()]])
    named = set(re.findall(r"\$\{?(\w+)\}?", text))
    assert named - BUILT_IN - {"__all"} == set(defined)
    assert next(iter(defined)) == "datasource"
    for name, variable in defined.items():
        assert variable["label"]
        if name != "datasource":
            assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert variable["refresh"] == 2, "new surveys, segments and workers appear by themselves"


@pytest.mark.parametrize("uid", ["nps-programme", "nps-follow-up"])
def test_scores_and_cases_are_chosen_by_survey_segment_and_window(uid: str) -> None:
    defined = variables(ALL[uid])
    assert list(defined) == ["datasource", "job", "namespace", "survey", "segment", "window", "dimension"]
    assert [name for name, variable in defined.items() if variable["multi"]] == ["segment", "dimension"]


def test_endpoints_of_all_webhooks_are_shown_unless_some_are_chosen() -> None:
    defined = variables(ALL["nps-crm"])
    assert list(defined) == ["datasource", "webhooks_job", "intake_job", "namespace", "endpoint"]
    assert [name for name, variable in defined.items() if variable["multi"]] == ["endpoint"]
    assert (defined["endpoint"]["allValue"], defined["endpoint"]["current"]["value"]) == (".*", ["$__all"])


@pytest.mark.parametrize(
    ("segment", "found"),
    [("country=NO", "country"), ("all", None), ("country=NO+industry=bank", None), ("plan=a%2Bb", "plan")],
)
def test_what_is_compared_by_is_the_name_of_simple_segments(segment: str, found: str | None) -> None:
    regex = variables(ALL["nps-programme"])["dimension"]["regex"]
    match = re.search(regex.strip("/"), segment)
    assert (match and match[1]) == found


@pytest.fixture
async def exported() -> dict[str, dict[str, set[str]]]:
    """Of each process: name of each sample that it exports → its labels."""
    day = 20_779
    board = Scoreboard(parse_windows("1d,30d", 400), 1, lambda: day * US_PER_DAY)
    cases = Scoreboard(board.windows, 1, lambda: day * US_PER_DAY, CASES)
    for each, counted in ((board, COUNTS), (cases, CASE_COUNTS)):
        each.partition_opening(0)
        each.partition_rows(0, [(counts_key("s", "all", day), counted.encode({0: 1}))])
        each.partition_ready(0)
    metrics = Metrics(CollectorRegistry(), board, cases, "1", DIRECTORY)

    class Engine:
        joined = True

        def partitions(self) -> list[PartitionStatus]:
            return [PartitionStatus(0, True, 0, 0.0, 0, 0, 0)]

    metrics.attach(Engine())
    webhooks = WebhookMetrics(CollectorRegistry(), "1")
    webhooks.endpoint("crm")
    webhooks.attach(lambda: [EndpointState("crm", 0, 0, False, 0)])
    processes = {"worker": metrics, "webhooks": webhooks, "intake": IntakeMetrics(CollectorRegistry(), "1")}
    return {
        name: {
            sample.name: set(sample.labels)
            for family in text_string_to_metric_families((await each.render("text/plain"))[0].decode())
            for sample in family.samples
        }
        for name, each in processes.items()
    }


@each_dashboard
def test_every_metric_and_label_is_one_that_its_process_exports(
    uid: str, exported: dict[str, dict[str, set[str]]]
) -> None:
    jobs = JOBS_OF.get(uid, JOBS)
    looked_up = [str(variable["query"]) for variable in variables(ALL[uid]).values()]
    shown = [query.promql for query in queries(ALL[uid])]
    asked = 0
    for promql in (*shown, *looked_up):
        for name, selector in re.findall(r"\b([a-z_]+)\{([^}]*)\}", promql):
            matched = dict(re.findall(r'(\w+)(?:=~|!=|=)"([^"]*)"', selector))
            of = {process for job, process in jobs.items() if f"${job}" in matched["job"]}
            assert of, (promql, "two deployments must not be added up")
            assert "namespace" in matched or promql in looked_up, (promql, "two deployments must not be added up")
            for process in of:
                labels = set() if name == "up" else exported[process][name]
                assert set(matched) <= labels | ADDED_BY_PROMETHEUS, (promql, name)
            asked += 1
    assert asked > len(shown)
    bare = {name for promql in (*shown, *looked_up) for name in re.findall(BARE, promql)}
    assert bare <= {OF_WORKERS, OF_WEBHOOKS, OF_INTAKE}, "of which deployment?"


@each_dashboard
def test_a_job_is_chosen_among_those_of_its_process(uid: str, exported: dict[str, dict[str, set[str]]]) -> None:
    defined = variables(ALL[uid])
    jobs = JOBS_OF.get(uid, JOBS)
    assert {name for name in defined if name.endswith("job")} == set(jobs)
    for job, process in jobs.items():
        (metric,) = re.findall(r"^label_values\((\w+), job\)$", str(defined[job]["query"]))
        assert [name for name, samples in exported.items() if metric in samples] == [process]


@each_dashboard
def test_rates_take_the_interval_that_grafana_works_out(uid: str) -> None:
    for query in queries(ALL[uid]):
        assert query.promql.count("rate(") == query.promql.count("[$__rate_interval]"), query
        of_range = sum(query.promql.count(f"{function}(") for function in ("increase", "max_over_time"))
        assert of_range == query.promql.count("[$__range]"), query


COUNTED = (
    *("nps_window_responses", "nps_window_cases", "nps_open_cases"),
    *("nps_window_case_groups", "nps_window_conversion_seconds"),
)
SCORES = [
    query
    for dashboard in ALL.values()
    for query in queries(dashboard)
    if any(metric in query.promql for metric in COUNTED)
]
STATES = {"cases": 9, "contacted": 4, "contacted_in_time": 3, "overdue": 2, "converted": 2, "left": 1, "withdrawn": 1}
"""Of cases, so that every panel has something to show."""
GROUP = 'job="j", namespace="n", survey="s", window="30d", score="7", reason="indifferent", action="none"'


@pytest.mark.parametrize(
    ("counted", "shown"),
    [({"a": "0", "b": "1"}, True), ({"a": "01", "b": "1"}, False), ({"a": "0"}, False), ({"a": "0", "b": "0"}, False)],
    ids=["once", "twice", "not", "one twice and one not"],
)
def test_scores_and_cases_are_shown_only_while_every_partition_is_counted_once(
    prometheus: Binaries, tmp_path: Path, counted: dict[str, str], shown: bool
) -> None:
    segments = [f'job="j", namespace="n", survey="s", segment="{name}", window="30d"' for name in ("all", "c=NO")]
    series = [
        {"series": series, "values": f"{value}x3"}
        for worker, partitions in counted.items()
        for series, value in (
            *(
                (f'nps_window_partitions{{job="j",namespace="n",instance="{worker}",partition="{n}"}}', 1)
                for n in partitions
            ),
            *(
                (f'nps_window_responses{{{segment},instance="{worker}",category="{category}"}}', 1)
                for category in ("detractor", "seven", "eight", "promoter")
                for segment in segments
            ),
            *(
                (f'nps_window_cases{{{segment},instance="{worker}",state="{state}"}}', count)
                for state, count in STATES.items()
                for segment in segments
            ),
            *(
                (f'nps_window_case_groups{{{GROUP},instance="{worker}",state="{state}"}}', STATES[state])
                for state in ("cases", "contacted", "converted", "withdrawn")
            ),
            (f'nps_window_conversion_seconds{{{GROUP},instance="{worker}"}}', 86_400),
            (f'nps_open_cases{{job="j",namespace="n",instance="{worker}",survey="s"}}', 1),
        )
    ]
    series.append({"series": 'nps_partitions{job="j",namespace="n",instance="a"}', "values": "2x3"})
    values = {"job": "j", "namespace": "n", "survey": "s", "segment": "c=NO", "window": "30d", "dimension": "c"}
    asked = [f"count({query.with_variables(values)}) > 0" for query in SCORES]
    found = [{"labels": "{}", "value": 1}] if shown else []
    expected = [{"expr": promql, "eval_time": "1m", "exp_samples": found} for promql in asked]
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": expected}]}))
    done = subprocess.run([prometheus.promtool, "test", "rules", file], capture_output=True, text=True, timeout=60)
    assert {metric for metric in COUNTED if any(metric in query.promql for query in SCORES)} == set(COUNTED)
    assert done.returncode == 0, done.stdout + done.stderr
