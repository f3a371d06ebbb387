"""What the release before cases has written, in stores and changelogs, is read, continued, and written anew.

`old_state/` was written by that release's own code.
"""

from __future__ import annotations

import base64
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition
from rocksdict import Options, Rdict

from schemas.keys import journey_key, parse_counts_key, parse_journey_key
from schemas.times import format_day
from schemas.topics import Topics
from streams.broker import Broker
from streams.engine.decider import DecidingConfig
from streams.engine.formats import COUNTS, JOURNEY, REMEMBERED
from streams.engine.store import Checkpoint, Store
from streams.rules.decisions import RulesConfig
from streams.rules.journey import ANSWERED
from tests.support.comparing import assert_scores
from tests.support.corpus import Produced
from tests.support.deciding import DecidedPartition
from tests.support.kafka_reading import publish, read_topic
from tests.support.oracle import OracleConfig, PartitionOracle
from tests.support.oracle_events import DAY_US, Row
from tests.support.oracle_reading import Record, time_text
from tests.support.stage import TRANSITIONS, WINDOWS, Stage, stage_for, within

OLD = Path(__file__).parent / "old_state"
CROSSES = (("country", "industry"),)
CHANGES = frozenset(TRANSITIONS)


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (OLD / name).read_text("utf-8").splitlines()]


