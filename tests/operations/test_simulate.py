"""`nps simulate`: what it sends and when, to Kafka and as lines; it ends by itself or when asked."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from schemas.response import Rejected, accept
from streams.broker import Broker
from streams.cli import simulated_crm
from streams.cli.application import app
from tests.support.kafka_reading import read_records
from tests.support.oracle_reading import Record
from tests.support.stage import stage_for

DAY_MS = 86_400_000


def simulate(*options: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["simulate", *options], env=environment)


def valid(lines: bytes) -> int:
    accepted = 0
    for line in lines.splitlines():
        try:
            accept(re.findall(rb'"customer_id":"([^"]+)"', line)[0], line, time.time_ns() // 1_000_000)
            accepted += 1
        except (Rejected, IndexError):
            pass
    return accepted


def test_life_as_it_happens_is_as_many_lines_as_asked_for_at_the_rate() -> None:
    started = time.monotonic()
    result = simulate("--responses", "200", "--rate", "200", "--output", "-")
    assert result.exit_code == 0, result.output
    assert 0.8 < time.monotonic() - started < 4
    assert len(result.stdout_bytes.splitlines()) in (199, 200), "an erasure has no line"
    assert valid(result.stdout_bytes) > 180
    assert re.search(r"^(200|199) records sent: \d+ answers, ", result.stderr, flags=re.MULTILINE)


def test_sped_up_life_covers_more_time_and_never_the_future() -> None:
    result = simulate("--responses", "150", "--rate", "150", "--speed", "3600", "--output", "-")
    times = sorted(re.findall(r'"responded_at":"2\d{3}-\d\d-(\d\dT\d\d:\d\d)', result.stdout))
    hours = {text[:5] for text in times}
    assert len(hours) <= 4
    assert len(set(times)) > 30, "an hour, minute by minute"
    assert valid(result.stdout_bytes) > 130


def test_a_replay_fills_the_days_up_to_now() -> None:
    result = simulate("--responses", "4000", "--days", "30", "--output", "-")
    assert result.exit_code == 0
    assert 3_700 < len(result.stdout_bytes.splitlines()) < 4_300
    days = Counter(re.findall(r'"responded_at":"(\d{4}-\d\d-\d\d)', result.stdout))
    assert len([day for day, answers in days.items() if answers > 5]) >= 29


def test_a_seed_is_a_population() -> None:
    def populated(seed: str) -> dict[str, str]:
        options = ("--responses", "100", "--rate", "1000", "--customers", "20", "--seed", seed)
        return dict(
            re.findall(r'"customer_id":"([^"]+)".*?"country":"(..)"', simulate(*options, "--output", "-").stdout)
        )

    first, again, other = populated("5"), populated("5"), populated("6")
    common = first.keys() & again.keys()
    assert len(common) > 15
    assert all(first[customer] == again[customer] for customer in common)
    assert first != other


def test_speed_and_days_exclude_each_other() -> None:
    result = simulate("--days", "3", "--speed", "5")
    assert result.exit_code == 2
    assert "--speed" in result.stderr


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    result = simulate("--output", str(tmp_path / "none" / "x.ndjson"))
    assert result.exit_code == 1
    assert "x.ndjson cannot be written: No such file or directory" in result.stderr


def environment_of(broker: Broker, prefix: str) -> dict[str, str]:
    environment = {
        "NPS_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "NPS_TOPIC_PREFIX": prefix,
        "NPS_PARTITIONS": "3",
    }
    assert CliRunner().invoke(app, ["topics", "--create"], env=environment).exit_code == 0
    return environment


def records_of(broker: Broker, prefix: str) -> list[Record]:
    return list(read_records(broker.bootstrap_servers, f"{prefix}responses"))


def test_a_replay_has_the_record_times_of_its_days_and_the_java_clients_partitions(
    broker: Broker, unique_prefix: str
) -> None:
    result = simulate("--responses", "3000", "--days", "20", environment=environment_of(broker, unique_prefix))
    assert result.exit_code == 0, result.output
    records = records_of(broker, unique_prefix)
    (sent,) = re.findall(r"^([\d,]+) records sent", result.stderr, flags=re.MULTILINE)
    assert len(records) == int(sent.replace(",", ""))
    now_ms = time.time_ns() // 1_000_000
    times = np.array([record.timestamp_ms for record in records])
    assert now_ms - 20.1 * DAY_MS < times.min() < now_ms - 18 * DAY_MS
    assert now_ms - 2 * DAY_MS < times.max() <= now_ms
    # toPositive(murmur2(key)) % 3, computed with the Java client.
    known = {b"c-000001": 1, b"c-000002": 1, b"c-000003": 0, b"c-000004": 0, b"c-000005": 1, b"c-000006": 1}
    placed = {record.key: record.partition for record in records if record.key in known}
    assert len(placed) > 3
    assert placed == {key: known[key] for key in placed if key is not None}


def test_life_as_it_happens_has_our_record_times_and_ends_when_asked(
    broker: Broker, unique_prefix: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "streams.cli", "simulate", "--rate", "200"]
    environment = environment_of(broker, unique_prefix)
    began_ms = time.time_ns() // 1_000_000
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(4)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    records = records_of(broker, unique_prefix)
    assert said.startswith(f"{len(records):,} records sent: ")
    assert 20 < len(records) < 1_000
    assert min(record.timestamp_ms for record in records) >= began_ms
    assert max(record.timestamp_ms for record in records) <= time.time_ns() // 1_000_000 + 1_000


def test_without_its_topic_it_says_how_to_make_it(broker: Broker, unique_prefix: str) -> None:
    environment = {"NPS_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "NPS_TOPIC_PREFIX": unique_prefix}
    result = simulate("--responses", "5", environment=environment)
    assert result.exit_code == 1
    assert "does not exist" in result.stderr
    assert "nps topics --create" in result.stderr


def test_with_a_crm_passives_are_contacted_and_some_are_won(broker: Broker, unique: str, tmp_path: Path) -> None:
    servers = broker.bootstrap_servers
    stage = stage_for(servers, unique, tmp_path)
    with stage.worker() as worker:
        worker.wait_ready()
        options = ("--responses", "3000", "--days", "60", "--customers", "800", "--crm")
        result = simulate(*options, environment=worker.environment)
        assert result.exit_code == 0, result.output
        (sent,) = re.findall(r"^([\d,]+) follow-ups sent", result.stderr, flags=re.MULTILINE)
        count = int(sent.replace(",", ""))
        assert count > 300
        stage.wait_until_done(worker, follow_ups=True)
        outcomes: Counter[str] = Counter()
        for (name, labels), value in worker.metrics().items():
            if name == "nps_follow_ups_total":
                outcomes[dict(labels)["outcome"]] += int(value)
        assert outcomes.total() == count
        assert outcomes["matched"] > 0.6 * count
        assert outcomes["dead_letter"] == 0
        erased = {record.key for record in read_records(servers, stage.topics.responses) if record.value is None}
        unknown = [record.key for record in read_records(servers, stage.topics.follow_ups_dead_letter)]
        assert outcomes["unknown_case"] == len(unknown)
        assert set(unknown) <= erased, "it only reports on what it was told, also where the customer is gone since"
        changed = [
            json.loads(record.value or b"")
            for record in read_records(broker.bootstrap_servers, stage.topics.score_changed)
        ]
        assert any(each["follow_up_action"] for each in changed), "somebody changed after a contact"


def test_a_crm_without_a_worker_says_what_is_missing(
    broker: Broker, unique_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated_crm, "IDLE_LIMIT_S", 1.0)
    environment = environment_of(broker, unique_prefix) | {"NPS_GROUP_ID": unique_prefix}
    result = simulate("--responses", "50", "--days", "5", "--crm", environment=environment)
    assert result.exit_code == 1
    assert "start a worker (nps worker)" in result.stderr


def test_a_crm_does_not_go_with_a_file() -> None:
    result = simulate("--crm", "--output", "-")
    assert result.exit_code == 2
    assert "--crm" in result.stderr
