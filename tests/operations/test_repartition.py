"""Moving to another number of partitions, step by step as docs/operations.md has it: the same results come out."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
import urllib.request
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
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from schemas import dead_letters
from schemas.topics import Topics
from streams.broker import Broker, free_port
from streams.cli import repartitioning
from streams.cli.application import app
from streams.cli.repartitioning import Merge, _Source, copy
from streams.engine.records import Record as Consumed
from streams.settings import Settings
from tests.intake.serving import JSON, TOKEN, response
from tests.support.corpus import Produced, corpus
from tests.support.follow_ups import passives, some_follow_ups
from tests.support.kafka_reading import committed_offsets, end_offsets, latest_values, read_topic
from tests.support.oracle_reading import Record
from tests.support.stage import Stage, stage_for, within
from tests.support.worker import ROOT, WorkerProcess
from tests.webhooks.events import WebhooksProcess, environment, write_config
from tests.webhooks.receiver import receiving

PRESENT, WANTED = 3, 5


def responses(seed: int, count: int) -> list[Produced]:
    """A corpus without those that were published to a wrong partition: a move puts them, and so the results, right."""
    made = corpus(seed, count, time.time_ns() // 1_000_000, "tables", PRESENT)
    return [each for each in made if each.key is None or each.partition == partition_of(each.key, PRESENT)]


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
    letters = {
        topic.removeprefix(stage.topics.prefix): Counter(
            (letter.key, letter.value, letter.timestamp_ms // 10**9, dict(letter.headers)[dead_letters.REASON_HEADER])
            for letter in found(stage, topic)
        )
        for topic in stage.topics.dead_letters
    }
    return {
        **events,
        **letters,
        "journeys and cases": latest_values(found(stage, stage.topics.journeys)),
    }


def compared(stage: Stage, worker: WorkerProcess) -> dict[tuple[str, ...], dict[str, Any]]:
    """The rows of `nps scores` and `nps conversions`, as somebody has them who compares."""
    at = ("--json", "--url", url(worker))
    scores = json.loads(nps(stage, "scores", *at).stdout)["scores"]
    conversions = json.loads(nps(stage, "conversions", *at, "--by", "reason,action").stdout)["conversions"]
    by = ("survey_id", "segment", "window", "reason", "action")
    return {tuple(str(row.get(name)) for name in by): {**row, "as_of": None} for row in (*scores, *conversions)}


def url(worker: WorkerProcess) -> str:
    return f"http://127.0.0.1:{worker.environment['NPS_HTTP_PORT']}"


def two_stages(broker: Broker, unique: str, tmp_path: Path, **settings: str) -> tuple[Stage, Stage]:
    """The present one and the wanted one, with their topics (step 1)."""
    old = stage_for(broker.bootstrap_servers, unique, tmp_path / "old", partitions=PRESENT)
    new = stage_for(broker.bootstrap_servers, f"{unique}-2", tmp_path / "new", partitions=WANTED)
    for stage in (old, new):
        stage.directory.mkdir()
        assert nps(stage, "topics", "--create").exit_code == 0
    return old.with_settings(**settings), new.with_settings(**settings)


@pytest.mark.kafka
@pytest.mark.slow
def test_a_move_to_more_partitions_comes_to_the_same_results(
    broker: Broker, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps 1 to 4, and 6. Follow-ups come by turns with responses, so that the order between the two is known."""
    old, new = two_stages(broker, unique, tmp_path, follow_up_sla_hours="87600")
    prefix, copies_both = old.topics.prefix, " and ".join(old.topics.inputs)
    made = responses(11, 1400)
    made.insert(500, Produced(1, None, None, made[500].timestamp_ms, (("says", b"nothing"),)))
    rng = random.Random(11)

    def follow_up(done: list[Produced]) -> int:
        """What a CRM sends, well and badly, that knows what came of these responses."""
        now_ms = time.time_ns() // 1_000_000
        oracles = old.oracles(done).values()
        sent = [each for oracle in oracles for each in some_follow_ups(rng, oracle, 80, now_ms, PRESENT)]
        sent.insert(7, Produced(2, None, None, now_ms))
        old.follow_up(sent)
        return len(sent)

    with old.worker() as present, new.worker() as next_one:
        for worker in (present, next_one):
            worker.wait_ready()
        old.publish(made[:1000])
        monkeypatch.setattr(repartitioning, "UNIT_RECORDS", 150)
        with monkeypatch.context() as failing:
            failing.setattr(AIOKafkaProducer, "send_offsets_to_transaction", refuse)
            broken = nps(new, "repartition", "--from-prefix", prefix)
        assert broken.exit_code == 1, "one that fails when its unit is written and its place is not"
        assert 0 < asyncio.run(copy_some(new, prefix)) < 1000, "one that is stopped"
        with following(new, prefix) as process:

            def both_processed(responses: int, follow_ups: int) -> None:
                for worker in (present, next_one):
                    within(60, lambda worker=worker: assert_same(processed(worker), (responses, follow_ups)))
                assert process.poll() is None, "the copy has ended"

            both_processed(1000, 0)
            sent = follow_up(made[:1000])
            both_processed(1000, sent)
            old.publish(made[1000:])
            both_processed(len(made), sent)
            sent += follow_up(made)
            both_processed(len(made), sent)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=30)
            assert process.returncode == 0, said
            assert f"copied from {copies_both} to" in said
        within(10, lambda: assert_same(compared(old, present), compared(new, next_one)))
        rows = compared(old, present)
        assert len(rows) > 100
        assert sum(row["contacted"] for row in rows.values() if "contacted" in row) > 20
        assert outcomes(present) == outcomes(next_one)
        assert outcomes(present).keys() >= {"matched", "duplicate", "amended", "late", "feedback", "unknown_case"}
        assert present.sigterm() == next_one.sigterm() == 0

    nothing = nps(new, "repartition", "--from-prefix", prefix, "--json")
    assert json.loads(nothing.stdout) == {"copied": 0}
    assert nothing.stderr == f"0 records copied from {copies_both} to {' and '.join(new.topics.inputs)}\n"
    for source, target in zip(old.topics.inputs, new.topics.inputs, strict=True):
        copies = read_topic(new.bootstrap_servers, target)
        assert len(copies) == WANTED
        keyed = [record for log in copies.values() for record in log if record.key is not None]
        assert all(record.partition == partition_of(record.key or b"", WANTED) for record in keyed)
        assert contents(record for log in copies.values() for record in log) == contents(found(old, source))
    before, after = results(old), results(new)
    assert all(before.values()), "else nothing is compared"
    for what, expected in before.items():
        assert after[what] == expected, what


