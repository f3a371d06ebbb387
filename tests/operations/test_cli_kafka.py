"""`nps topics`, `events`, `dead-letters` and `doctor` on a real broker."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.partitioner import murmur2
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import Result

from schemas import dead_letters, events
from schemas.topics import Topics
from streams.broker import Broker
from streams.cli.dead_letters import replay
from streams.engine.transaction import OffsetNote
from streams.settings import Settings
from tests.support.commands import run, settings_of, with_topics
from tests.support.corpus import Produced
from tests.support.kafka_reading import committed_offsets, end_offsets, partitions_of, publish, read_records

PARTITIONS = 3


@pytest.fixture
def settings(broker: Broker, unique: str, unique_prefix: str, tmp_path: Path) -> dict[str, str]:
    """Settings of a test's own topics, which do not exist yet."""
    return {**settings_of(broker, unique, unique_prefix, PARTITIONS), "NPS_STATE_DIR": str(tmp_path / "state")}


@pytest.fixture
def environment(settings: dict[str, str]) -> dict[str, str]:
    """The same, with the topics."""
    return with_topics(settings)


@pytest.fixture
def topics(unique_prefix: str) -> Topics:
    return Topics(unique_prefix)


def rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def partition_of(key: bytes) -> int:
    return (murmur2(key) & 0x7FFFFFFF) % PARTITIONS


def create(broker: Broker, *wanted: NewTopic) -> None:
    """Create topics and wait until the broker tells of them."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    for future in admin.create_topics(list(wanted)).values():
        future.result()
    deadline = time.monotonic() + 30
    while not {topic.topic for topic in wanted} <= admin.list_topics(timeout=30).topics.keys():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# --- topics ---------------------------------------------------------------------------------------------------------


def test_topics_are_listed_created_and_compared(settings: dict[str, str], topics: Topics, broker: Broker) -> None:
    missing = json.loads(run(settings, "topics", "--json").stdout)
    assert [row["topic"] for row in missing] == [spec.name for spec in (*topics.all(), *topics.of_webhooks())]
    assert {row["problem"] for row in missing} == {"missing"}
    assert partitions_of(broker.bootstrap_servers, topics.responses) == [], "listing creates nothing"
    created = run(settings, "topics", "--create")
    assert created.exit_code == 0
    assert topics.journeys in created.stdout
    after = {row["topic"]: row for row in json.loads(run(settings, "topics", "--json").stdout)}
    assert {row["problem"] for row in after.values()} == {None}
    assert {after[spec.name]["partitions"] for spec in topics.all() if not spec.single} == {PARTITIONS}
    assert after[topics.segment_scores]["partitions"] == 1
    assert after[topics.journeys]["configuration"]["cleanup.policy"] == "compact"


def test_topics_are_created_as_the_responses_are(settings: dict[str, str], topics: Topics, broker: Broker) -> None:
    create(broker, NewTopic(topics.responses, 5))
    assert run(settings, "topics", "--create").exit_code == 0
    assert len(partitions_of(broker.bootstrap_servers, topics.journeys)) == 5


def test_topics_that_disagree_are_named(settings: dict[str, str], topics: Topics, broker: Broker) -> None:
    create(
        broker,
        NewTopic(topics.responses, PARTITIONS),
        NewTopic(topics.journeys, PARTITIONS, config={"cleanup.policy": "delete"}),
        NewTopic(topics.segment_counts, 2, config={"cleanup.policy": "compact"}),
    )
    problems = {row["topic"]: row["problem"] for row in json.loads(run(settings, "topics", "--json").stdout)}
    assert problems[topics.journeys] == "cleanup.policy is delete"
    assert problems[topics.segment_counts] == "2 partitions instead of 3"
    refused = run(settings, "topics", "--create")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert topics.segment_counts in refused.stderr
    doctor = run(settings, "doctor", "--json")
    assert doctor.exit_code == 1
    failed = [row["found"] for row in json.loads(doctor.stdout) if row["verdict"] == "fail"]
    assert len(failed) == 2
    assert any(topics.journeys in found for found in failed)
    assert any(topics.segment_counts in found for found in failed)


# --- events ---------------------------------------------------------------------------------------------------------


def passive_detected(customer: str) -> tuple[bytes, bytes, list[tuple[str, bytes | None]]]:
    data = {"event_id": f"id-{customer}", "customer_id": customer, "survey_id": "relationship", "score": 8}
    data |= {"trigger": "from_detractor", "previous_score": 3}
    headers = events.cloud_event_headers(events.PASSIVE_DETECTED, f"id-{customer}", "/nps", 0, customer, 0)
    return customer.encode(), json.dumps(data).encode(), list(headers)


def score_changed(customer: str) -> tuple[bytes, bytes, list[tuple[str, bytes | None]]]:
    data = {"event_id": f"id-{customer}", "customer_id": customer, "survey_id": "relationship", "score": 9}
    data |= {"change": "passive_to_promoter", "previous_score": 7, "days_passive": 12.34}
    headers = events.cloud_event_headers(events.SCORE_CHANGED, f"id-{customer}", "/nps", 0, customer, 0)
    return customer.encode(), json.dumps(data).encode(), list(headers)


def commit(
    broker: Broker,
    topic: str,
    records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]],
    abort: bool = False,
) -> None:
    """Write records (key, value, headers) in one transaction, and commit or abort it."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": f"writes-{topic}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for key, value, headers in records:
        producer.produce(topic, value, key, headers=headers)
    if abort:
        producer.flush(30)
        producer.abort_transaction(30)
    else:
        producer.commit_transaction(30)


