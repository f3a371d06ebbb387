"""Kafka's ACLs of what speaks HTTP with a CRM: each works with exactly its rights, and names what it lacks."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from schemas.access import Right
from schemas.events import PASSIVE_DETECTED, cloud_event_headers
from schemas.topics import Topics
from streams.broker import free_port
from tests.intake.serving import TOKEN, lines
from tests.intake.serving import response as taken_response
from tests.security import test_access as worker_rights
from tests.security.commands import nps
from tests.security.conftest import SecureBroker
from tests.security.test_access import GROUP, PREFIX, ROLES, User, named
from tests.support.worker import WorkerProcess
from tests.webhooks.events import write_config
from tests.webhooks.receiver import SECRET, Answer, Receiver, always, receiving

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOPICS = Topics(PREFIX)
topics = worker_rights.topics


@pytest.fixture
def user(secure_broker: SecureBroker, topics: None, unique: str, tmp_path: Path) -> User:
    secure_broker.add_user(unique)
    return User(secure_broker, unique, tmp_path)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def webhooks(user: User, receiver: Receiver) -> dict[str, str]:
    return user.settings(
        NPS_WEBHOOKS_FILE=str(write_config(user.directory, {"crm": receiver.url()})),
        NPS_WEBHOOKS_PRIVATE_HOSTS="127.0.0.1",
        SECRET=SECRET,
    )


def process(user: User, settings: dict[str, str], *command: str) -> WorkerProcess:
    return WorkerProcess(settings, user.directory / f"{command[0]}.log", ("streams.cli", *command))


def test_webhooks_deliver_and_replay_with_their_rights(user: User, receiver: Receiver, unique: str) -> None:
    producer = Producer({"bootstrap.servers": user.secure.broker.bootstrap_servers})
    headers = cloud_event_headers(PASSIVE_DETECTED, f"id-{unique}", "/nps", 0, unique, 0)
    producer.produce(TOPICS.passive_detected, b"{}", unique.encode(), headers=list(headers))
    assert producer.flush(30) == 0
    receiver.scripts["/"] = always(Answer(400))
    user.grant(ROLES.webhooks())
    settings = webhooks(user, receiver)
    with process(user, settings, "webhooks", "run") as running:
        running.wait_ready()
        deadline = time.monotonic() + 30
        while not any("dead_lettered" in str(name) and count for name, count in running.metrics().items()):
            assert time.monotonic() < deadline, running.last_words()
            time.sleep(0.1)
        assert running.sigterm() == 0
        assert "Traceback" not in running.log()

    again = User(user.secure, f"{unique}-replay", user.directory)
    user.secure.add_user(again.name)
    again.grant(ROLES.webhooks_replay())
    receiver.scripts["/"] = always(Answer())
    replayed = nps({**webhooks(again, receiver)}, "webhooks", "replay", "crm", "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["delivered"] >= 1


@pytest.mark.parametrize("right", ROLES.webhooks(), ids=named)
def test_without_one_right_webhooks_refuse_to_start_and_name_it(user: User, receiver: Receiver, right: Right) -> None:
    user.grant(each for each in ROLES.webhooks() if each != right)
    refused = nps(webhooks(user, receiver), "webhooks", "run")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (
        f"nps: this Kafka user lacks rights: {named(right)} (docs/security.md lists all that are needed)"
    )


def test_webhooks_with_describe_alone_on_the_group_end_and_say_so(user: User, receiver: Receiver) -> None:
    (group,) = (right for right in ROLES.webhooks() if right.name.startswith(GROUP))
    user.grant(each for each in ROLES.webhooks() if each != group)
    user.grant([group._replace(operation=worker_rights.Operation.DESCRIBE)])
    with process(user, webhooks(user, receiver), "webhooks", "run") as running:
        assert running.wait(30) == 1, running.last_words()
        assert "this Kafka user lacks a right on" in running.log().splitlines()[-1]


def test_an_intake_works_with_its_right_and_not_without(user: User) -> None:
    port = free_port()
    settings = user.settings(NPS_INTAKE_TOKENS=TOKEN, NPS_HTTP_PORT=str(port))
    refused = nps(settings, "intake")
    assert f"lacks rights: {', '.join(map(named, ROLES.intake()))} (" in refused.stderr.splitlines()[-1]
    user.grant(ROLES.intake())
    with process(user, settings, "intake") as running:
        running.wait_ready()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/responses",
            lines(taken_response()),
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 202
        assert running.sigterm() == 0
