"""Kafka's ACLs: each role works with exactly its rights, and says clearly what it lacks without any one of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka.structs import TopicPartition
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from schemas.access import Operation, Resource, Right, Roles
from schemas.topics import Topics
from streams.broker import free_port
from streams.engine.access import refusal_in
from streams.engine.transaction import TransactionFailed, Transactor
from streams.settings import Settings
from tests.security.commands import nps
from tests.security.conftest import PASSWORD, SUPER_USER, SecureBroker
from tests.support.worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PREFIX = "acl."
GROUP = "acl-workers"
TOPICS = Topics(PREFIX)
ROLES = Roles(TOPICS, GROUP)
WORKER = ROLES.worker(creates_topics=False)
CREATE = next(right for right in ROLES.worker(creates_topics=True) if right not in WORKER)

_RESOURCES = {
    Resource.TOPIC: ResourceType.TOPIC,
    Resource.GROUP: ResourceType.GROUP,
    Resource.TRANSACTIONAL_ID: ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS = {
    Operation.READ: AclOperation.READ,
    Operation.WRITE: AclOperation.WRITE,
    Operation.CREATE: AclOperation.CREATE,
    Operation.DESCRIBE: AclOperation.DESCRIBE,
    Operation.DESCRIBE_CONFIGS: AclOperation.DESCRIBE_CONFIGS,
}


def binding(user: str, right: Right) -> AclBinding:
    return AclBinding(
        _RESOURCES[right.resource],
        right.name,
        ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        _OPERATIONS[right.operation],
        AclPermissionType.ALLOW,
    )


def named(right: Right) -> str:
    return f"{right.operation} {right.resource} {right.name}"


@dataclass(frozen=True)
class User:
    """A SCRAM user with some rights."""

    secure: SecureBroker
    name: str
    directory: Path

    def grant(self, rights: Iterable[Right]) -> None:
        bindings = [binding(self.name, right) for right in rights]
        for future in self.secure.admin.create_acls(bindings).values():
            future.result(30)

    def revoke(self, right: Right) -> None:
        exactly = binding(self.name, right)
        wanted = AclBindingFilter(
            exactly.restype,
            exactly.name,
            exactly.resource_pattern_type,
            exactly.principal,
            exactly.host,
            exactly.operation,
            exactly.permission_type,
        )
        for future in self.secure.admin.delete_acls([wanted]).values():
            assert future.result(30)

    def settings(self, **more: str) -> dict[str, str]:
        return {
            **self.secure.scram(self.name),
            "NPS_TOPIC_PREFIX": PREFIX,
            "NPS_GROUP_ID": GROUP,
            "NPS_PARTITIONS": "2",
            "NPS_STATE_DIR": str(self.directory / "state"),
            "NPS_HTTP_PORT": str(free_port()),
            "NPS_CREATE_TOPICS": "false",
            "NPS_BROKER_WAIT_S": "5",
            **more,
        }

    def worker(self, **more: str) -> WorkerProcess:
        return WorkerProcess(self.settings(**more), self.directory / f"{self.name}.log")

    def consumer(self, group_id: str) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.secure.broker.address_of("SCRAM"),
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": self.name,
                "sasl.password": PASSWORD,
                "group.id": group_id,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )


@pytest.fixture(scope="module")
def topics(secure_broker: SecureBroker) -> None:
    settings = {**secure_broker.scram(SUPER_USER), "NPS_TOPIC_PREFIX": PREFIX, "NPS_PARTITIONS": "2"}
    assert nps(settings, "topics", "--create").returncode == 0


@pytest.fixture
def user(secure_broker: SecureBroker, topics: None, unique: str, tmp_path: Path) -> User:
    secure_broker.add_user(unique)
    return User(secure_broker, unique, tmp_path)


@pytest.fixture
def dead_letter(secure_broker: SecureBroker, topics: None, unique: str) -> str:
    """The key of one."""
    producer = Producer({"bootstrap.servers": secure_broker.broker.bootstrap_servers})
    producer.produce(TOPICS.dead_letter, key=unique, value=b"{}", headers=[("nps.error.reason", b"invalid_response")])
    assert producer.flush(30) == 0
    return unique


@pytest.fixture
def publisher(secure_broker: SecureBroker, topics: None, unique: str, tmp_path: Path) -> User:
    secure_broker.add_user(f"{unique}-publisher")
    publisher = User(secure_broker, f"{unique}-publisher", tmp_path)
    publisher.grant(ROLES.publisher())
    return publisher


def response(customer_id: str, score: int = 8) -> str:
    given = {"response_id": customer_id, "customer_id": customer_id, "survey_id": "s", "score": score}
    return json.dumps({**given, "responded_at": datetime.now(UTC).isoformat()}) + "\n"


def test_every_role_works_with_its_rights(user: User, publisher: User, unique: str) -> None:
    """The worker restarts from an empty disk, too: it may read back all that it wrote."""
    user.grant(WORKER)
    with user.worker(NPS_SCORES_INTERVAL_S="0.5") as worker:
        worker.wait_ready()
        published = nps(publisher.settings(), "publish", "-", stdin=response(unique) + "no response\n")
        assert "1 response published, 1 refused" in published.stderr, published.stderr
        deadline = time.monotonic() + 30
        while worker.metrics()["nps_responses_total", (("outcome", "accepted"),)] < 1:
            worker.check_running()
            assert time.monotonic() < deadline, worker.last_words()
            time.sleep(0.1)
        crm = User(user.secure, f"{unique}-crm", user.directory)
        crm.secure.add_user(crm.name)
        crm.grant(ROLES.crm(f"{unique}-crm-group"))
        consumer = crm.consumer(f"{unique}-crm-group")
        consumer.subscribe(list(TOPICS.events))
        keys = set()
        while unique.encode() not in keys:
            assert time.monotonic() < deadline + 30
            message = consumer.poll(0.5)
            if message is not None:
                assert message.error() is None, message.error()
                keys.add(message.key())
        consumer.commit(asynchronous=False)
        consumer.close()

        operator = User(user.secure, f"{unique}-operator", user.directory)
        operator.secure.add_user(operator.name)
        operator.grant(ROLES.operator())
        doctor = nps(operator.settings(), "doctor")
        assert doctor.returncode == 0, doctor.stdout + doctor.stderr
        assert "1 worker in group" in doctor.stdout
        assert "0 records behind" in doctor.stdout
        assert "responses not looked at: this user may not read them" in doctor.stdout
        assert "partitioner" not in doctor.stdout
        assert nps(operator.settings(), "topics").returncode == 0
        seen_by_a_worker = nps(user.settings(), "doctor")
        assert seen_by_a_worker.returncode == 0, seen_by_a_worker.stdout + seen_by_a_worker.stderr
        assert "their configuration was not looked at" in seen_by_a_worker.stdout
        assert "partitions each" in seen_by_a_worker.stdout
        assert "responses not looked at" not in seen_by_a_worker.stdout
        assert "events not looked at" in seen_by_a_worker.stdout
        assert "are where their keys belong" in seen_by_a_worker.stdout
        time.sleep(1)  # scores are published meanwhile
        assert worker.sigterm() == 0
        assert "cannot be published" not in worker.log()
        assert " ERROR " not in worker.log(), worker.log()


def test_a_worker_that_may_create_topics_does(secure_broker: SecureBroker, unique: str, tmp_path: Path) -> None:
    secure_broker.add_user(unique)
    user = User(secure_broker, unique, tmp_path)
    rights = Roles(Topics(f"{unique}."), GROUP).worker(creates_topics=True)
    settings = {"NPS_TOPIC_PREFIX": f"{unique}.", "NPS_CREATE_TOPICS": "true"}
    user.grant(right for right in rights if right.operation is not Operation.CREATE)
    refused = nps(user.settings(**settings), "worker")
    assert refused.returncode == 1
    says = refused.stderr.splitlines()[-1]
    assert says.startswith(f"nps: this Kafka user may not create the topic {unique}.")
    user.grant(right for right in rights if right.operation is Operation.CREATE)
    with user.worker(**settings) as worker:
        worker.wait_ready()


@pytest.mark.parametrize("right", WORKER, ids=named)
def test_without_one_right_a_worker_refuses_to_start_and_names_it(user: User, right: Right) -> None:
    user.grant(each for each in WORKER if each != right)
    began = time.monotonic()
    refused = nps(user.settings(), "worker")
    assert refused.returncode == 1
    assert time.monotonic() - began < 30
    starts, says = refused.stderr.splitlines()
    assert " starts: group " in starts
    assert says == f"nps: this Kafka user lacks rights: {named(right)} (docs/security.md lists all that are needed)"


@pytest.mark.parametrize(
    "right", [right for right in WORKER if right.resource is not Resource.TOPIC], ids=lambda right: str(right.resource)
)
def test_with_describe_alone_a_worker_ends_and_says_so(user: User, right: Right) -> None:
    """What the look before the start cannot see: the group and the transactional ids may be described, no more."""
    user.grant(each for each in WORKER if each != right)
    user.grant([right._replace(operation=Operation.DESCRIBE)])
    with user.worker() as worker:
        assert worker.wait(30) == 1, worker.last_words()
        assert "this Kafka user lacks a right on" in worker.log().splitlines()[-1]
        assert "Traceback" not in worker.log()


@pytest.mark.parametrize("name", [TOPICS.journeys, TOPICS.responses])
def test_a_right_that_is_taken_away_while_it_runs_ends_the_worker(user: User, publisher: User, name: str) -> None:
    user.grant(WORKER)
    with user.worker() as worker:
        worker.wait_ready()
        for right in WORKER:
            if right.name == name:
                user.revoke(right)
        nps(publisher.settings(), "publish", "-", stdin=response("someone"))
        assert worker.wait(30) == 1, worker.last_words()
        assert "this Kafka user lacks a right on" in worker.log().splitlines()[-1]
        assert name in worker.log()


async def test_an_offset_that_may_not_be_committed_is_named_by_its_topic(user: User) -> None:
    """Where the right to read is taken away between a record's being read and its being committed."""
    user.grant(right for right in WORKER if right.name != TOPICS.responses)
    source = TopicPartition(TOPICS.responses, 0)
    kafka = Settings(**{name[4:].lower(): value for name, value in user.settings().items()}).kafka()
    transactor = Transactor(kafka, GROUP, source, 10_000, lambda _: None)
    try:
        await transactor.start()
        with pytest.raises(TransactionFailed) as failed:
            await transactor.commit({}, [], {source: (1, "")})
    finally:
        await transactor.close()
    refused = refusal_in(failed.value)
    assert refused == f"this Kafka user lacks a right on topic {TOPICS.responses} (see docs/security.md)"


