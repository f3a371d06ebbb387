"""Records that Kafka deletes before they were processed are lost, and nobody may go on as if they had not been there:
that is logged and counted, once, and everything else is as exact as ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from aiokafka.structs import TopicPartition
from confluent_kafka import TopicPartition as At
from confluent_kafka.admin import AdminClient

from schemas.topics import Topics
from streams.app import engine_config
from streams.broker import Broker
from streams.engine import partition as partition_module
from streams.engine.follow_ups import FollowUpsRead
from streams.engine.partition import Partition
from streams.engine.positions import Committed, CutOff, LogLost, Next, next_offset
from streams.engine.records import Record
from streams.engine.shared import Shared
from streams.settings import Settings
from tests.support.corpus import Produced, as_logs, corpus
from tests.support.kafka_reading import read_topic
from tests.support.oracle import run
from tests.support.stage import Stage, stage_for, within
from tests.support.worker import WorkerProcess

FEW, MANY, DELETED_TO = 40, 400, 300
"""Processed before; published while the worker stands still; and of all of these, deleted up to this offset."""


@pytest.fixture
def stage(broker: Broker, unique: str, tmp_path: Path) -> Stage:
    return stage_for(broker.bootstrap_servers, unique, tmp_path, partitions=1)


def delete_up_to(stage: Stage, topic: str, offset: int) -> None:
    admin = AdminClient({"bootstrap.servers": stage.bootstrap_servers})
    for deleted in admin.delete_records([At(topic, 0, offset)]).values():
        deleted.result(20)


def counted(worker: WorkerProcess, input_: str) -> float:
    return worker.metrics()["nps_deleted_unprocessed_records_total", (("input", input_),)]


def equals(found: Callable[[], object], expected: object) -> None:
    def check() -> None:
        now = found()
        assert now == expected

    within(20, check)


@pytest.mark.slow
def test_responses_that_are_deleted_before_a_running_worker_has_read_them(stage: Stage) -> None:
    records = list(corpus(11, FEW + MANY, time.time_ns() // 1_000_000, "tables", 1))
    with stage.worker() as worker:
        worker.wait_ready()
        stage.publish(records[:FEW])
        stage.wait_until_done(worker)
        worker.freeze()
        worker.wait_frozen()
        stage.publish(records[FEW:])
        delete_up_to(stage, stage.topics.responses, DELETED_TO)
        worker.thaw()
        stage.wait_until_done(worker)
        equals(lambda: counted(worker, "responses") > 0, True)
        lost = int(counted(worker, "responses"))
        assert DELETED_TO - FEW >= lost > 0, "a fetch that was under way may have brought some of them"
        said = f"{lost} records of {stage.topics.responses} were deleted by retention before they were processed"
        assert worker.log().count(said) == 1
        assert worker.sigterm() == 0
    log = as_logs(records, 1)[0]
    stage.assert_topics_and_offsets(run({0: log[: DELETED_TO - lost] + log[DELETED_TO:]}, stage.oracle_config))


@pytest.mark.slow
def test_follow_ups_that_are_deleted_before_a_running_worker_has_read_them(stage: Stage) -> None:
    noise = [Produced(0, b"x", b"{}", time.time_ns() // 1_000_000)] * (FEW + MANY)
    with stage.worker() as worker:
        worker.wait_ready()
        stage.follow_up(noise[:FEW])
        stage.wait_until_done(worker, follow_ups=True)
        worker.freeze()
        worker.wait_frozen()
        stage.follow_up(noise[FEW:])
        delete_up_to(stage, stage.topics.follow_ups, DELETED_TO)
        worker.thaw()
        stage.wait_until_done(worker, follow_ups=True)
        equals(lambda: counted(worker, "follow_ups") > 0, True)
        lost = int(counted(worker, "follow_ups"))
        refused = "nps_follow_ups_total", (("outcome", "dead_letter"),)
        equals(lambda: worker.metrics()[refused], FEW + MANY - lost)
        assert worker.sigterm() == 0
    assert len(read_topic(stage.bootstrap_servers, stage.topics.follow_ups_dead_letter)[0]) == FEW + MANY - lost
    assert lost > 0


@pytest.mark.parametrize("input_", ["responses", "follow_ups"])
def test_what_is_deleted_while_no_worker_runs_is_counted_once_though_nothing_follows(stage: Stage, input_: str) -> None:
    noise = [Produced(0, b"x", b"{}", time.time_ns() // 1_000_000)] * FEW
    topic, follow_ups = getattr(stage.topics, input_), input_ == "follow_ups"
    publish = stage.follow_up if follow_ups else stage.publish
    with stage.worker() as worker:
        worker.wait_ready()
        publish(noise)
        stage.wait_until_done(worker, follow_ups=follow_ups)
        assert worker.sigterm() == 0
        publish(noise)
        delete_up_to(stage, topic, 2 * FEW)
        worker.start()
        equals(lambda: stage.committed(follow_ups=follow_ups), {0: 2 * FEW})
        equals(lambda: counted(worker, input_), FEW)
        assert worker.sigterm() == 0
        worker.start()
        worker.wait_ready()
        assert worker.sigterm() == 0
        assert worker.log().count("were deleted by retention") == 1


class Group:
    """Where the group stands, as a partition asks for it, and its transactions."""

    def __init__(self) -> None:
        self.commits = [40]
        self.beginning = 0
        self.follow_ups = Committed(None, 0, 0, "")
        self.passed_over = asyncio.Event()

    async def committed(self, source: TopicPartition) -> Committed:
        if source.topic == Topics().follow_ups:
            return self.follow_ups
        return Committed(self.commits[-1], self.beginning, 1_000, "")

    def fetched_to(self, _: int) -> int:
        return 70

    def follow_ups_read(self, _: int) -> FollowUpsRead:
        return FollowUpsRead(0, 0, time.time())

    async def commit(self, *told: Any) -> dict[str, None]:
        (offset, _), _ = told[-1].values()
        self.commits.append(offset)
        if offset == self.beginning:
            self.passed_over.set()
        return dict.fromkeys((Topics().journeys, Topics().segment_counts, Topics().case_counts))

    async def nothing(self, *_: object) -> None:
        """Of whatever else is asked."""

    start = close = restore = move_to = still_member = nothing

    def leave(self, *_: object) -> None:
        """As follow, ends and all that is told."""

    follow = leave


async def test_what_was_fetched_before_is_decided_and_committed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of it was not delivered yet when the consumer found out: deleted by now, nobody could read it again."""
    group: Any = Group()
    monkeypatch.setattr(partition_module, "Transactor", lambda *_: group)
    monkeypatch.setattr(partition_module, "restore", group.restore)
    config = engine_config(Settings(state_dir=tmp_path), Topics(), 1, "instance")
    partition = Partition(config, 0, group, Mock(), (Mock(), Mock()), Shared(), AsyncMock())
    partition.start()
    await partition.ready.wait()
    partition.deliver([record(offset) for offset in range(40, 60)])
    group.beginning = 100
    partition.responses_cut_off(70)
    assert not partition.has_room
    assert partition.has_room_for_follow_ups
    await asyncio.sleep(0.1)
    partition.deliver([record(offset) for offset in range(60, 70)])
    async with asyncio.timeout(5):
        await group.passed_over.wait()
    await partition.close()
    assert group.commits[-2:] == [70, 100]


