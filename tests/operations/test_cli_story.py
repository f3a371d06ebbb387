"""The command line beside a real worker: a dead letter, its cause gone, becomes the event that it should have been."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiokafka.partitioner import murmur2
from typer.testing import CliRunner, Result

from schemas.topics import Topics
from streams.broker import Broker, free_port
from streams.cli.application import app
from tests.support.corpus import Produced
from tests.support.kafka_reading import end_offsets, publish, wait_until_committed
from tests.support.worker import WorkerProcess

PARTITIONS = 2
CUSTOMER = "customer-1"


def test_a_dead_letter_replayed_becomes_an_event(
    broker: Broker, unique: str, unique_prefix: str, tmp_path: Path
) -> None:
    topics = Topics(unique_prefix)
    environment = {
        "NPS_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "NPS_GROUP_ID": unique,
        "NPS_TOPIC_PREFIX": unique_prefix,
        "NPS_PARTITIONS": str(PARTITIONS),
        "NPS_STATE_DIR": str(tmp_path / "state"),
        "NPS_HTTP_PORT": str(free_port()),
    }

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=environment)

    assert run("topics", "--create").exit_code == 0
    now = datetime.now(UTC)
    answer = {
        "response_id": "r-1", "customer_id": CUSTOMER, "survey_id": "relationship", "score": 8,
        "responded_at": (now - timedelta(minutes=1)).isoformat(),
    }  # fmt: skip
    # The publisher's clock was an hour slow: the answer seems to be from the future.
    slow_clock_ms = int((now - timedelta(hours=1)).timestamp() * 1000)
    key = CUSTOMER.encode()
    partition = (murmur2(key) & 0x7FFFFFFF) % PARTITIONS
    publish(
        broker.bootstrap_servers,
        topics.responses,
        [Produced(partition, key, json.dumps(answer).encode(), slow_clock_ms)],
    )
    with WorkerProcess(environment, tmp_path / "worker.log") as worker:
        targets = end_offsets(broker.bootstrap_servers, topics.responses)
        wait_until_committed(
            broker.bootstrap_servers,
            unique,
            topics.responses,
            {partition: targets[partition]},
            check=worker.check_running,
        )
        (letter,) = [json.loads(line) for line in run("dead-letters", "list", "--json").stdout.splitlines()]
        assert letter["reason"] == "from_future"
        assert "responded_at" in letter["message"]
        assert (letter["source_topic"], letter["source_partition"]) == (topics.responses, partition)

        assert json.loads(run("dead-letters", "replay", "--json").stdout)["replayed"] == 1
        shown = ""
        deadline = time.monotonic() + 60
        while not shown:
            worker.check_running()
            assert time.monotonic() < deadline, "no event"
            shown = run("events", "--from-beginning", "--no-follow", "--json").stdout
        (event,) = [json.loads(line) for line in shown.splitlines()]
        assert event["type"] == "nps.passive-detected.v1"
        assert (event["data"]["customer_id"], event["data"]["score"]) == (CUSTOMER, 8)

        worker.wait_ready()
        scores = json.loads(run("scores", "--segment", "all", "--window", "1d", "--json").stdout)
        assert [(row["responses"], row["eights"]) for row in scores["scores"]] == [(1, 1)]
        assert "relationship  all" in run("scores").stdout

        doctor = run("doctor", "--json")
        found = {row["check"]: row for row in json.loads(doctor.stdout)}
        assert doctor.exit_code == 0
        assert found["group"]["verdict"] == "ok"
        assert "in use by a living worker" in found["state directory"]["found"]


def test_a_second_worker_on_one_state_directory_is_refused_in_a_sentence(
    broker: Broker, unique: str, unique_prefix: str, tmp_path: Path
) -> None:
    environment = {
        "NPS_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "NPS_GROUP_ID": unique, "NPS_TOPIC_PREFIX": unique_prefix,
        "NPS_PARTITIONS": "1", "NPS_STATE_DIR": str(tmp_path / "state"), "NPS_HTTP_PORT": str(free_port()),
    }  # fmt: skip
    with WorkerProcess(environment, tmp_path / "first.log") as first:
        deadline = time.monotonic() + 60
        while not (tmp_path / "state" / "owner.json").exists():
            first.check_running()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second = WorkerProcess(environment | {"NPS_HTTP_PORT": str(free_port())}, tmp_path / "second.log")
        with second:
            assert second.process is not None
            assert second.process.wait(60) == 1
        said = (tmp_path / "second.log").read_text().splitlines()[-1]
    assert said.startswith("nps: ")
    assert "in use by a living worker" in said
    assert "NPS_STATE_DIR" in said
