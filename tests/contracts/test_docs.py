"""The contract pages: their examples are true, their code runs, and no field is missing."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from jsonschema import Draft202012Validator
from rich.console import Console

from schemas.dead_letters import Reason
from schemas.events import EVENT_MODELS, PASSIVE_DETECTED, PASSIVE_WITHDRAWN, SCORE_CHANGED, cloud_event_headers
from schemas.follow_up import FollowUp, accept_follow_up
from schemas.json_schema import json_schemas
from schemas.response import SurveyResponse
from schemas.scores import ScoreRow
from schemas.times import US_PER_DAY, parse_rfc3339
from schemas.topics import Topics
from streams.broker import Broker
from streams.cli.conversions_command import table
from streams.http.endpoints import CONVERSIONS_PARAMETERS
from streams.rules.case_counts import COUNTER_NAMES, WITHIN_DAYS
from streams.rules.conversions import (
    DIMENSIONS,
    MS_PER_DAY,
    ROW_COUNTERS,
    STATES,
    conversion_row,
    is_mature,
    window_days,
)
from streams.rules.follow_ups import OUTCOMES
from streams.rules.windows import Window, parse_windows
from streams.settings import Settings
from tests.contracts.responses import accepted
from tests.contracts.test_events import CHANGED, DETECTED, WITHDRAWN
from tests.support import case_cells
from tests.support.kafka_reading import read_records

DOCS = Path(__file__).parents[2] / "docs"
PUBLISHING = (DOCS / "publishing.md").read_text("utf-8")
SUBSCRIBING = (DOCS / "subscribing.md").read_text("utf-8")
CONVERSIONS = (DOCS / "conversions.md").read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found
    return found


def rows(page: str, heading: str) -> list[str]:
    """The first cells, code quotes off, of the first table after a text."""
    table = re.search(r"(?:^\|.*\n)+", page[page.index(heading) :], re.MULTILINE)
    assert table
    return [line.split("|")[1].strip().strip("`") for line in table[0].splitlines()[2:]]


def test_the_page_for_publishers_has_every_field_and_every_reason() -> None:
    assert rows(PUBLISHING, "| field |") == list(SurveyResponse.model_fields)
    assert rows(PUBLISHING, "| reason |") == list(Reason)
    assert rows(PUBLISHING, "| field of a follow-up |") == list(FollowUp.model_fields)
    outcomes = {cell.split("|")[2].strip().strip("`") for cell in re.findall(r"^\|.*\|$", PUBLISHING, re.MULTILINE)}
    assert outcomes >= set(OUTCOMES)


@pytest.mark.parametrize("event_type", EVENT_MODELS)
def test_the_page_for_crms_has_every_field(event_type: str) -> None:
    common = rows(SUBSCRIBING, "All begin with")
    own = rows(SUBSCRIBING[SUBSCRIBING.index(f"### `{event_type}`") :], "| field |")
    assert common + own == list(EVENT_MODELS[event_type].model_fields)


def test_the_page_for_crms_has_every_header() -> None:
    named = [header for cell in rows(SUBSCRIBING, "| header |") for header in cell.split("`, `")]
    assert named == [name for name, _ in cloud_event_headers(PASSIVE_DETECTED, "id", "/nps", 0, "c-1", 0)]


def test_the_examples_are_what_the_pages_say_they_are() -> None:
    response, follow_up = blocks(PUBLISHING, "json")
    accepted(response.encode(), key=json.loads(response)["customer_id"].encode())
    key, sent = json.loads(follow_up)["customer_id"].encode(), json.loads(follow_up)
    accept_follow_up(key, follow_up.encode(), parse_rfc3339(sent["occurred_at"]) // 1000)
    assert sent["response_id"] == json.loads(response)["response_id"]
    (detected,) = blocks(SUBSCRIBING, "json")
    Draft202012Validator(json_schemas()[PASSIVE_DETECTED]).validate(json.loads(detected))
    assert EVENT_MODELS[PASSIVE_DETECTED].model_validate_json(detected)


@pytest.mark.parametrize(
    "page", [PUBLISHING, SUBSCRIBING, CONVERSIONS], ids=["publishing", "subscribing", "conversions"]
)
def test_python_compiles_and_shell_parses(page: str) -> None:
    for source in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        compile(source, "example.py", "exec")
    for source in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        subprocess.run(["bash", "-n"], input=source, text=True, check=True)


@pytest.mark.parametrize("page", ["publishing.md", "subscribing.md", "conversions.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (DOCS / page).read_text("utf-8")):
        assert (DOCS / target).exists(), target


# --- what converts ---


def named(heading: str) -> list[str]:
    """All that the first cells of a table name."""
    return [name for cell in rows(CONVERSIONS, heading) for name in cell.split("`, `")]


def test_the_page_of_conversions_has_every_field_and_every_parameter() -> None:
    row = conversion_row([0] * ROW_COUNTERS)
    assert named("| field of a row |") == ["survey_id", "segment", "window", *DIMENSIONS, *row]
    assert named("| parameter |") == list(CONVERSIONS_PARAMETERS)
    assert set(named("| field of a score row |")) == {name for name in ScoreRow.model_fields if "answered" in name}
    states = re.search(r"^\| `nps_window_cases.*$", CONVERSIONS, re.MULTILINE)
    assert states
    assert [name for name in STATES if f"`{name}`" not in states[0]] == []


def test_the_example_of_conversions_is_what_its_counters_give() -> None:
    (example,) = blocks(CONVERSIONS, "json")
    answer = json.loads(example)
    (row,) = answer["conversions"]
    within = [row[f"converted_within_{days}d"] for days in WITHIN_DAYS]
    stored = {
        **row,
        "ms_to_convert": row["days_to_convert"] * MS_PER_DAY,
        **{f"converted_{days}d": n - m for days, n, m in zip(WITHIN_DAYS, within, [0, *within], strict=False)},
    }
    apart = case_cells.apart_of({name: stored[name] for name in COUNTER_NAMES})
    counters = [apart[name] for name in COUNTER_NAMES]
    given = conversion_row([*counters, row["mature_cases"], row["mature_converted_90d"]])
    assert {name: row[name] for name in given} == given
    assert list(row) == ["survey_id", "segment", "window", *answer["by"], *given]
    console = Console(width=200, file=StringIO())
    console.print(table(answer))
    assert isinstance(console.file, StringIO)
    heads, shown, *_ = console.file.getvalue().splitlines()
    assert f"```\n{heads.rstrip()}\n{shown.rstrip()}\n```" in CONVERSIONS


def test_mature_cases_take_the_window_that_the_page_of_conversions_says() -> None:
    (days,) = re.findall(r"Only windows of (\d+) days or more hold a mature case", CONVERSIONS)

    def holds_one(window: Window) -> bool:
        """At any time of the day."""
        today = 20_000
        return is_mature(today - window_days(window) + 1, today * US_PER_DAY)

    def longest(text: str) -> Window:
        return max(parse_windows(text, 400), key=lambda window: window.hours)

    assert holds_one(longest(f"{days}d"))
    assert not holds_one(longest(f"{int(days) - 1}d"))
    (advised,) = re.findall(r"^export NPS_WINDOWS=(.*)$", CONVERSIONS, re.MULTILINE)
    assert holds_one(longest(advised))
    default = Settings.model_fields["windows"].default
    assert f"up to `{longest(default).name}`" in CONVERSIONS
    assert not holds_one(longest(default))


@pytest.fixture
def crm(broker: Broker, unique_prefix: str, unique: str, tmp_path: Path) -> tuple[str, Path, Topics]:
    """The page's consumer as a file, reading topics of this test's own; and those topics, made as the registry says."""
    (source,) = blocks(SUBSCRIBING, "python")
    topics = Topics(unique_prefix)
    script = tmp_path / "crm.py"
    for topic in Topics().events[:3]:  # a reminder opens and closes nothing
        assert f'"{topic}"' in source
        source = source.replace(f'"{topic}"', f'"{unique_prefix}{topic.removeprefix("nps.")}"')
    soon_missed = f'"group.id": "{unique}", "session.timeout.ms": 6000'  # the second run waits until the first is
    script.write_text(source.replace('"group.id": "crm"', soon_missed))
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    wanted = [NewTopic(spec.name, spec.partitions(2), 1, config=spec.config) for spec in topics.all()]
    for made in admin.create_topics(wanted).values():
        made.result(30)
    return broker.bootstrap_servers, script, topics


def send(
    bootstrap_servers: str, transactional_id: str, records: list[tuple[str, str, dict[str, object]]], *, commit: bool
) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "transactional.id": transactional_id})
    producer.init_transactions(30)
    producer.begin_transaction()
    for topic, kind, event in records:
        headers = list(cloud_event_headers(kind, str(event["event_id"]), "/nps", 0, str(event["customer_id"]), 0))
        producer.produce(topic, key=str(event["customer_id"]), value=json.dumps(event), headers=headers)
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def run_until(script: Path, bootstrap_servers: str, tasks: dict[str, str]) -> dict[str, str]:
    """Run the consumer until its tasks are these, or for 30 s; return what they are then."""
    database = script.with_name("crm.db")
    environment = {"CRM_DB": str(database), "BOOTSTRAP_SERVERS": bootstrap_servers}
    found: dict[str, str] = {}
    with subprocess.Popen([sys.executable, str(script)], env=environment) as consumer:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and found != tasks and consumer.poll() is None:
            time.sleep(0.2)
            with sqlite3.connect(database) as db:
                if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'task'").fetchone():
                    found = dict(db.execute("SELECT detection_id, state FROM task").fetchall())
        consumer.kill()
    return found


def test_the_consumer_of_the_page_acts_once_on_what_is_committed(crm: tuple[str, Path, Topics], unique: str) -> None:
    bootstrap_servers, script, topics = crm
    ids = [f"{n:08}-0000-5000-8000-000000000000" for n in range(8)]

    def detected(at: int) -> tuple[str, str, dict[str, object]]:
        """Each of a survey of its own, else one would take the place of another."""
        return topics.passive_detected, PASSIVE_DETECTED, {**DETECTED, "event_id": ids[at], "survey_id": f"s-{at}"}

    changed = {**CHANGED, "event_id": ids[4], "detected_event_id": ids[1]}
    withdrawn = {**WITHDRAWN, "event_id": ids[5], "withdrawn_event_id": ids[2]}
    send(bootstrap_servers, unique, [detected(3)], commit=False)
    send(
        bootstrap_servers,
        unique,
        [
            (topics.passive_withdrawn, PASSIVE_WITHDRAWN, withdrawn),
            (topics.score_changed, SCORE_CHANGED, changed),
            *(detected(at) for at in (0, 1, 2)),
        ],
        commit=True,
    )
    tasks = {ids[0]: "open", ids[1]: "converted", ids[2]: "withdrawn"}
    assert run_until(script, bootstrap_servers, tasks) == tasks

    send(bootstrap_servers, unique, [detected(1), detected(0), detected(6)], commit=True)
    tasks[ids[6]] = "open"
    assert run_until(script, bootstrap_servers, tasks) == tasks


def test_the_consumer_of_the_page_says_how_a_task_ended(crm: tuple[str, Path, Topics], unique: str) -> None:
    bootstrap_servers, script, topics = crm

    def detected(id_: str, **fields: object) -> tuple[str, str, dict[str, object]]:
        return topics.passive_detected, PASSIVE_DETECTED, {**DETECTED, "event_id": id_, "survey_id": "s", **fields}

    def changed(id_: str, of: str, category: str, **fields: object) -> tuple[str, str, dict[str, object]]:
        event = {**CHANGED, "event_id": id_, "detected_event_id": of, "category": category, "survey_id": "s", **fields}
        return topics.score_changed, SCORE_CHANGED, event

    events = [
        detected("first"),
        detected("of-another-survey", survey_id="S"),
        detected("of-another-customer", customer_id="c-other"),
        detected("renewed", trigger="still_passive"),
        detected("newest", trigger="still_passive"),
        changed("e-1", "newest", "promoter"),
        detected("lost", customer_id="c-lost"),
        changed("e-2", "lost", "detractor", change="passive_to_detractor", customer_id="c-lost"),
        # Left without an event, since that change is not configured, and back again.
        detected("left-in-silence", customer_id="c-back"),
        detected("back", customer_id="c-back", trigger="from_detractor"),
    ]
    send(bootstrap_servers, unique, events, commit=True)
    tasks = {
        "first": "superseded",
        "of-another-survey": "open",
        "of-another-customer": "open",
        "renewed": "superseded",
        "newest": "converted",
        "lost": "left",
        "left-in-silence": "superseded",
        "back": "open",
    }
    assert run_until(script, bootstrap_servers, tasks) == tasks


def test_the_first_question_about_conversions_is_of_a_window_that_is_there() -> None:
    asked = re.findall(r"[?&]window=(\w+)|--window (\w+)", CONVERSIONS[: CONVERSIONS.index("## ")])
    assert asked
    windows = {window.name for window in parse_windows(Settings.model_fields["windows"].default, 400)}
    assert {name for names in asked for name in names if name} <= windows


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not here (apt-get install kcat)")
def test_kcat_publishes_a_record_a_line_and_erases(broker: Broker, unique_prefix: str, tmp_path: Path) -> None:
    publish, erase, _ = [source for source in blocks(PUBLISHING, "sh") if "kcat" in source]
    topic = Topics(unique_prefix).responses
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    for created in admin.create_topics([NewTopic(topic, 12, 1)]).values():
        created.result(30)
    answer = json.loads(blocks(PUBLISHING, "json")[0])
    given = {id_: json.dumps({**answer, "customer_id": id_}).encode() for id_ in ("c-1001", "c-42", "c-1007")}
    lines = [b"%b\t%b\n" % (id_.encode(), value) for id_, value in given.items()]
    (tmp_path / "responses.tsv").write_bytes(b"".join(lines))
    for source in (publish, erase):
        here = source.replace("127.0.0.1:9092", broker.bootstrap_servers).replace("nps.responses", topic)
        subprocess.run(["sh", "-c", here], cwd=tmp_path, check=True, timeout=60)
    records = list(read_records(broker.bootstrap_servers, topic))
    sent = [(record.key, record.value) for record in records]
    assert sorted(sent, key=str) == sorted([(b"c-1001", None), *((id_.encode(), given[id_]) for id_ in given)], key=str)
    places = {record.partition for record in records if record.key == b"c-1001"}
    assert len(places) == 1, "an erasure goes where the answers went"