def unpacked(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def old_log() -> list[Record]:
    return [
        Record(0, offset, unpacked(each["key"]), unpacked(each["value"]), each["timestamp_ms"])
        for offset, each in enumerate(lines("responses.ndjson"))
    ]


def oracle_of_old() -> PartitionOracle:
    """What that release knew; of cases it knew nothing."""
    oracle = PartitionOracle(0, OracleConfig(transitions=CHANGES, crosses=CROSSES, sla_hours=0))
    for record in old_log():
        oracle.process(record)
    for journeys in oracle.customers.values():
        for journey in journeys.values():
            journey.case, journey.ended = None, []
            for kept in journey.history:
                kept.of_ended_case = False
    oracle.cases.clear()
    oracle.case_places.clear()
    return oracle


def passive(oracle: PartitionOracle) -> tuple[str, str, Any]:
    """A customer, survey and journey with an open detection."""
    return next(
        (customer, survey, journey)
        for customer, journeys in oracle.customers.items()
        for survey, journey in journeys.items()
        if journey.detection and len(customer) < 40
    )


def answer(customer: str, survey: str, response_id: str, score: int, at_ms: int) -> Produced:
    value = {
        "response_id": response_id,
        "customer_id": customer,
        "survey_id": survey,
        "score": score,
        "responded_at": time_text(at_ms * 1000),
    }
    return Produced(0, customer.encode(), json.dumps(value).encode(), at_ms)


def contact(customer: str, survey: str, detection: str, at_ms: int) -> Produced:
    value = {
        "follow_up_id": "f-1",
        "customer_id": customer,
        "survey_id": survey,
        "detected_event_id": detection,
        "status": "contacted",
        "action": "incentive",
        "occurred_at": time_text(at_ms * 1000),
    }
    return Produced(0, customer.encode(), json.dumps(value).encode(), at_ms)


def test_every_value_that_it_stored_means_what_it_meant(tmp_path: Path) -> None:
    oracle = oracle_of_old()
    store = Store(shutil.copytree(OLD / "store", tmp_path / "store"))
    found, anonymous, counts = {}, 0, {}
    for key, value in store.scan(b"j"):
        assert value[0] == 1
        kind, id_, survey = parse_journey_key(key[1:])
        if kind == "response":
            anonymous += REMEMBERED.decode(value).answer.response_id == id_
            continue
        journey = JOURNEY.decode(value)
        assert journey.case is journey.past is None
        assert not any(each.marks for each in journey.history)
        detection = journey.detection and (journey.detection.event_id, journey.detection.responded_at)
        found[id_, survey] = (
            [(a.response_id, a.revision, a.score, a.responded_at) for a in journey.history],
            detection,
        )
    assert found == {
        (customer, survey): (
            [
                (k.response.response_id, k.response.revision, k.response.score, k.response.responded_us)
                for k in journey.history
            ],
            journey.detection and (journey.detection.event_id, journey.detection.responded_us),
        )
        for customer, journeys in oracle.customers.items()
        for survey, journey in journeys.items()
    }
    assert anonymous == sum(map(len, oracle.anonymous.values())) > 0
    for key, value in store.scan(b"c"):
        assert value[0] == 1
        survey, segment, day = parse_counts_key(key[1:])
        for cell, count in COUNTS.decode(value).items():
            counts.setdefault(Row(survey, segment, format_day(day), cell // 7), [0] * 7)[cell % 7] = count
    assert counts == {row: cell for row, cell in oracle.counts.items() if any(cell)}
    store.close()


def test_what_changes_is_written_in_the_new_format_and_the_rest_stays(tmp_path: Path) -> None:
    oracle = oracle_of_old()
    customer, survey, journey = passive(oracle)
    rules = RulesConfig(30 * DAY_US, 30 * DAY_US, 400 * DAY_US, CHANGES)
    store = Store(shutil.copytree(OLD / "store", tmp_path / "store"))
    partition = DecidedPartition(0, DecidingConfig(Topics(), 1, rules, 10_000, CROSSES, "/nps"), store)
    assert store.checkpoint == Checkpoint(76, 349, 1_795_381_200_000, 0)
    now_ms = oracle.stream_time_ms + 60_000
    sent = contact(customer, survey, journey.detection.event_id, now_ms)
    partition.follow_up([Record(0, 0, sent.key, sent.value, sent.timestamp_ms)], 1)
    assert partition.decider.unit.report.follow_up_outcomes == {"feedback": 1}, "there was no case yet"
    later = answer(customer, survey, "much-later", 8, now_ms)
    partition.decide([Record(0, 0, later.key, later.value, now_ms)], 1)
    partition.begin_commit()
    partition.end_commit()
    stored = store.get(b"j" + journey_key("customer", customer, survey))
    assert stored is not None
    assert stored[0] == 2
    assert JOURNEY.decode(stored).history[-2].marks == ANSWERED
    others = [value for key, value in store.scan(b"j") if value != stored]
    assert {value[0] for value in others} == {1}
    store.close()


@pytest.mark.parametrize("local_state", [True, False], ids=["directory", "changelogs"])
def test_a_worker_goes_on_with_it(broker: Broker, unique: str, tmp_path: Path, local_state: bool) -> None:
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path, partitions=1)
    stage = stage.with_settings(segment_crosses="country+industry")
    stage = replace(stage, oracle_config=replace(stage.oracle_config, crosses=CROSSES))
    stage.create_topics()
    upgrade_from(stage, local_state=local_state)
    oracle = oracle_of_old()
    customer, survey, journey = passive(oracle)
    detection = journey.detection.event_id
    now_ms = time.time_ns() // 1_000_000
    with stage.worker() as worker:
        worker.wait_ready()
        assert (", 0 changelog records restored" in worker.log()) is local_state
        within(10, lambda: assert_scores(worker.scores(), oracle.counts, WINDOWS))
        sent = contact(customer, survey, detection, now_ms)
        stage.follow_up([sent])
        stage.wait_until_done(worker, follow_ups=True)
        assert oracle.process_follow_up(Record(0, 0, sent.key, sent.value, now_ms)) == "feedback"
        answers = [answer(customer, survey, "converted", 9, now_ms), answer("newcomer", "new", "first", 7, now_ms)]
        stage.publish(answers)
        stage.wait_until_done(worker)
        for offset, each in enumerate(answers, oracle.next_offset):
            oracle.process(Record(0, offset, each.key, each.value, each.timestamp_ms))
        within(10, lambda: assert_scores(worker.scores(), oracle.counts, WINDOWS))
        assert worker.sigterm() == 0
    [changed] = [
        json.loads(record.value or b"")
        for record in read_topic(broker.bootstrap_servers, stage.topics.score_changed)[0]
    ]
    assert changed["detected_event_id"] == detection
    assert changed["case_opened_at"] is changed["first_contacted_at"] is None
    [detected] = [
        json.loads(record.value or b"")
        for record in read_topic(broker.bootstrap_servers, stage.topics.passive_detected)[0]
    ]
    assert (detected["customer_id"], detected["case_opened_at"]) == ("newcomer", detected["detected_at"])


def upgrade_from(stage: Stage, *, local_state: bool) -> None:
    """Everything as that release left it: inputs, changelogs, the group's offset, and its state directory."""
    log = old_log()
    stage.publish(Produced(0, record.key, record.value, record.timestamp_ms) for record in log)
    names = {"journeys": stage.topics.journeys, "segment-counts": stage.topics.segment_counts}
    now_ms = time.time_ns() // 1_000_000
    for name, topic in names.items():
        rows = [each for each in lines("changelogs.ndjson") if each["changelog"] == name]
        publish(
            stage.bootstrap_servers,
            topic,
            [Produced(0, unpacked(each["key"]), unpacked(each["value"]), now_ms) for each in rows],
        )
    committed = json.loads((OLD / "committed.json").read_text("utf-8"))
    consumer = Consumer({"bootstrap.servers": stage.bootstrap_servers, "group.id": stage.group_id})
    at = TopicPartition(stage.topics.responses, 0, committed["offset"], committed["metadata"])
    consumer.commit(offsets=[at], asynchronous=False)
    consumer.close()
    if local_state:
        directory = stage.state_dir("worker") / "partition-0"
        shutil.copytree(OLD / "store", directory)
        options = Options(raw_mode=True)
        raw = Rdict(str(directory), options)
        raw[b"mcheckpoint"] = msgspec.msgpack.encode([76, 349, now_ms])  # as it was, but of today
        raw.flush()
        raw.close()
