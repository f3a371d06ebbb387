"""A worker that can't work says so in one sentence, with what to do, and ends with status 1."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka import Consumer

from schemas.topics import Topics
from streams.broker import Broker, free_port
from streams.engine.topics import ensure_topics, reach_broker
from tests.support.kafka_reading import partitions_of
from tests.support.worker import ROOT, WorkerProcess, worker_environment


def refusal(environment: dict[str, str], timeout_s: float = 30) -> str:
    """Run a worker that must refuse to start; return its sentence, without what it logged before."""
    ended = subprocess.run(
        [sys.executable, "-m", "streams.cli", "worker"],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert ended.returncode == 1, ended
    assert ended.stdout == ""
    *logged, sentence = ended.stderr.splitlines()
    assert all(" INFO " in line or " WARNING " in line for line in logged), ended.stderr
    assert sentence.startswith("nps: ")
    return sentence


@pytest.fixture
def environment(broker: Broker, unique: str, unique_prefix: str, tmp_path: Path) -> dict[str, str]:
    return worker_environment(broker.bootstrap_servers, unique_prefix, unique, free_port(), tmp_path / "state", 2)


def create(bootstrap_servers: str, *topics: NewTopic) -> None:
    async def create() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
        await admin.start()
        try:
            await admin.create_topics(list(topics))
        finally:
            await admin.close()

    asyncio.run(create())


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.parametrize("silent", [False, True], ids=["nobody-listens", "nobody-answers"])
def test_an_unreachable_broker(tmp_path: Path, free_port: int, silent_port: int, silent: bool) -> None:
    address = f"127.0.0.1:{silent_port if silent else free_port}"
    began = time.monotonic()
    sentence = refusal(worker_environment(address, "nps.", "nps", 0, tmp_path, 2, broker_wait_s="2"))
    assert f"no Kafka broker answers at {address}" in sentence
    assert "NPS_BOOTSTRAP_SERVERS" in sentence
    assert 2 <= time.monotonic() - began < 40


def test_a_broker_that_comes_late_is_waited_for(needs_broker: None, tmp_path: Path) -> None:
    late = Broker(tmp_path / "broker", short_lived=True)
    environment = worker_environment(late.bootstrap_servers, "nps.", "nps", free_port(), tmp_path / "state", 2)
    with WorkerProcess(environment, tmp_path / "worker.log") as worker:
        while f"waiting for a Kafka broker at {late.bootstrap_servers}" not in worker.log():
            worker.check_running()  # it does not wait without a word, nor for ever
            time.sleep(0.1)
        with late:
            worker.wait_ready()
            assert worker.sigterm() == 0


def test_partition_counts_that_disagree(environment: dict[str, str], unique_prefix: str) -> None:
    topics = Topics(unique_prefix)
    create(
        environment["NPS_BOOTSTRAP_SERVERS"],
        NewTopic(topics.responses, 3, 1),
        NewTopic(topics.journeys, 5, 1),
        NewTopic(topics.segment_scores, 3, 1),
    )
    sentence = refusal(environment)
    assert f"{topics.responses} has 3" in sentence
    assert f"{topics.journeys} has 5 partitions and needs 3" in sentence
    assert f"{topics.segment_scores} has 3 partitions and needs 1" in sentence
    assert "recreate those topics" in sentence
    assert partitions_of(environment["NPS_BOOTSTRAP_SERVERS"], topics.dead_letter) == [], "nothing was created"


async def test_of_two_that_create_topics_at_once_both_take_the_number_that_came_first(
    broker: Broker, unique_prefix: str
) -> None:
    topics = Topics(unique_prefix)
    admins = [await reach_broker({"bootstrap_servers": broker.bootstrap_servers}, 10) for _ in range(2)]
    counts = await asyncio.gather(
        *(ensure_topics(admin, topics, number, 1, create=True) for admin, number in zip(admins, (2, 3), strict=True))
    )
    for admin in admins:
        await admin.close()
    assert set(counts) == {len(partitions_of(broker.bootstrap_servers, topics.responses))}


def test_missing_topics_that_it_may_not_create(environment: dict[str, str], unique_prefix: str) -> None:
    sentence = refusal({**environment, "NPS_CREATE_TOPICS": "false"})
    assert all(spec.name in sentence for spec in Topics(unique_prefix).all())
    assert "nps topics --create" in sentence


def test_settings_that_are_wrong(environment: dict[str, str]) -> None:
    sentence = refusal({**environment, "NPS_WINDOWS": "1d,401d"})
    assert "NPS_WINDOWS" in sentence
    assert "401d" in sentence
    assert "NPS_GROUP_ID" in refusal({**environment, "NPS_GROUPID": "other"}), "the nearest known name"


def test_a_state_directory_that_can_not_be_used(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sentence = refusal({**environment, "NPS_STATE_DIR": str(tmp_path / "file")})
    assert str(tmp_path / "file") in sentence
    assert "NPS_STATE_DIR" in sentence


def test_state_and_port_that_others_use(environment: dict[str, str], unique: str, tmp_path: Path) -> None:
    """A living worker holds its state directory and its port; after it has gone, the directory is still its group's."""
    elsewhere = {**environment, "NPS_STATE_DIR": str(tmp_path / "elsewhere")}
    with WorkerProcess(environment, tmp_path / "worker.log") as worker:
        worker.wait_ready()
        assert worker.process is not None
        locked = refusal({**environment, "NPS_HTTP_PORT": str(free_port())})
        assert f"in use by a living worker (pid {worker.process.pid})" in locked
        taken = refusal(elsewhere)
        assert environment["NPS_HTTP_PORT"] in taken
        assert "NPS_HTTP_PORT" in taken
        worker.check_running()
        assert worker.sigterm() == 0
    others = refusal({**environment, "NPS_GROUP_ID": "other"})
    assert f"belongs to group {unique!r}, this worker's is 'other'" in others
    assert "NPS_STATE_DIR" in others
    others = refusal({**environment, "NPS_TOPIC_PREFIX": f"{unique}.other."})
    assert f"belongs to topic prefix '{unique}.'" in others


def test_a_group_that_others_are_in_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    group, servers = environment["NPS_GROUP_ID"], environment["NPS_BOOTSTRAP_SERVERS"]
    topic = f"{environment['NPS_TOPIC_PREFIX']}responses"
    create(servers, NewTopic(topic, 2, 1))
    settings = {"bootstrap.servers": servers, "group.id": group}
    with closing(Consumer(settings)) as other, WorkerProcess(environment, tmp_path / "worker.log") as worker:
        other.subscribe([topic])
        deadline = time.monotonic() + 60
        while not other.assignment():
            other.poll(0.1)
            assert time.monotonic() < deadline
        while worker.running and time.monotonic() < deadline:
            other.poll(0.1)
        assert worker.wait(0) == 1, worker.last_words()
    assert f"the group {group} has members that are no workers: stop them, or" in worker.last_words(1)
    assert "Traceback" not in worker.log()