def test_events_shows_what_is_committed(environment: dict[str, str], topics: Topics, broker: Broker) -> None:
    commit(broker, topics.passive_detected, [passive_detected("ghost")], abort=True)
    commit(broker, topics.passive_detected, [passive_detected(f"c-{n}") for n in range(4)])
    commit(broker, topics.score_changed, [score_changed("c-1")])
    dump = ("events", "--from-beginning", "--no-follow")
    found = rows(run(environment, *dump, "--json"))
    assert sorted((row["type"], row["data"]["customer_id"]) for row in found) == [
        *(("nps.passive-detected.v1", f"c-{n}") for n in range(4)),
        ("nps.score-changed.v1", "c-1"),
    ]
    assert {row["topic"] for row in found} == {topics.passive_detected, topics.score_changed}
    assert all(row["id"] == row["data"]["event_id"] for row in found)
    assert all(row["time"] == "1970-01-01T00:00:00Z" < row["record_time"] for row in found)
    assert len(rows(run(environment, *dump, "--json", "--type", "score-changed"))) == 1
    assert len(rows(run(environment, *dump, "--json", "--limit", "2"))) == 2
    text = run(environment, *dump).stdout
    assert "c-1  relationship  7 → 9  passive_to_promoter  after 12.3 days" in text
    assert "c-2  relationship  8  from_detractor  was 3" in text
    assert "ghost" not in text


def test_events_gets_over_what_another_program_wrote(
    environment: dict[str, str], topics: Topics, broker: Broker
) -> None:
    commit(broker, topics.passive_detected, [(b"c", b"\xff{", []), (b"c", None, []), passive_detected("c-1")])
    dump = ("events", "--from-beginning", "--no-follow")
    scores = [row["data"] and row["data"]["score"] for row in rows(run(environment, *dump, "--json"))]
    assert (scores.count(None), scores.count(8)) == (2, 1)
    assert run(environment, *dump).stdout.count("no event") == 2


@pytest.fixture
def tail(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "events", "--json"],
        env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_events_follows_and_ends_well_with_ctrl_c(tail: subprocess.Popen[str], topics: Topics, broker: Broker) -> None:
    assert tail.stdout is not None
    assert tail.stderr is not None
    os.set_blocking(tail.stdout.fileno(), False)
    line, deadline, sent = "", time.monotonic() + 40, 0
    while not line:  # it begins with what is new, so go on until it listens
        assert time.monotonic() < deadline, "nothing was shown"
        commit(broker, topics.passive_detected, [passive_detected(f"c-{sent}")])
        sent += 1
        time.sleep(0.3)
        line = tail.stdout.readline()
    assert json.loads(line)["data"]["customer_id"].startswith("c-")
    tail.send_signal(signal.SIGINT)
    assert tail.wait(15) == 0
    assert tail.stderr.read() == ""


# --- dead letters ---------------------------------------------------------------------------------------------------


