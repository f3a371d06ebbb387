"""The reader on a real broker: whose rows are read, from where, and what is known of them at any time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.cluster import ClusterMetadata
from aiokafka.structs import TopicPartition

from schemas.keys import counts_key
from schemas.times import US_PER_DAY
from streams.broker import Broker, free_port
from streams.engine.formats import COUNTS
from streams.rules.windows import parse_windows
from streams.scoreboard import reader as reader_module
from streams.scoreboard.board import Row, Scoreboard
from streams.scoreboard.reader import CountsReader

DAY = 20_779
PARTITIONS = 3


class Recorded(Scoreboard):
    """Remembers what the reader gave."""

    def __init__(self) -> None:
        super().__init__(parse_windows("1d", 400), PARTITIONS, lambda: DAY * US_PER_DAY)
        self.given: list[tuple[int, int]] = []

    def followed_rows(self, partition: int, rows: list[Row]) -> None:  # type: ignore[override]
        self.given += [(partition, COUNTS.decode(stored)[3]) for _, stored in rows if stored is not None]
        super().followed_rows(partition, rows)

    async def promoters(self) -> int:
        return int((await self.refresh()).totals[:, :, 3].sum())


def row(promoters: int, segment: str = "all") -> tuple[bytes, bytes]:
    return counts_key("s", segment, DAY), COUNTS.encode({3: promoters})


async def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def create_topic(broker: Broker, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs={"cleanup.policy": "compact"})])
    await admin.close()


@asynccontextmanager
async def reading(bootstrap_servers: str, topic: str) -> AsyncIterator[tuple[Recorded, CountsReader]]:
    board = Recorded()
    reader = CountsReader(board, {"bootstrap_servers": bootstrap_servers}, topic, PARTITIONS)
    board.attach(reader)
    await reader.start()
    try:
        yield board, reader
    finally:
        started = time.monotonic()
        await reader.stop()
        assert time.monotonic() - started < 3


@asynccontextmanager
async def producing(broker: Broker, transactional_id: str | None = None) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, transactional_id=transactional_id)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def send(producer: AIOKafkaProducer, topic: str, partition: int, *rows: tuple[bytes, bytes | None]) -> int:
    """Return the offset after the last."""
    offset = 0
    for key, value in rows:
        offset = (await producer.send_and_wait(topic, value, key, partition)).offset + 1
    return offset


async def test_reads_what_is_committed_of_all_partitions_from_the_beginning(broker: Broker, unique: str) -> None:
    await create_topic(broker, unique)
    async with producing(broker, unique) as producer:
        async with producer.transaction():
            for partition in range(PARTITIONS):
                await send(producer, unique, partition, row(1), row(10 ** (partition + 1)))
        await producer.begin_transaction()
        await send(producer, unique, 0, row(5))
        await producer.abort_transaction()
        async with reading(broker.bootstrap_servers, unique) as (board, _):
            assert not board.complete
            await until(lambda: board.complete)
            assert await board.promoters() == 1_110
            async with producer.transaction():
                await send(producer, unique, 0, row(20))
                await asyncio.sleep(1.5)
                assert (board.complete, await board.promoters()) == (True, 1_110)
            await until(lambda: (0, 20) in board.given)
            assert await board.promoters() == 1_120
    assert (0, 5) not in board.given


async def test_an_owned_partition_is_not_read_and_a_lost_one_is_read_from_where_it_was_left(
    broker: Broker, unique: str
) -> None:
    await create_topic(broker, unique)
    async with producing(broker) as producer, reading(broker.bootstrap_servers, unique) as (board, _):
        await until(lambda: board.complete)
        board.partition_opening(1)
        await send(producer, unique, 0, row(2))
        next_offset = await send(producer, unique, 1, row(1), row(2), row(3))
        await until(lambda: (0, 2) in board.given)
        await asyncio.sleep(0.5)
        assert board.missing() == [1]
        board.partition_rows(1, [row(3)])
        board.partition_ready(1)
        assert board.complete
        assert await board.promoters() == 5
        assert [given for given in board.given if given[0] == 1] == []

        await send(producer, unique, 1, row(4))
        board.partition_closed(1, next_offset)
        assert board.missing() == [1]
        assert await board.promoters() == 5
        await until(lambda: board.complete)
        assert await board.promoters() == 6
        assert [given for given in board.given if given[0] == 1] == [(1, 4)]

        board.partition_opening(1)
        board.partition_closed(1, None)
        assert await board.promoters() == 6
        await until(lambda: board.complete)
        assert [given for given in board.given if given[0] == 1] == [(1, 4), (1, 1), (1, 2), (1, 3), (1, 4)]
        assert await board.promoters() == 6


async def test_partitions_that_change_hands_all_the_time_end_up_right(broker: Broker, unique: str) -> None:
    await create_topic(broker, unique)
    async with producing(broker) as producer, reading(broker.bootstrap_servers, unique) as (board, _):
        offset = 0
        for count in range(1, 60):
            offset = await send(producer, unique, 0, row(count))
            if count % 3 == 0:
                board.partition_opening(0)
                board.partition_rows(0, [row(count)])
                board.partition_ready(0)
                await asyncio.sleep(0.005 * (count % 5))
                board.partition_closed(0, None if count % 2 else offset)
                await asyncio.sleep(0.007 * (count % 4))
        await until(lambda: board.complete)
        assert await board.promoters() == 59


async def test_scores_are_incomplete_while_the_broker_does_not_answer(
    fresh_broker: Broker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "STALE_AFTER_S", 2.5)
    await create_topic(fresh_broker, unique)
    async with reading(fresh_broker.bootstrap_servers, unique) as (board, _):
        await until(lambda: board.complete)
        fresh_broker.kill()
        await until(lambda: not board.complete, 10)
        fresh_broker.restart()
        await until(lambda: board.complete, 60)
        async with producing(fresh_broker) as producer:
            await send(producer, unique, 2, row(7))
        await until(lambda: (2, 7) in board.given)


async def test_reads_on_after_a_broker_was_away_for_longer_than_it_is_waited_for(
    fresh_broker: Broker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka's consumer ends its stop with the cancellation of fetches that wait to be tried again."""
    monkeypatch.setattr(reader_module, "STALE_AFTER_S", 2.5)
    monkeypatch.setattr(reader_module, "PROBE_TIMEOUT_S", 1.0)
    await create_topic(fresh_broker, unique)
    async with reading(fresh_broker.bootstrap_servers, unique) as (board, _):
        await until(lambda: board.complete)
        fresh_broker.kill()
        await asyncio.sleep(4)
        assert not board.complete
        fresh_broker.restart()
        await until(lambda: board.complete, 60)


