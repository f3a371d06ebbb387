"""The README is true: its settings are today's, its links lead somewhere, its programs do what it says."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from schemas.follow_up import accept_follow_up
from schemas.response import accept
from schemas.times import parse_rfc3339
from schemas.topics import Topics
from streams.broker import Broker
from streams.broker_jars import jars_dir, java_command
from streams.cli.application import app
from tests.support.kafka_reading import read_records

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PARTITIONS = 12
CUSTOMERS = ("c-42", "c-1007")


def programs(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def the_one(language: str, with_text: str) -> str:
    (program,) = [program for program in programs(language) if with_text in program]
    return program


def test_the_settings_table_is_what_nps_settings_prints() -> None:
    between = README.partition("<!-- settings: nps settings --markdown -->\n")[2].partition("<!-- end of settings -->")[
        0
    ]
    printed = CliRunner().invoke(app, ["settings", "--markdown"]).stdout
    assert between.strip() == printed.strip(), "put what nps settings --markdown prints between the markers"


def test_every_link_leads_to_a_file() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_that_it_names_exists() -> None:
    known = set(re.findall(r"^│ ([a-z-]+) ", CliRunner().invoke(app, ["--help"]).stdout, flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|[`(] ?|: )nps ([a-z-]+)", README, flags=re.MULTILINE))
    assert named
    assert named <= known


def test_the_example_response_is_one() -> None:
    example, follow_up = programs("json")
    response = accept(b"c-42", example.strip().encode(), 1_800_000_000_000)
    assert (response.customer_id, response.score) == ("c-42", 8)
    told = json.loads(follow_up)
    accept_follow_up(told["customer_id"].encode(), follow_up.encode(), parse_rfc3339(told["occurred_at"]) // 1000)


@pytest.fixture
def here(broker: Broker, unique_prefix: str) -> Iterator[dict[str, str]]:
    """What to replace in a program so that it runs against this test's topics."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    names = [f"{unique_prefix}{name.removeprefix('nps.')}" for name in (Topics().responses, *Topics().events)]
    for created in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        created.result(30)
    yield {"127.0.0.1:9092": broker.bootstrap_servers, "nps.": unique_prefix, '"crm"': f'"{unique_prefix}crm"'}
    for deleted in admin.delete_topics(names).values():
        deleted.result(30)


def adapted(program: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        program = program.replace(old, new)
    return program


def run_program(command: list[str], text: str, file: Path) -> None:
    file.write_text(text, encoding="utf-8")
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=90, cwd=file.parent)
    assert done.returncode == 0, done.stderr


@pytest.mark.kafka
def test_all_publishers_choose_the_partition_that_the_java_client_chooses(here: dict[str, str], tmp_path: Path) -> None:
    java = [java_command(), "-cp", f"{jars_dir()}/*"]
    for customer in CUSTOMERS:
        replacements = here | {"c-42": customer}
        run_program(java, adapted(the_one("java", "KafkaProducer"), replacements), tmp_path / "Publish.java")
        for name in ("from aiokafka import", "from confluent_kafka import Producer"):
            run_program([sys.executable], adapted(the_one("python", name), replacements), tmp_path / "publish.py")
        if shutil.which("kcat"):
            (tmp_path / "kcat.sh").write_text(adapted(the_one("", "kcat -P"), replacements))
            subprocess.run(["sh", str(tmp_path / "kcat.sh")], check=True, timeout=60)
    placed: dict[str, list[int]] = {customer: [] for customer in CUSTOMERS}
    for record in read_records(here["127.0.0.1:9092"], here["nps."] + "responses"):
        assert record.key is not None
        assert record.value is not None
        response = accept(record.key, record.value, 1_800_000_000_000)
        placed[str(response.customer_id)].append(record.partition)
    publishers = 4 if shutil.which("kcat") else 3
    assert [len(partitions) for partitions in placed.values()] == [publishers, publishers]
    assert all(len(set(partitions)) == 1 for partitions in placed.values()), placed
    assert placed["c-42"] != placed["c-1007"], "else any fixed partition would do"


@pytest.mark.kafka
def test_the_subscriber_drops_repeats_also_after_a_restart(here: dict[str, str], tmp_path: Path) -> None:
    # A subscriber that is killed is missed sooner, so that its successor need not wait long.
    program = the_one("python", "sqlite3")
    assert all(f'"{topic}"' in program for topic in Topics().events)
    program = adapted(program, here).replace('"group.id"', '"session.timeout.ms": 1500, "group.id"')
    publish_events(here, ["e-1", "e-2", "e-1", "e-3", "e-2"])
    assert sorted(run_subscriber(program, tmp_path, lambda reports: len(reports) == 5)) == ["new"] * 3 + ["repeat"] * 2
    publish_events(here, ["e-3", "e-4"])
    after_restart = run_subscriber(program, tmp_path, lambda reports: "new" in reports)
    assert set(after_restart[:-1]) == {"repeat"}, "what it had not committed comes again, and e-3"
    with closing(sqlite3.connect(tmp_path / "crm.db")) as crm:
        tasks = crm.execute("SELECT event_id, type, customer_id FROM task ORDER BY event_id").fetchall()
    assert tasks == [(f"e-{number}", "nps.passive-detected.v1", "c-42") for number in (1, 2, 3, 4)]


def publish_events(here: dict[str, str], ids: list[str]) -> None:
    producer = Producer({"bootstrap.servers": here["127.0.0.1:9092"]})
    for event_id in ids:
        data = json.dumps({"event_id": event_id, "customer_id": "c-42"})
        headers = {"ce_type": b"nps.passive-detected.v1", "ce_id": event_id.encode()}
        producer.produce(f"{here['nps.']}passive-detected", data, key="c-42", headers=headers)
    assert producer.flush(30) == 0


def run_subscriber(program: str, folder: Path, done: Callable[[list[str]], bool]) -> list[str]:
    """Run it until it has reported enough; the first word of each report."""
    (folder / "subscriber.py").write_text(program, encoding="utf-8")
    with subprocess.Popen([sys.executable, "subscriber.py"], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        reports: list[str] = []
        try:
            while not done(reports):
                line = process.stdout.readline()
                assert line, f"it ended after {reports}"
                reports.append(line.partition(" ")[0])
        finally:
            process.kill()
    return reports