def dead_letter(key: str | None, reason: str, offset: int, topics: Topics, *more: tuple[str, bytes]) -> Produced:
    said = dead_letters.headers(reason, f"field {offset} must be so", topics.responses, 1, offset)
    key_bytes = None if key is None else key.encode()
    partition = 0 if key_bytes is None else partition_of(key_bytes)
    value = None if key is None else f"value of {key}".encode()
    return Produced(partition, key_bytes, value, time.time_ns() // 1_000_000, (*more, *said))


def test_dead_letters_are_listed_by_their_last_refusal(
    environment: dict[str, str], topics: Topics, broker: Broker
) -> None:
    first = dead_letters.headers("invalid_json", "an older refusal", topics.responses, 0, 1)
    letters = [dead_letter(f"k-{n}", "invalid_response" if n % 2 else "from_future", n, topics) for n in range(6)]
    letters.append(dead_letter("k-6", "key_mismatch", 6, topics, *first))
    publish(broker.bootstrap_servers, topics.dead_letter, letters)
    found = rows(run(environment, "dead-letters", "list", "--json"))
    assert len(found) == 7
    (last,) = [row for row in found if row["source_offset"] == 6]
    assert (last["reason"], last["message"], last["source_topic"], last["source_partition"]) == (
        "key_mismatch", "field 6 must be so", topics.responses, 1,
    )  # fmt: skip
    assert len(rows(run(environment, "dead-letters", "list", "--json", "--reason", "from_future"))) == 3
    newest = run(environment, "dead-letters", "list", "--json", "--limit", "2")
    assert len(rows(newest)) == 2
    assert "7 dead letters, the newest 2 shown" in newest.stderr
    table = run(environment, "dead-letters", "list")
    assert f"{topics.responses}-1 @ 6" in table.stdout
    assert "value of" not in table.output


def replayed(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    result = run(environment, "dead-letters", "replay", "--json", *arguments)
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_a_replay_publishes_each_dead_letter_once_as_it_was(
    environment: dict[str, str], topics: Topics, broker: Broker, unique: str
) -> None:
    own = ("source", b"shop")
    letters = [dead_letter(f"k-{n}", "from_future", n, topics, own) for n in range(8)]
    publish(broker.bootstrap_servers, topics.dead_letter, letters)
    assert replayed(environment, "--dry-run") == {"replayed": 0, "found": 8, "reasons": {"from_future": 8}}
    assert list(read_records(broker.bootstrap_servers, topics.responses)) == []
    assert replayed(environment)["replayed"] == 8
    assert replayed(environment)["replayed"] == 0
    records = list(read_records(broker.bootstrap_servers, topics.responses))
    assert {(record.key, record.value) for record in records} == {(each.key, each.value) for each in letters}
    assert all(record.headers == (own,) for record in records)
    assert all(record.partition == partition_of(record.key or b"") for record in records)
    last = dead_letter("k-9", "from_future", 9, topics)
    commit(broker, topics.dead_letter, [(last.key, last.value, list(last.headers))])
    assert replayed(environment)["replayed"] == 1
    # To the very end, the transaction's mark included: no lag is left.
    ends = end_offsets(broker.bootstrap_servers, topics.dead_letter)
    assert committed_offsets(broker.bootstrap_servers, f"{unique}-dead-letter-replay", topics.dead_letter) == ends


def test_a_replay_that_is_interrupted_keeps_its_place(
    environment: dict[str, str], topics: Topics, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = [dead_letter(f"k-{n}", "from_future", n, topics) for n in range(8)]
    publish(broker.bootstrap_servers, topics.dead_letter, letters)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = 0

    def interrupt(read: int, total: int) -> None:
        nonlocal done
        done = read
        raise InterruptedError

    with pytest.raises(InterruptedError):
        asyncio.run(replay(Settings.from_environment(), None, False, interrupt))
    assert done > 0
    assert replayed(environment)["replayed"] == 8 - done
    assert len(list(read_records(broker.bootstrap_servers, topics.responses))) == 8


def test_a_replay_of_one_reason_leaves_the_others_for_later(
    environment: dict[str, str], topics: Topics, broker: Broker
) -> None:
    reasons = ("from_future", "invalid_response", "too_large", "key_mismatch")
    letters = [dead_letter(f"k-{n}", reasons[n % 4], n, topics) for n in range(12)]
    publish(broker.bootstrap_servers, topics.dead_letter, [*letters, dead_letter(None, "key_mismatch", 12, topics)])
    assert replayed(environment, "--reason", "invalid_response")["reasons"] == {"invalid_response": 3}
    assert replayed(environment, "--reason", "invalid_response")["replayed"] == 0
    assert replayed(environment)["reasons"] == {"from_future": 3, "key_mismatch": 3}, "what has no key never helps"
    assert replayed(environment)["replayed"] == 0
    records = list(read_records(broker.bootstrap_servers, topics.responses))
    assert len(records) == 9
    assert all(record.key for record in records)


# --- doctor ---------------------------------------------------------------------------------------------------------


def checks(result: Result) -> dict[str, dict[str, str]]:
    return {row["check"]: row for row in json.loads(result.stdout)}


def test_doctor_is_content_with_what_is_right_and_names_what_is_not(
    environment: dict[str, str], topics: Topics, broker: Broker, unique: str
) -> None:
    fresh = run(environment, "doctor", "--json")
    assert fresh.exit_code == 0
    found = checks(fresh)
    right = ("settings", "version", "topics", "lag")
    assert {name: found[name]["verdict"] for name in right} == dict.fromkeys(right, "ok")
    [answered_ms] = re.findall(r"1 broker, answering in ([\d.]+) ms", found["broker"]["found"])
    assert (found["broker"]["verdict"] == "ok") == (float(answered_ms) <= 100), "the tests' machine may be busy"
    assert found["version"]["found"] == "Kafka 4.1 or newer"
    assert found["group"]["verdict"] == "warn"
    assert "nps worker" in found["group"]["advice"]

    now_ms = time.time_ns() // 1_000_000
    placed = [Produced(partition_of(b"%d" % n), b"%d" % n, b"{}", now_ms) for n in range(30)]
    publish(broker.bootstrap_servers, topics.responses, placed)
    found = checks(run(environment, "doctor", "--json"))
    assert found["partitioner"]["verdict"] == "ok"
    assert found["clock"]["verdict"] == "ok"
    assert found["lag"]["verdict"] == "warn"
    assert found["lag"]["found"].startswith("30 records behind")

    misplaced = Produced((partition_of(b"x") + 1) % PARTITIONS, b"x", b"{}", now_ms + 3_000_000)
    publish(broker.bootstrap_servers, topics.responses, [misplaced])
    result = run(environment, "doctor", "--json")
    found = checks(result)
    assert result.exit_code == 1
    assert found["partitioner"]["verdict"] == "fail"
    assert "1 of the newest 31 records" in found["partitioner"]["found"]
    assert "murmur2" in found["partitioner"]["advice"]
    assert found["clock"]["verdict"] == "warn"
    assert "a publisher's clock" in found["clock"]["found"]
    text = run(environment, "doctor")
    assert text.exit_code == 1
    assert "1 failed, 3 warnings" in text.stderr


def test_doctor_sees_members_and_lag(environment: dict[str, str], topics: Topics, broker: Broker, unique: str) -> None:
    now_ms = time.time_ns() // 1_000_000
    publish(broker.bootstrap_servers, topics.responses, [Produced(0, None, b"{}", now_ms) for _ in range(10)])
    publish(broker.bootstrap_servers, topics.follow_ups, [Produced(1, None, b"{}", now_ms) for _ in range(6)])
    publish(broker.bootstrap_servers, topics.follow_ups, [Produced(0, None, b"{}", now_ms) for _ in range(5)])
    # A broker forgets a group's offsets of what it does not subscribe to; that of partition 0 is noted, too.
    offsets = {
        (topics.responses, 0): OffsetAndMetadata(7, OffsetNote(0, 3).encode()),
        (topics.follow_ups, 1): OffsetAndMetadata(2, ""),
    }

    async def commit() -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=broker.bootstrap_servers, group_id=unique, enable_auto_commit=False
        )
        consumer.assign([TopicPartition(*place) for place in offsets])
        await consumer.start()
        await consumer.commit({TopicPartition(*place): at for place, at in offsets.items()})
        await consumer.stop()

    asyncio.run(commit())
    member = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": unique, "enable.auto.commit": False})
    try:
        member.subscribe([topics.responses])
        deadline = time.monotonic() + 30
        while not member.assignment():
            assert time.monotonic() < deadline
            member.poll(0.2)
        found = checks(run(environment, "doctor", "--json"))
    finally:
        member.close()
    assert found["group"]["found"] == f"1 worker in group {unique}"
    assert (found["lag"]["verdict"], found["lag"]["found"]) == ("ok", "3 records behind (by partition 0: 3)")
    follow_ups = found["follow-up lag"]
    assert (follow_ups["verdict"], follow_ups["found"]) == ("ok", "6 records behind (by partition 0: 2, 1: 4)")