@pytest.mark.kafka
@pytest.mark.slow
def test_senders_and_receivers_change_over_and_nothing_is_missed_or_sent_twice(
    broker: Broker, unique: str, tmp_path: Path
) -> None:
    """Steps 5 and 7: `nps intake` for whoever publishes, `nps webhooks` for whoever is told."""
    old, new = two_stages(broker, unique, tmp_path)
    token = {"NPS_INTAKE_TOKENS": TOKEN}

    def intake(stage: Stage) -> WorkerProcess:
        settings = {**settings_of(stage), **token, "NPS_HTTP_PORT": str(free_port())}
        return WorkerProcess(settings, stage.directory / "intake.log", ("streams.cli", "intake"))

    def webhooks(stage: Stage, start: str) -> WebhooksProcess:
        config = write_config(stage.directory, {"crm": receiver.url("/crm")})
        config.write_text(config.read_text().replace('"beginning"', f'"{start}"'))
        settings = environment(stage.bootstrap_servers, stage.topics.prefix, free_port(), config)
        return WebhooksProcess(settings, stage.directory / "webhooks.log")

    with receiving() as receiver, old.worker() as present, new.worker() as next_one:
        with intake(old) as way_in, webhooks(old, "now") as way_out, following(new, old.topics.prefix) as process:
            for each in (present, next_one, way_in, way_out):
                each.wait_ready()
            for number in range(10):
                post(way_in, "responses", response(f"r-{number}", customer_id=f"c-{number}"))
            assert way_in.sigterm() == 0
            within(60, lambda: assert_same(left_to_copy(old, new), 0))
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            receiver.wait_for(10, "/crm")
            within(60, lambda: assert_same(processed(next_one), (10, 0)))
            assert way_out.sigterm() == 0
        with webhooks(new, "now") as way_out:
            way_out.wait_ready()
            with intake(new) as way_in:
                way_in.wait_ready()
                post(way_in, "responses", response("r-10", customer_id="c-10"))
                told = receiver.wait_for(11, "/crm")
                assert [each.data["customer_id"] for each in told][10:] == ["c-10"]
                assert len(told) == 11, "what was told before the move is not told again"
                first = next(each.data for each in told if each.data["customer_id"] == "c-0")
                contact = {"follow_up_id": "f", "detected_event_id": first["event_id"], "status": "contacted"}
                named = {name: first[name] for name in ("customer_id", "survey_id")}
                at = {"action": "incentive", "occurred_at": response()["responded_at"]}
                post(way_in, "follow-ups", {**contact, **named, **at})
                within(30, lambda: assert_same(outcomes(next_one), {"matched": 1}))

                assert present.sigterm() == 0
                delete_topics(old)
                post(way_in, "responses", response("r-11", customer_id="c-11"))
                receiver.wait_for(12, "/crm")


