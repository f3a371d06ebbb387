"""Moving to another number of partitions, step by step as docs/operations.md has it: the same results come out."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from typer.testing import CliRunner, Result

from schemas import dead_letters
from schemas.topics import Topics
from streams.broker import Broker
from streams.cli import repartitioning
from streams.cli.application import app
from streams.cli.repartitioning import Merge, _Source, copy
from streams.engine.records import Record as Consumed
from streams.settings import Settings
from tests.support.corpus import Produced, corpus
from tests.support.kafka_reading import latest_values, read_topic
from tests.support.oracle_reading import Record
from tests.support.stage import Stage, stage_for, within
from tests.support.worker import ROOT, WorkerProcess

PRESENT, WANTED = 3, 5


def responses(seed: int, count: int) -> list[Produced]:
    """A corpus without those that were published to a wrong partition: a move puts them, and so the results, right."""
    made = corpus(seed, count, time.time_ns() // 1_000_000, "tables", PRESENT)
    return [each for each in made if each.key is not None and each.partition == partition_of(each.key, PRESENT)]


def partition_of(key: bytes, partitions: int) -> int:
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


def settings_of(stage: Stage) -> dict[str, str]:
    return {
        "NPS_BOOTSTRAP_SERVERS": stage.bootstrap_servers,
        "NPS_TOPIC_PREFIX": stage.topics.prefix,
        "NPS_GROUP_ID": stage.group_id,
        "NPS_PARTITIONS": str(stage.partitions),
    }


def nps(stage: Stage, *arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env=settings_of(stage))


@contextmanager
def following(stage: Stage, from_prefix: str) -> Iterator[subprocess.Popen[str]]:
    """`nps repartition --follow` in a process of its own, which is gone at the end."""
    command = [sys.executable, "-m", "streams.cli", "repartition", "--from-prefix", from_prefix, "--follow"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=settings_of(stage), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def refuse(*_: object) -> None:
    raise KafkaError("as if the coordinator were gone")


def found(stage: Stage, topic: str) -> list[Record]:
    return [record for log in read_topic(stage.bootstrap_servers, topic).values() for record in log]


def results(stage: Stage) -> dict[str, Any]:
    """All that was decided, wherever it is written."""
    events = {
        topic.removeprefix(stage.topics.prefix): {
            event["event_id"]: event for event in (json.loads(record.value or b"") for record in found(stage, topic))
        }
        for topic in stage.topics.events
        if topic != stage.topics.follow_up_overdue  # of which there are none: no SLA ends within this test
    }
    letters = Counter(
        (letter.key, letter.value, letter.timestamp_ms // 10**9, dict(letter.headers)[dead_letters.REASON_HEADER])
        for letter in found(stage, stage.topics.dead_letter)
    )
    return {
        **events,
        "dead letters": letters,
        "journeys": latest_values(found(stage, stage.topics.journeys)),
    }


def rows(answer: dict[str, Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    return {(row["survey_id"], row["segment"], row["window"]): {**row, "as_of": None} for row in answer["scores"]}


@pytest.mark.kafka
@pytest.mark.slow
def test_a_move_to_more_partitions_comes_to_the_same_results(
    broker: Broker, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stage_for(broker.bootstrap_servers, unique, tmp_path / "old", partitions=PRESENT)
    new = stage_for(broker.bootstrap_servers, f"{unique}-2", tmp_path / "new", partitions=WANTED)
    for stage in (old, new):
        stage.directory.mkdir()
        assert nps(stage, "topics", "--create").exit_code == 0
    made = responses(11, 1400)
    old.publish(made[:1000])

    monkeypatch.setattr(repartitioning, "UNIT_RECORDS", 150)
    with monkeypatch.context() as failing:
        failing.setattr(AIOKafkaProducer, "send_offsets_to_transaction", refuse)
        broken = nps(new, "repartition", "--from-prefix", old.topics.prefix)
    assert broken.exit_code == 1, "one that fails when its unit is written and its place is not"
    assert 0 < asyncio.run(copy_some(new, old.topics.prefix)) < len(made) - 1000, "one that is stopped"
    with following(new, old.topics.prefix) as process:
        within(60, lambda: assert_same(len(found(new, new.topics.responses)), 1000))
        old.publish(made[1000:])
        within(60, lambda: assert_same(len(found(new, new.topics.responses)), len(made)))
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 0, said
    nothing = nps(new, "repartition", "--from-prefix", old.topics.prefix, "--json")
    assert json.loads(nothing.stdout) == {"copied": 0}
    assert nothing.stderr == f"0 responses copied from {old.topics.responses} to {new.topics.responses}\n"

    copies = read_topic(new.bootstrap_servers, new.topics.responses)
    assert len(copies) == WANTED
    assert all(record.partition == partition_of(record.key or b"", WANTED) for log in copies.values() for record in log)
    assert contents(record for log in copies.values() for record in log) == contents(found(old, old.topics.responses))

    with old.worker() as present, new.worker() as next_one:
        for worker in (present, next_one):
            worker.wait_ready()
            within(60, lambda worker=worker: assert_same(processed(worker), len(made)))
        within(10, lambda: assert_same(rows(present.scores()), rows(next_one.scores())))
        assert len(rows(present.scores())) > 100
        assert present.sigterm() == next_one.sigterm() == 0
    before, after = results(old), results(new)
    assert all(before.values()), "else nothing is compared"
    for what, expected in before.items():
        assert after[what] == expected, what


def processed(worker: WorkerProcess) -> float:
    """Records whose outcome is known. Of offsets, the copy's last is its transaction's mark, which nobody processes."""
    return sum(value for (name, _), value in worker.metrics().items() if name == "nps_responses_total")


def assert_same(one: Any, other: Any) -> None:
    assert one == other


def contents(records: Any) -> Counter[Any]:
    return Counter((each.key, each.value, each.timestamp_ms, tuple(each.headers)) for each in records)


async def copy_some(stage: Stage, from_prefix: str) -> int:
    """Begin a copy and stop it after its first unit."""
    settings = Settings(
        bootstrap_servers=stage.bootstrap_servers, topic_prefix=stage.topics.prefix, group_id=stage.group_id
    )
    stop = asyncio.Event()
    return await copy(settings, from_prefix, True, stop, lambda copied, _: stop.set() if copied else None)


@pytest.mark.kafka
def test_what_can_not_be_copied_is_said(broker: Broker, unique: str, tmp_path: Path) -> None:
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path)
    same = nps(stage, "repartition", "--from-prefix", stage.topics.prefix)
    assert same.exit_code == 1
    assert "name two different ones" in same.stderr
    missing = nps(stage, "repartition", "--from-prefix", "nowhere.")
    assert missing.exit_code == 1
    assert "topic nowhere.responses does not exist" in missing.stderr

    other = replace(stage, topics=Topics(f"{unique}-2."))
    for each in (stage, other):
        assert nps(each, "topics", "--create").exit_code == 0
        each.publish([Produced(0, b"c", b"{}", 1)])
    used = nps(other, "repartition", "--from-prefix", stage.topics.prefix)
    assert used.exit_code == 1
    assert f"topics of NPS_TOPIC_PREFIX, {unique}-2., hold records that no copy has brought" in used.stderr
    assert len(found(other, other.topics.responses)) == 1


def source(number: int, times: list[int], end: int) -> _Source:
    waiting = deque(Consumed("t", number, offset, at, b"k", b"v", ()) for offset, at in enumerate(times))
    return _Source(TopicPartition("t", number), end, waiting, position=len(times))


def merged(*sources: _Source, most: int = 100) -> list[tuple[int, int]]:
    merge = Merge({each.tp: each for each in sources})
    return [(record.partition, record.timestamp) for record in merge.take(most)]


def test_the_oldest_goes_first_and_each_partition_keeps_its_order() -> None:
    one, other = source(0, [10, 30, 20, 50], 4), source(1, [15, 25, 60], 3)
    assert merged(one, other) == [(0, 10), (1, 15), (1, 25), (0, 30), (0, 20), (0, 50), (1, 60)]


def test_nothing_goes_while_something_older_may_still_come() -> None:
    ahead, silent = source(0, [10, 20], 2), source(1, [], 1)
    assert merged(ahead, silent) == []
    both = source(0, [10, 20], 2), source(1, [15], 2)
    assert merged(*both) == [(0, 10), (1, 15)], "20 waits for the second of partition 1"
    assert (both[0].copied, both[1].copied) == (1, 1)
    assert merged(source(0, [10, 20, 30], 3), most=2) == [(0, 10), (0, 20)]