def test_a_publisher_without_its_right_is_told(user: User) -> None:
    blind = nps(user.settings(), "publish", "-", stdin=response("someone"))
    assert blind.returncode == 1
    assert f"{TOPICS.responses} does not exist, or this Kafka user may not see it" in blind.stderr.splitlines()[-1]
    user.grant(right._replace(operation=Operation.DESCRIBE) for right in ROLES.publisher())
    seeing = nps(user.settings(), "publish", "-", stdin=response("someone"))
    assert seeing.returncode == 1
    assert "this Kafka user lacks a right on" in seeing.stderr.splitlines()[-1]


def test_a_replay_needs_the_topics_configuration(publisher: User) -> None:
    replay = ("publish", "-", "--record-time", "responded-at")
    refused = nps(publisher.settings(), *replay, stdin=response("someone"))
    assert refused.returncode == 1
    assert f"this Kafka user lacks a right on topic {TOPICS.responses}" in refused.stderr.splitlines()[-1]
    publisher.grant(ROLES.publisher(replays=True))
    assert nps(publisher.settings(), *replay, stdin=response("someone")).returncode == 0


@pytest.mark.parametrize("right", ROLES.operator(), ids=named)
def test_without_one_right_doctor_says_what_it_cannot_see(user: User, right: Right) -> None:
    user.grant(each for each in ROLES.operator() if each != right)
    looked = nps(user.settings(), "doctor")
    assert looked.returncode == (0 if right.operation is Operation.DESCRIBE_CONFIGS else 1)
    assert "this Kafka user lacks a right on" in looked.stdout or "missing: " in looked.stdout
    assert "Traceback" not in looked.stderr


