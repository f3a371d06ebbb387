"""A walk through the runbook: what alerts are about is caused, and what their pages say to look at and to do is done.

Each asserts the metric that the alert is made of, the check that finds the cause, and the cure. Other walks have tests
of their own: alerts that fire in a real Prometheus (`test_runbook_alerts.py`), topics that are gone or have changed
(`tests/engine/test_topics_changed.py`), others in the group, refusals at the start (`tests/engine/test_refusals.py`),
a full disk (`tests/engine/test_disk_failing.py`), a state that is deleted or damaged and workers that fence each other
(`tests/faults`).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner, Result

from streams.broker import Broker
from streams.cli.application import app
from tests.support.corpus import Produced
from tests.support.kafka_reading import read_topic
from tests.support.stage import Stage, stage_for, within
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.kafka
PARTITIONS = 2
CUSTOMER = b"c-1"  # of partition 1 of 2


@pytest.fixture(scope="module")
def stage(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    directory = tmp_path_factory.mktemp("walk")
    return stage_for(broker.bootstrap_servers, f"t-{uuid.uuid4().hex[:12]}", directory, partitions=PARTITIONS)


@pytest.fixture(scope="module")
def worker(stage: Stage) -> Iterator[WorkerProcess]:
    with stage.worker(session_timeout_ms="3000") as running:
        running.wait_ready()
        yield running


def nps(worker: WorkerProcess, *arguments: str, **settings: str) -> Result:
    shared = {name: value for name, value in worker.environment.items() if name != "NPS_STATE_DIR"}
    return CliRunner().invoke(app, list(arguments), env=shared | settings)


def response(number: int, partition: int, score: int = 8) -> Produced:
    value = {
        "response_id": f"r-{number}",
        "customer_id": CUSTOMER.decode(),
        "survey_id": "s",
        "score": score,
        "responded_at": datetime.now(UTC).isoformat(),
    }
    return Produced(partition, CUSTOMER, json.dumps(value).encode(), time.time_ns() // 1_000_000)


def found_by_doctor(worker: WorkerProcess, check: str, **settings: str) -> dict[str, str]:
    findings = json.loads(nps(worker, "doctor", "--json", **settings).stdout)
    (finding,) = [each for each in findings if each["check"] == check]
    return dict(finding)


def total(worker: WorkerProcess, name: str) -> float:
    return sum(value for (each, _), value in worker.metrics().items() if each == name)


def test_misplaced_keys(stage: Stage, worker: WorkerProcess) -> None:
    stage.publish([response(1, 0), response(2, 1)])
    within(20, lambda: expect(total(worker, "nps_misplaced_records_total"), 1))
    found = found_by_doctor(worker, "partitioner")
    assert found["verdict"] == "fail"
    assert f"{stage.topics.responses}-0 @ 0" in found["found"], "the record, whose producer is to be found"
    journeys = read_topic(stage.bootstrap_servers, stage.topics.journeys)
    assert [len({record.key for record in log}) for log in journeys.values()] == [1, 1], "the journey is split"

    moved = f"{stage.topics.prefix}2."
    there = {"NPS_TOPIC_PREFIX": moved, "NPS_GROUP_ID": f"{stage.group_id}-2"}
    assert nps(worker, "topics", "--create", **there).exit_code == 0
    assert nps(worker, "repartition", "--from-prefix", stage.topics.prefix, **there).exit_code == 0
    copies = read_topic(stage.bootstrap_servers, f"{moved}responses")
    assert [len(log) for log in copies.values()] == [0, 2]
    assert found_by_doctor(worker, "partitioner", **there)["verdict"] == "ok"


def test_dead_letters(stage: Stage, worker: WorkerProcess) -> None:
    stage.publish([response(3, 1, score=11), response(4, 1)])
    within(20, lambda: expect(total(worker, "nps_dead_letters_total"), 1))
    listed = nps(worker, "dead-letters", "list", "--limit", "20")
    assert f"invalid_response  {stage.topics.responses}-1 @ 1" in listed.stdout
    assert "score must be an integer from 0 to 10" in listed.stdout
    assert '"score"' not in listed.stdout, "what the record held is not shown"
    again = nps(worker, "dead-letters", "replay", "--reason", "invalid_response")
    assert "1 dead letter published again" in again.stderr
    within(20, lambda: expect(total(worker, "nps_dead_letters_total"), 2))  # nothing was mended


def test_lag_behind_a_worker_that_hangs_and_is_not_ready_at_once(stage: Stage, worker: WorkerProcess) -> None:
    worker.freeze()
    stage.publish([response(number, 1) for number in range(10, 60)])
    assert "50 records behind" in found_by_doctor(worker, "lag")["found"]
    with pytest.raises(TimeoutError):
        worker.get("/healthz", timeout_s=0.5)
    worker.sigkill()  # as the pod is deleted
    worker.start()
    reasons = set()
    while worker.status("/readyz") != 200:
        worker.check_running()
        if (said := worker.problem("/readyz")).startswith("{"):
            reasons.add(json.loads(said).get("detail", ""))
    assert any(reason.startswith("Not ready, waiting for") for reason in reasons), reasons
    within(20, lambda: expect(total(worker, "nps_responses_total"), 50))
    within(20, lambda: expect(total(worker, "nps_consumer_lag_records"), 0))


def expect(found: float, expected: float) -> None:
    assert found == expected
