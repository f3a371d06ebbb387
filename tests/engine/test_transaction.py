"""The transactional producer of one partition, on a real broker: all or nothing, and fenced by the next one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.structs import TopicPartition

from schemas.keys import counts_key, journey_key
from schemas.topics import Topics
from streams.broker import Broker
from streams.engine.topics import ensure_topics, reach_broker
from streams.engine.transaction import Fenced, OffsetNote, Rows, TransactionFailed, Transactor
from streams.engine.unit import Produced
from tests.support.kafka_reading import committed_offsets, read_topic


class Stand:
    """One partition's topics; `rows` names what a transaction writes."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.topics = Topics(prefix)
        self.transactors: list[Transactor] = []

    async def transactor(self, timeout_ms: int = 10_000, compression_type: str = "none") -> Transactor:
        source = TopicPartition(self.topics.responses, 0)
        transactor = Transactor(
            {"bootstrap_servers": self.bootstrap_servers},
            self.topics.prefix,
            source,
            timeout_ms,
            lambda _: None,
            compression_type,
        )
        self.transactors.append(transactor)
        await transactor.start()
        return transactor

    async def commit(self, transactor: Transactor, number: int) -> dict[str, int | None]:
        value = str(number).encode()
        changelogs: dict[str, Rows] = {
            self.topics.journeys: [(journey_key("customer", "c", "s"), value)],
            self.topics.segment_counts: [(counts_key("s", "all", 20_000), value)],
        }
        produced = [Produced(self.topics.passive_detected, b"c", value, ())]
        offsets = {
            TopicPartition(self.topics.responses, 0): (number, OffsetNote(number, number + 1).encode()),
            TopicPartition(self.topics.follow_ups, 0): (number + 1, ""),
        }
        return await transactor.commit(changelogs, produced, offsets)

    def seen(self) -> dict[str, list[bytes | None]]:
        """Committed values by topic."""
        topics = (self.topics.journeys, self.topics.segment_counts, self.topics.passive_detected)
        return {topic: [record.value for record in read_topic(self.bootstrap_servers, topic)[0]] for topic in topics}

    def offset(self) -> int | None:
        """Of the responses; that of the follow-ups was committed with it."""
        responses, follow_ups = (
            committed_offsets(self.bootstrap_servers, self.topics.prefix, topic)[0] for topic in self.topics.inputs
        )
        assert follow_ups == (None if responses is None else responses + 1)
        return responses


async def standing(broker: Broker, unique_prefix: str) -> Stand:
    stand = Stand(broker.bootstrap_servers, unique_prefix)
    admin = await reach_broker({"bootstrap_servers": broker.bootstrap_servers}, 10)
    await ensure_topics(admin, stand.topics, 1, 1, create=True)
    await admin.close()
    return stand


CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def codec_of(broker: Broker, topic: str) -> int:
    """Of the first batch in the topic's partition 0, as it lies on the broker's disk."""
    (segment,) = (broker.data_dir / "log" / f"{topic}-0").glob("*.log")
    attributes = segment.read_bytes()[21:23]
    return int.from_bytes(attributes, "big") & 7


@pytest.mark.parametrize("compression_type", CODECS)
async def test_events_are_compressed_as_told_and_changelogs_always(
    stand: Stand, broker: Broker, compression_type: str
) -> None:
    transactor = await stand.transactor(compression_type=compression_type)
    await stand.commit(transactor, 1)
    assert all(values == [b"1"] for values in stand.seen().values())
    assert codec_of(broker, stand.topics.passive_detected) == CODECS[compression_type]
    assert codec_of(broker, stand.topics.journeys) == codec_of(broker, stand.topics.segment_counts) == CODECS["snappy"]


@pytest.fixture
async def stand(broker: Broker, unique_prefix: str) -> Any:
    stand = await standing(broker, unique_prefix)
    yield stand
    for transactor in stand.transactors:
        await transactor.close()


async def test_commits_follow_each_other_and_tell_the_changelogs_ends(stand: Stand) -> None:
    transactor = await stand.transactor()
    first = await stand.commit(transactor, 1)
    second = await stand.commit(transactor, 2)
    topics = stand.topics
    assert first == {topics.journeys: 1, topics.segment_counts: 1}
    assert second == {topics.journeys: 3, topics.segment_counts: 3}, "past the first one's marker"
    assert all(values == [b"1", b"2"] for values in stand.seen().values())
    assert stand.offset() == 2


@pytest.mark.parametrize("pause_s", [0.0, 0.3], ids=["at-once", "learns-of-it-between-two-batches"])
async def test_whoever_comes_later_fences_the_earlier_one(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, pause_s: float
) -> None:
    earlier = await stand.transactor()
    await stand.commit(earlier, 1)
    later = await stand.transactor()
    send = earlier._producer.send_batch

    async def send_and_pause(*args: Any, **kwargs: Any) -> Any:
        sent = await send(*args, **kwargs)
        await asyncio.sleep(pause_s)
        return sent

    monkeypatch.setattr(earlier._producer, "send_batch", send_and_pause)
    for _ in range(2):  # and it stays so
        with pytest.raises(Fenced):
            await stand.commit(earlier, 2)
    await stand.commit(later, 3)
    assert all(values == [b"1", b"3"] for values in stand.seen().values())
    assert stand.offset() == 3


async def test_the_next_holder_ends_a_transaction_that_was_left_open(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and not when it times out: everything is sent, and then the commit never comes."""
    earlier = await stand.transactor()
    everything_sent = asyncio.Event()

    async def never() -> None:
        everything_sent.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(earlier._producer, "commit_transaction", never)
    hanging = asyncio.create_task(stand.commit(earlier, 1))
    await everything_sent.wait()
    hanging.cancel()
    await asyncio.wait([hanging])
    await earlier.close()
    began = time.monotonic()
    later = await stand.transactor()
    await stand.commit(later, 2)
    assert all(values == [b"2"] for values in stand.seen().values())
    assert stand.offset() == 2
    assert time.monotonic() - began < 5


async def test_nothing_stays_of_a_transactor_whose_broker_was_gone(
    tmp_path: Path, unique_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its tasks would wait for ever, and with them what they were to write would stay in memory."""
    with Broker(tmp_path / "broker", short_lived=True) as broker:
        stand = await standing(broker, unique_prefix)
        transactor = await stand.transactor(timeout_ms=5_000)
        await stand.commit(transactor, 1)
        broker.kill()
        before = asyncio.all_tasks()
        with pytest.raises(TransactionFailed):
            await stand.commit(transactor, 2)
        await transactor.close()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before
    assert not [task for task in asyncio.all_tasks() if "Sender" in task.get_coro().__qualname__]
    assert "did not close in time" not in caplog.text


async def test_offset_and_records_are_never_under_way_together(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker would refuse one of them now and then, and the commit take a tenth of a second longer."""
    transactor = await stand.transactor()
    under_way: list[str] = []
    together: list[set[str]] = []
    send = AIOKafkaClient.send

    async def watched(client: AIOKafkaClient, node_id: int, request: Any, **options: Any) -> Any:
        under_way.append(type(request).__name__)
        together.append(set(under_way))
        try:
            return await send(client, node_id, request, **options)
        finally:
            under_way.remove(type(request).__name__)

    monkeypatch.setattr(AIOKafkaClient, "send", watched)
    for number in range(3):
        await stand.commit(transactor, number)
    assert any("ProduceRequest" in names for names in together), "it is these that are watched"
    assert any("TxnOffsetCommitRequest" in names for names in together)
    assert not any({"ProduceRequest", "TxnOffsetCommitRequest"} <= names for names in together)