def test_dead_letters_are_listed_and_replayed_with_their_rights(user: User, dead_letter: str) -> None:
    user.grant(ROLES.dead_letters())
    listed = nps(user.settings(), "dead-letters", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    assert "invalid_response" in listed.stdout
    user.grant(ROLES.dead_letters(replays=True))
    replayed = nps(user.settings(), "dead-letters", "replay", "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["replayed"] >= 1
    again = nps(user.settings(), "dead-letters", "replay", "--json")
    assert json.loads(again.stdout)["replayed"] == 0, "its place is kept"


@pytest.mark.parametrize("right", ROLES.dead_letters(replays=True), ids=named)
def test_without_one_right_dead_letters_are_not_replayed_and_it_is_named(
    user: User, dead_letter: str, right: Right
) -> None:
    user.grant(each for each in ROLES.dead_letters(replays=True) if each != right)
    refused = nps(user.settings(), "dead-letters", "replay")
    assert refused.returncode == 1
    says = refused.stderr.splitlines()[-1]
    assert f"right on {right.resource} {right.name}" in says or f"{right.name} does not exist, or" in says, says
    assert "Traceback" not in refused.stderr
    listed = nps(user.settings(), "dead-letters", "list")
    assert listed.returncode == (1 if right in ROLES.dead_letters() else 0)


def test_a_crm_reads_events_alone(user: User) -> None:
    user.grant(ROLES.crm("crm"))
    consumer = user.consumer("crm")
    for topic in (TOPICS.responses, TOPICS.journeys, TOPICS.dead_letter):
        consumer.subscribe([topic])
        message = None
        while message is None:
            message = consumer.poll(10)
        assert message.error() is not None
        assert "authoriz" in message.error().str().lower()
    with pytest.raises(KafkaException):
        user.consumer("another-group").committed([], timeout=5) or user.consumer(GROUP).list_topics("x", timeout=5)
    consumer.close()
