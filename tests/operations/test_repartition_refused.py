"""A record that the new topics do not take ends a copy before anything is said to be copied."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from schemas.topics import Topics
from streams.broker import Broker
from tests.support.commands import run, settings_of, with_topics
from tests.support.corpus import Produced
from tests.support.kafka_reading import committed_offsets, publish, read_records

LARGE_BYTES = 20_000


def limit_records(broker: Broker, topic: str, size_bytes: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(size_bytes), incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    for done in admin.incremental_alter_configs([changed]).values():
        done.result(30)


@pytest.fixture
def prefixes(broker: Broker, unique: str, unique_prefix: str) -> dict[str, dict[str, str]]:
    """Settings by which topics they are of: `old` has one partition, `new` two."""
    return {
        "old": with_topics(settings_of(broker, unique, unique_prefix, 1)),
        "new": with_topics(settings_of(broker, unique, f"new-{unique_prefix}", 2)),
    }


def test_what_is_refused_is_not_said_to_be_copied(
    prefixes: dict[str, dict[str, str]], broker: Broker, unique: str
) -> None:
    """aiokafka commits a transaction whatever became of what was sent in it."""
    old, new = (Topics(each["NPS_TOPIC_PREFIX"]) for each in prefixes.values())
    now = datetime.now(UTC).isoformat()

    def answer(number: int, comment: str) -> Produced:
        value = {"response_id": f"r{number}", "customer_id": f"c{number}", "survey_id": "s", "score": 7}
        value |= {"responded_at": now, "comment": comment}
        return Produced(0, f"c{number}".encode(), json.dumps(value).encode(), time.time_ns() // 1_000_000)

    incompressible = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(LARGE_BYTES // 6))
    answers = [answer(number, incompressible if number == 2 else "") for number in range(6)]
    publish(broker.bootstrap_servers, old.responses, answers)
    limit_records(broker, new.responses, LARGE_BYTES // 2)
    copy = ("repartition", "--from-prefix", prefixes["old"]["NPS_TOPIC_PREFIX"])
    refused = run(prefixes["new"], *copy)
    assert refused.exit_code == 1
    assert "MessageSizeTooLarge" in refused.stderr
    assert list(read_records(broker.bootstrap_servers, new.responses)) == []
    assert committed_offsets(broker.bootstrap_servers, f"{unique}-repartition", old.responses) == {0: None}

    limit_records(broker, new.responses, 1 << 20)
    copied = run(prefixes["new"], *copy)
    assert copied.exit_code == 0, copied.stderr
    found = {record.value for record in read_records(broker.bootstrap_servers, new.responses)}
    assert found == {each.value for each in answers}
