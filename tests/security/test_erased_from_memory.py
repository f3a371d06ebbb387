"""After an erasure the worker's own memory, all of its Python objects, holds nothing of the customer."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka import Producer

from schemas.topics import Topics
from streams.broker import Broker, free_port
from tests.security.remembering_worker import KNOWN
from tests.security.test_erasure import response
from tests.support.kafka_reading import end_offsets, wait_until_committed
from tests.support.worker import WorkerProcess, worker_environment

REMEMBERING = ("tests.security.remembering_worker",)
UNITS_AFTERWARDS = 3


def in_mind(state_dir: Path, texts: Sequence[str]) -> dict[str, list[str]]:
    """Which of the texts the worker holds, and in what."""
    question, reply = Path(f"{state_dir}.look"), Path(f"{state_dir}.found")
    written = question.with_suffix(".writing")
    written.write_text("\n".join(text[::-1] for text in texts))
    written.rename(question)
    deadline = time.monotonic() + 30
    while not reply.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    found: dict[str, list[str]] = json.loads(reply.read_text())
    reply.unlink()
    return found


def test_an_erased_customer_is_gone_from_memory(broker: Broker, unique: str, tmp_path: Path) -> None:
    """Customers with journeys, one of them passive and reported, and one who answered without a name. The state is as
    fresh as it gets: answered and erased one after another, then others answer.
    """
    topics, state_dir, servers = Topics(f"{unique}."), tmp_path / "state", broker.bootstrap_servers
    names = [uuid.uuid4().hex for _ in range(3)]
    comments = [uuid.uuid4().hex for _ in range(3)]
    producer = Producer({"bootstrap.servers": servers})
    environment = worker_environment(servers, topics.prefix, unique, free_port(), state_dir, 1)
    with WorkerProcess(environment, tmp_path / "worker.log", REMEMBERING) as worker:

        def publish(*records: tuple[str, bytes | None]) -> None:
            for key, value in records:
                producer.produce(topics.responses, key=key, value=value, partition=0)
            assert producer.flush(30) == 0
            targets = end_offsets(servers, topics.responses)
            wait_until_committed(servers, unique, topics.responses, targets, 30, worker.check_running)

        worker.wait_ready()
        *customers, nameless = names
        answers = [
            (name, response(f"{number}-{name}", name, comment))
            for number in range(3)
            for name, comment in zip(customers, comments, strict=False)
        ]
        publish(*answers, (nameless, response(nameless, None, comments[2])))
        assert in_mind(state_dir, [KNOWN[0], *names]).keys() > {KNOWN[0]}, "or this test would show nothing"
        publish(*((name, None) for name in names))
        for unit in range(UNITS_AFTERWARDS):
            publish(*((f"other-{n}", response(f"o-{unit}-{n}", f"other-{n}", "stays")) for n in range(50)))
        found = in_mind(state_dir, [KNOWN[0], *names, *comments])
        assert found.keys() == {KNOWN[0]}, found
        assert worker.sigterm() == 0