@pytest.mark.kafka
def test_of_what_was_overdue_only_what_still_is_comes_again(broker: Broker, unique: str, tmp_path: Path) -> None:
    old, new = two_stages(broker, unique, tmp_path, follow_up_sla_hours="72")
    now_ms = time.time_ns() // 1_000_000
    overdue, _, still_overdue, _ = answers = list(passives(4, "s", now_ms, PRESENT))
    converting = json.loads(overdue.value or b"") | {"response_id": "better", "score": 9}

    def overdue_events(stage: Stage, count: int) -> dict[str, str]:
        events = [json.loads(record.value or b"") for record in found(stage, stage.topics.follow_up_overdue)]
        assert len(events) == count
        return {event["event_id"]: event["customer_id"] for event in events}

    def overdue_count(worker: WorkerProcess, count: int) -> None:
        rows = worker.conversions("?survey_id=s&segment=all&window=7d")["conversions"]
        assert [row["overdue"] for row in rows] == [count]

    with old.worker() as present:
        present.wait_ready()
        old.publish(answers)
        said = within(60, lambda: overdue_events(old, 2))
        old.publish([overdue._replace(value=json.dumps(converting).encode(), timestamp_ms=now_ms)])
        within(60, lambda: assert_same(processed(present), (5, 0)))
        within(10, lambda: overdue_count(present, 2))
        assert present.sigterm() == 0
    assert nps(new, "repartition", "--from-prefix", old.topics.prefix).exit_code == 0
    with new.worker() as next_one:
        next_one.wait_ready()
        again = within(60, lambda: overdue_events(new, 1))
        assert list(again.values()) == [(still_overdue.key or b"").decode()]
        assert again.items() <= said.items(), "the same id"
        within(10, lambda: overdue_count(next_one, 1))
        assert next_one.sigterm() == 0


def processed(worker: WorkerProcess) -> tuple[float, float]:
    """Responses and follow-ups whose outcome is known. Of offsets, the copy's last is its transaction's mark, which
    nobody processes.
    """
    samples = worker.metrics().items()
    return (
        sum(value for (name, _), value in samples if name == "nps_responses_total"),
        sum(value for (name, _), value in samples if name == "nps_follow_ups_total"),
    )


def outcomes(worker: WorkerProcess) -> dict[str, float]:
    """Of follow-ups."""
    return {
        dict(labels)["outcome"]: value
        for (name, labels), value in worker.metrics().items()
        if name == "nps_follow_ups_total" and value
    }


def left_to_copy(old: Stage, new: Stage) -> int:
    """The lag of the copy's group."""
    lag = 0
    for topic in old.topics.inputs:
        at = committed_offsets(new.bootstrap_servers, f"{new.group_id}-repartition", topic)
        lag += sum(end - (at[number] or 0) for number, end in end_offsets(old.bootstrap_servers, topic).items())
    return lag


def post(intake: WorkerProcess, path: str, record: dict[str, Any]) -> None:
    request = urllib.request.Request(f"{url(intake)}/v1/{path}", json.dumps(record).encode(), JSON)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 202


def delete_topics(stage: Stage) -> None:
    admin = AdminClient({"bootstrap.servers": stage.bootstrap_servers})
    for deleted in admin.delete_topics([spec.name for spec in stage.topics.all()]).values():
        deleted.result(30)


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