async def test_both_inputs_may_be_cut_off(tmp_path: Path) -> None:
    """What is known of one is not forgotten over the other: made anew, it may have grown again before it is opened."""
    config = engine_config(Settings(state_dir=tmp_path), Topics(), 1, "instance")
    group: Any = Group()
    partition = Partition(config, 0, group, Mock(), (Mock(), Mock()), Shared(), AsyncMock())
    partition.ready.set()
    partition.follow_ups_cut_off(500)
    partition.responses_cut_off(900)
    assert not partition.has_room
    assert not partition.has_room_for_follow_ups
    group.beginning, group.follow_ups = 901, Committed(480, 0, 600, "")
    with pytest.raises(LogLost, match=r"nps\.follow-ups partition 0 was read up to offset 500"):
        await partition._read_committed()


def record(offset: int) -> Record:
    return Record(Topics().responses, 0, offset, time.time_ns() // 1_000_000, b"x", b"{}", ())


SOURCE = TopicPartition("nps.responses", 3)
CUT = CutOff(SOURCE, 100)


@pytest.mark.parametrize(
    ("beginning", "end", "committed", "cut_off", "expected"),
    [
        (0, 120, None, None, Next(0, 0)),
        (7, 120, None, None, Next(7, 0)),
        (0, 120, 100, None, Next(100, 0)),
        (110, 120, 100, None, Next(110, 10)),
        (101, 120, 90, CUT, Next(101, 11)),
    ],
)
def test_where_to_go_on(
    beginning: int, end: int, committed: int | None, cut_off: CutOff | None, expected: Next
) -> None:
    assert next_offset("g", SOURCE, Committed(committed, beginning, end, ""), committed, cut_off) == expected


@pytest.mark.parametrize(("end", "committed"), [(60, 100), (120, 100), (120, None)])
def test_a_log_that_was_cut_back_is_told_also_when_it_has_grown_again(end: int, committed: int | None) -> None:
    """At the moment of the fetch it ended before what was read: what is there now is something else."""
    with pytest.raises(LogLost, match=r"nps\.responses partition 3 was read up to offset 100 .* lost records"):
        next_offset("g", SOURCE, Committed(committed, 0, end, ""), committed, CUT)