async def test_waits_for_a_broker_that_is_not_there_yet_and_says_so_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, reader_module.__name__)
    async with reading(f"127.0.0.1:{free_port()}", "t") as (board, reader):
        await asyncio.sleep(3.5)
        assert not board.complete
        assert not reader.crashed
    said = [record for record in caplog.records if record.name == reader_module.__name__]
    assert len(said) == 1
    assert "trying again" in said[0].message


async def test_counts_of_a_newer_release_stop_the_worker_in_a_sentence(broker: Broker, unique: str) -> None:
    await create_topic(broker, unique)
    async with producing(broker) as producer, reading(broker.bootstrap_servers, unique) as (_, reader):
        await send(producer, unique, 1, row(1), (counts_key("s", "all", DAY), b"\x63\x80"))
        await until(lambda: bool(reader.crashed))
        assert f"{unique} [1] offset 1: a day's counts is stored in format 99" in str(reader._crash_reason)


async def test_a_partition_without_a_leader_holds_up_no_other(
    broker: Broker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = ClusterMetadata.leader_for_partition
    lost = {1}

    def leader_for_partition(cluster: ClusterMetadata, at: TopicPartition) -> int | None:
        return -1 if at.topic == unique and at.partition in lost else leader(cluster, at)

    monkeypatch.setattr(ClusterMetadata, "leader_for_partition", leader_for_partition)
    await create_topic(broker, unique)
    async with producing(broker) as producer, reading(broker.bootstrap_servers, unique) as (board, _):
        for partition in (0, 2):
            await send(producer, unique, partition, row(partition + 1))
        await until(lambda: board.missing() == [1], timeout_s=5)
        assert await board.promoters() == 4
        lost.clear()
        await send(producer, unique, 1, row(10))
        await until(lambda: (1, 10) in board.given and board.complete)
