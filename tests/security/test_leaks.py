"""Nothing that a person said or is called, and no secret of ours, where operators and bystanders look."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from schemas.topics import Topics
from streams.broker import free_port
from tests.security.commands import nps
from tests.security.conftest import PASSWORD, SUPER_USER, SecureBroker
from tests.support.kafka_reading import read_records
from tests.support.worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOKEN = "token-that-opens-scores"


class Planted:
    """Texts that may be nowhere but in the topics."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, kind: str) -> str:
        text = f"{kind[:2]}{uuid.uuid4().hex[:10]}"  # short: aiokafka's debug lines cut long ones off
        self.texts.append(text)
        return text

    def found_in(self, text: str) -> list[str]:
        return [planted for planted in self.texts if planted in text]


def records(plant: Planted) -> Iterator[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]:
    """Good responses and every kind of bad one, each with something planted wherever a text can be."""

    def response(**more: Any) -> dict[str, Any]:
        return {
            "response_id": plant("response"),
            "customer_id": plant("customer"),
            "survey_id": "s",
            "score": 8,
            "responded_at": datetime.now(UTC).isoformat(),
            "comment": plant("comment"),
            "account_id": plant("account"),
            "segments": {"country": "NO"},
            plant("field"): plant("value"),
            **more,
        }

    def record(given: dict[str, Any], key: str | None = None) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        owner = key or given["customer_id"] or given["response_id"]
        headers = [(plant("header"), plant("value").encode())]
        return str(owner).encode(), json.dumps(given).encode(), headers

    good = response()
    yield record(good)
    yield record({**good, "revision": 1, "score": 9, "comment": plant("comment")})
    yield record({**good, "response_id": plant("response"), "score": 10})
    yield record(response(customer_id=None))
    for score in (0, 7, 8, 9):
        yield record(response(score=score))
    for field, value in {
        "score": plant("score"),
        "responded_at": plant("time"),
        "revision": plant("revision"),
        "csat": plant("csat"),
        "reason": plant("reason"),
        "language": plant("language") + "!",
        "customer_since": plant("since"),
        "segments": {plant("Segment"): plant("value")},
        "comment": plant("comment") * 200,
        "account_id": plant("account") * 20,
        "survey_id": [plant("survey")],
    }.items():
        yield record(response(**{field: value}))
    yield record(response(response_id=plant("long") * 20))
    yield record(response(customer_id=[plant("customer")]), plant("key"))
    yield record(response(), plant("other"))
    yield record(response(responded_at=(datetime.now(UTC) + timedelta(days=1)).isoformat()))
    yield plant("key").encode(), plant("no-json").encode(), []
    yield plant("key").encode(), b'{"comment": "' + plant("cut").encode(), []
    yield plant("key").encode(), b"\xff\xfe" + plant("bytes").encode(), []
    yield plant("key").encode() + b"\xff", json.dumps(response()).encode(), []
    yield plant("key").encode(), plant("large").encode() * 2_000, []
    yield None, json.dumps(response()).encode(), []
    yield None, None, [(plant("header"), plant("value").encode())]
    yield good["customer_id"].encode(), None, []
    yield plant("nobody").encode(), None, []


@pytest.mark.parametrize(("level", "form"), [("info", "json"), ("debug", "text")])
def test_no_personal_data_and_no_secret_where_operators_look(
    level: str, form: str, secure_broker: SecureBroker, unique: str, tmp_path: Path
) -> None:
    plant = Planted()
    topics = Topics(f"{unique}.")
    settings = {
        **secure_broker.scram(SUPER_USER),
        "NPS_TOPIC_PREFIX": topics.prefix,
        "NPS_GROUP_ID": unique,
        "NPS_PARTITIONS": "2",
        "NPS_STATE_DIR": str(tmp_path / "state"),
        "NPS_HTTP_PORT": str(free_port()),
        "NPS_HTTP_TOKEN": TOKEN,
        "NPS_LOG_LEVEL": level,
        "NPS_LOG_FORMAT": form,
    }
    with WorkerProcess(settings, tmp_path / "worker.log") as worker:
        worker.wait_ready()
        producer = Producer({"bootstrap.servers": secure_broker.broker.bootstrap_servers})
        count = 0
        for key, value, headers in records(plant):
            producer.produce(topics.responses, key=key, value=value, headers=headers, partition=count % 2)
            count += 1
        assert producer.flush(30) == 0
        deadline = time.monotonic() + 30
        while (seen := outcomes(worker)) != count:
            worker.check_running()
            assert time.monotonic() < deadline, f"{seen} of {count}"
            time.sleep(0.1)
        said = {path: worker.get(path).decode() for path in ("/metrics", "/readyz", "/healthz")}
        said["/v1/scores"] = worker.get("/v1/scores", Authorization=f"Bearer {TOKEN}").decode()
        for arguments in (["settings"], ["settings", "--json"], ["doctor"], ["topics"]):
            answer = nps(settings, *arguments)
            said[" ".join(arguments)] = answer.stdout + answer.stderr
        assert worker.sigterm() == 0
    said["log"] = worker.log()

    ours = Planted()
    ours.texts = [PASSWORD, TOKEN]
    assert "sasl_auth_bytes" not in said["log"], "with PLAIN that is the password"
    for where, text in said.items():
        assert plant.found_in(text) == [], where
        assert ours.found_in(text) == [], where
    rejected = list(read_records(secure_broker.broker.bootstrap_servers, topics.dead_letter))
    assert len(rejected) >= 15
    for record in rejected:
        appended = [value for name, value in record.headers if name.startswith(("nps.", "__connect."))]
        assert len(appended) == 6
        assert plant.found_in(b"\n".join(appended).decode()) == []


def outcomes(worker: WorkerProcess) -> float:
    return sum(value for (name, _), value in worker.metrics().items() if name == "nps_responses_total")


@pytest.mark.parametrize("topic", ["journeys", "segment_counts"])
def test_a_worker_that_stops_because_of_what_it_cannot_read_says_where_and_not_what(
    topic: str, secure_broker: SecureBroker, unique: str, tmp_path: Path
) -> None:
    plant = Planted()
    topics = Topics(f"{unique}.")
    settings = {
        **secure_broker.scram(SUPER_USER),
        "NPS_TOPIC_PREFIX": topics.prefix,
        "NPS_GROUP_ID": unique,
        "NPS_PARTITIONS": "1",
        "NPS_STATE_DIR": str(tmp_path / "state"),
        "NPS_HTTP_PORT": str(free_port()),
        "NPS_LOG_LEVEL": "debug",
    }
    assert nps(settings, "topics", "--create").returncode == 0
    producer = Producer({"bootstrap.servers": secure_broker.broker.bootstrap_servers})
    key = json.dumps(["customer", plant("customer"), "s"], separators=(",", ":"))
    producer.produce(getattr(topics, topic), key=key, value=b"\x63" + plant("value").encode())
    assert producer.flush(30) == 0
    with WorkerProcess(settings, tmp_path / "worker.log") as worker:
        assert worker.wait(60) == 1
    assert plant.found_in(worker.log()) == []
    assert PASSWORD not in worker.log()
