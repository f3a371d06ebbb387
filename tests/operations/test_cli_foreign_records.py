"""Records that no worker wrote, and the largest that one writes, are no trouble to the commands that read them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from schemas import dead_letters
from schemas.topics import Topics
from streams.broker import Broker
from streams.cli import kafka
from streams.cli.console import Failure
from streams.cli.dead_letters import replay
from streams.settings import Settings
from tests.support.commands import run, settings_of, with_topics
from tests.support.kafka_reading import read_records
from tests.support.raw_batches import RawBatch, RawRecord, raw_batch, send_raw

ODD_NAME: tuple[bytes, bytes | None] = (b"\xff\xfename", b"1")


@pytest.fixture
def environment(broker: Broker, unique: str, unique_prefix: str) -> dict[str, str]:
    return with_topics(settings_of(broker, unique, unique_prefix, 1))


@pytest.fixture
def topics(unique_prefix: str) -> Topics:
    return Topics(unique_prefix)


def write(broker: Broker, topic: str, *records: RawRecord) -> None:
    batch = RawBatch(0, raw_batch(records, time.time_ns() // 1_000_000), len(records))
    asyncio.run(send_raw(broker.bootstrap_servers, topic, [batch]))


def test_events_shows_what_it_does_not_know(environment: dict[str, str], topics: Topics, broker: Broker) -> None:
    known = b"nps.passive-detected.v1"
    foreign = [
        (b"c", b"{}", ((b"ce_type", None),)),
        (b"c", b'"hello"', ((b"ce_type", known),)),
        (b"c", b'{"score":7}', ((b"ce_type", known), ODD_NAME)),
    ]
    write(broker, topics.passive_detected, *foreign)
    shown = run(environment, "events", "--from-beginning", "--no-follow")
    assert shown.exit_code == 0, shown.output
    assert [line for line in ("{}", '"hello"', '{"score": 7}') if line not in shown.stdout] == []


def test_dead_letters_are_listed_whatever_their_headers_are(
    environment: dict[str, str], topics: Topics, broker: Broker
) -> None:
    write(broker, topics.dead_letter, (b"c", b"{", ((b"nps.error.reason", None), ODD_NAME)), (b"c", None, ()))
    listed = run(environment, "dead-letters", "list", "--json")
    assert listed.exit_code == 0, listed.output
    assert [json.loads(line)["reason"] for line in listed.stdout.splitlines()] == ["unknown", "unknown"]


def test_doctor_reads_over_header_names_of_any_bytes(
    environment: dict[str, str], topics: Topics, broker: Broker
) -> None:
    write(broker, topics.responses, (b"c", b"{}", (ODD_NAME,)))
    found = {each["check"]: each for each in json.loads(run(environment, "doctor", "--json").stdout)}
    assert found["partitioner"]["found"] == "the newest 1 record are where their keys belong"


async def keep_large(broker: Broker, topics: Topics) -> None:
    """Of a record that was taken into the topic of responses only since its publisher had compressed it."""
    said = dead_letters.headers("invalid_json", "the value is not JSON", topics.responses, 0, 0)
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, max_request_size=10_000_000, compression_type="lz4"
    )
    async with producer:
        headers = [("trace", b"x" * 1_500_000), *said]
        await producer.send_and_wait(topics.dead_letter, b"{", b"c", 0, headers=headers)


def test_a_large_dead_letter_is_replayed(environment: dict[str, str], topics: Topics, broker: Broker) -> None:
    asyncio.run(keep_large(broker, topics))
    result = run(environment, "dead-letters", "replay", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["replayed"] == 1
    (record,) = read_records(broker.bootstrap_servers, topics.responses)
    assert (record.value, [len(value or b"") for _, value in record.headers]) == (b"{", [1_500_000])


def test_a_place_that_kafka_does_not_keep_is_told(
    environment: dict[str, str], topics: Topics, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(keep_large(broker, topics))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("aiokafka.AIOKafkaConsumer.commit", never)
    monkeypatch.setattr(kafka, "IDLE_LIMIT_S", 1.0)
    with pytest.raises(Failure, match="the next replay publishes once more"):
        asyncio.run(replay(Settings.from_environment(), None, False, lambda *_: None))
