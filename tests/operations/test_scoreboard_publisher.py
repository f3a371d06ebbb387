"""The published scores on a real broker: what a consumer of `nps.segment-scores` reads."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from schemas.keys import counts_key
from schemas.scores import ScoreRow
from schemas.times import US_PER_HOUR
from streams.broker import Broker
from streams.engine.formats import COUNTS
from streams.rules.windows import parse_windows
from streams.scoreboard import publisher as publisher_module
from streams.scoreboard.board import Scoreboard
from streams.scoreboard.publisher import ScorePublisher
from tests.support.holding import longest_turn_s

DAY = 20_779
NOON = (DAY * 24 + 12) * US_PER_HOUR
INTERVAL_S = 0.2


class Clock:
    us = NOON

    def __call__(self) -> int:
        return self.us


def counts(segment: str, promoters: int, hour: int = 12, day: int = DAY) -> tuple[bytes, bytes]:
    return counts_key("s", segment, day), COUNTS.encode({hour * 7 + 3: promoters})


def owning(clock: Clock, *rows: tuple[bytes, bytes], windows: str = "1h,1d") -> Scoreboard:
    """A board of the only worker there is."""
    board = Scoreboard(parse_windows(windows, 400), 1, clock)
    board.partition_opening(0)
    board.partition_rows(0, rows)
    board.partition_ready(0)
    return board


@asynccontextmanager
async def publishing(broker: Broker, topic: str, board: Scoreboard) -> AsyncIterator[ScorePublisher]:
    service = ScorePublisher(board, {"bootstrap_servers": broker.bootstrap_servers}, topic, INTERVAL_S)
    await service.start()
    try:
        yield service
    finally:
        started = time.monotonic()
        await service.stop()
        assert time.monotonic() - started < 3


@pytest.fixture
async def topic(broker: Broker, unique: str) -> str:
    return await new_topic(broker, unique)


async def new_topic(broker: Broker, name: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1, topic_configs={"cleanup.policy": "compact"})])
    await admin.close()
    return name


async def published(broker: Broker, topic: str) -> list[tuple[tuple[str, ...], dict[str, Any] | None]]:
    """Everything in the topic, in order."""
    at = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    found: list[tuple[tuple[str, ...], dict[str, Any] | None]] = []
    try:
        consumer.assign([at])
        consumer.seek(at, 0)
        end = (await consumer.end_offsets([at]))[at]
        while await consumer.position(at) < end:
            for record in (await consumer.getmany(timeout_ms=200)).get(at, []):
                found.append((tuple(json.loads(record.key)), record.value and json.loads(record.value)))
                if record.value is not None:
                    ScoreRow.model_validate_json(record.value)
    finally:
        await consumer.stop()
    return found


async def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def rounds(count: int = 2) -> None:
    await asyncio.sleep(count * INTERVAL_S + 0.2)


def short(rows: list[tuple[tuple[str, ...], dict[str, Any] | None]]) -> list[tuple[str, str, Any]]:
    return [(key[1], key[2], row and row["promoters"]) for key, row in rows]


async def test_publishes_rows_that_changed_and_empties_those_that_have_no_responses_any_more(
    broker: Broker, topic: str
) -> None:
    clock = Clock()
    board = owning(clock, counts("all", 1), counts("c=NO", 1, hour=11))
    async with publishing(broker, topic, board) as service:
        await until(lambda: service.publishing)
        await rounds(3)
        first = [("all", "1h", 1), ("all", "1d", 1), ("c=NO", "1d", 1)]
        assert short(await published(broker, topic)) == first
        board.partition_rows(0, [counts("c=NO", 2, hour=11)])
        await rounds()
        assert short(await published(broker, topic)) == [*first, ("c=NO", "1d", 2)]

        clock.us += US_PER_HOUR
        await rounds(3)
        rows = (await published(broker, topic))[4:]
    # The hour is over: the row without responses once with nulls; every other row once more.
    assert short(rows) == [("all", "1h", 0), ("all", "1d", 1), ("c=NO", "1d", 2)]
    empty = rows[0][1]
    assert empty is not None
    assert empty["responses"] == 0
    assert [empty[name] for name in ("nps", "nps_low", "nps_high", "passive_share", "csat_mean")] == [None] * 5
    assert empty["as_of"] == "2026-11-22T13:00:00Z"


async def test_a_series_whose_last_day_is_dropped_is_emptied_once(broker: Broker, topic: str) -> None:
    board = owning(Clock(), counts("all", 1), counts("c=NO", 1))
    async with publishing(broker, topic, board) as service:
        await until(lambda: service.publishing)
        board.partition_rows(0, [(counts_key("s", "c=NO", DAY), None)])
        await rounds(3)
    assert short(await published(broker, topic))[4:] == [("c=NO", "1h", 0), ("c=NO", "1d", 0)]


async def test_only_the_owner_of_partition_0_publishes_and_only_complete_scores(broker: Broker, topic: str) -> None:
    board = Scoreboard(parse_windows("1d", 400), 2, Clock())
    board.partition_opening(1)
    board.partition_rows(1, [counts("all", 1)])
    board.partition_ready(1)
    async with publishing(broker, topic, board) as service:
        await rounds()
        board.partition_opening(0)
        board.partition_ready(0)
        board.partition_opening(1)
        await rounds()
        assert await published(broker, topic) == []
        board.partition_rows(1, [counts("all", 3)])
        board.partition_ready(1)
        await until(lambda: service.publishing)
        assert short(await published(broker, topic)) == [("all", "1d", 3)]
        board.partition_closed(0, 1)
        await rounds()
        assert not service.publishing


async def test_a_new_publisher_publishes_all_and_mends_what_the_last_one_left(broker: Broker, topic: str) -> None:
    clock = Clock()
    before = owning(clock, counts("all", 1), counts("c=NO", 1), counts("c=SE", 1), windows="1d,2d")
    async with publishing(broker, topic, before) as service:
        await until(lambda: service.publishing)
    left = len(await published(broker, topic))
    assert left == 6
    clock.us += 24 * US_PER_HOUR
    # c=NO has days, but none in the window; of c=SE nothing is known any more; 2d is not configured any more.
    after = owning(clock, counts("all", 5, day=DAY + 1), counts("c=NO", 1), windows="1d")
    async with publishing(broker, topic, after) as service:
        await until(lambda: service.publishing)
        await rounds(2)
    found = short(await published(broker, topic))[left:]
    assert sorted(found, key=str) == sorted(
        [
            ("all", "1d", 5),
            ("c=NO", "1d", 0),
            ("c=SE", "1d", 0),
            *((name, "2d", None) for name in ("all", "c=NO", "c=SE")),
        ],
        key=str,
    )


async def test_thousands_of_rows_are_published_without_holding_the_loop(broker: Broker, unique: str) -> None:
    board = owning(Clock(), *(counts(f"country={number}", 1) for number in range(2_000)), windows="1h,1d")

    async def publish_all() -> None:
        topic = await new_topic(broker, f"{unique}-{uuid.uuid4().hex[:6]}")
        async with publishing(broker, topic, board) as service:
            await until(lambda: service.publishing)
        assert len(await published(broker, topic)) == 4_000

    assert await longest_turn_s(publish_all) < 0.1


async def test_survives_a_broker_that_is_not_there(caplog: pytest.LogCaptureFixture, free_port: int) -> None:
    caplog.set_level(logging.WARNING, publisher_module.__name__)
    board = owning(Clock(), counts("all", 1))
    service = ScorePublisher(board, {"bootstrap_servers": f"127.0.0.1:{free_port}"}, "t", INTERVAL_S)
    await service.start()
    await rounds(3)
    assert not service.crashed
    assert [record for record in caplog.records if "trying again" in record.message]
    assert board.snapshot.totals.any()
    await service.stop()
