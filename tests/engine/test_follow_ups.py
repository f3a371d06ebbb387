"""Follow-ups through a worker on a real broker: two inputs, one transaction; cases, what is overdue, what is said."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from schemas.events import FOLLOW_UP_OVERDUE, PASSIVE_DETECTED, event_id
from streams.broker import Broker
from tests.support.comparing import assert_scores
from tests.support.corpus import Produced, as_logs, corpus
from tests.support.follow_ups import some_follow_ups
from tests.support.kafka_reading import read_topic
from tests.support.oracle import PartitionOracle, run, total_counts
from tests.support.oracle_reading import partition_of, time_text
from tests.support.stage import PARTITIONS, WINDOWS, Stage, stage_for, within

HOUR_MS = 3_600_000


@pytest.fixture
def stage(broker: Broker, unique: str, tmp_path: Path) -> Stage:
    return stage_for(broker.bootstrap_servers, unique, tmp_path)


def test_all_that_comes_of_responses_and_follow_ups_equals_the_oracle(stage: Stage) -> None:
    """By turns, so that the order between the two is known."""
    rng = random.Random(5)
    now_ms = time.time_ns() // 1_000_000
    logs = as_logs(corpus(5, 2400, now_ms, "tables", PARTITIONS), PARTITIONS)
    oracles = {number: PartitionOracle(number, stage.oracle_config) for number in range(PARTITIONS)}
    with stage.worker() as worker:
        worker.wait_ready()
        for turn in range(3):
            some = [
                record for log in logs.values() for record in log[turn * len(log) // 3 : (turn + 1) * len(log) // 3]
            ]
            stage.publish(Produced(r.partition, r.key, r.value, r.timestamp_ms, r.headers) for r in some)
            for record in some:
                oracles[record.partition].process(record)
            stage.wait_until_done(worker)
            sent = [
                each for oracle in oracles.values() for each in some_follow_ups(rng, oracle, 150, now_ms, PARTITIONS)
            ]
            stage.follow_up(sent)
            for number, log in as_logs(sent, PARTITIONS).items():
                first = oracles[number].next_follow_up
                for record in log:
                    oracles[number].process_follow_up(record._replace(offset=first + record.offset))
            stage.wait_until_done(worker, follow_ups=True)
            if turn == 1:
                assert worker.sigterm() == 0
                worker.start()
                worker.wait_ready()
        outcomes = sum((oracle.follow_up_outcomes for oracle in oracles.values()), Counter())
        assert outcomes.keys() >= {"matched", "duplicate", "amended", "late", "feedback", "unknown_case", "dead_letter"}
        counts = total_counts(oracles.values())
        assert any(cell[6] for cell in counts.values()), "nothing was answered"
        within(10, lambda: assert_scores(worker.scores(), counts, WINDOWS))
        assert worker.sigterm() == 0
    stage.assert_topics_and_offsets(oracles)
    assert stage.committed(follow_ups=True) == {number: oracle.next_follow_up for number, oracle in oracles.items()}


def test_a_backlog_of_both_inputs_is_decided_in_the_order_of_record_times(stage: Stage) -> None:
    """From the beginning, as after a disaster: a contact is taken neither before its detection nor after the next
    answer. Two seconds lie between any two records of a partition.
    """
    rng = random.Random(7)
    end_ms = time.time_ns() // 1_000_000
    sent: list[tuple[bool, Produced]] = []
    for step in range(3_000):
        at_ms = end_ms - (3_000 - step) * 2_000
        customer = f"c-{rng.randrange(120)}"
        if rng.random() < 0.3:
            about = contact(customer, at_ms, at_ms, follow_up_id=f"f-{step}", action=rng.choice(("incentive", "other")))
            sent.append((False, about))
        else:
            sent.append((True, answer(customer, rng.choice((3, 7, 7, 8, 9, 10)), at_ms)))
    responses, follow_ups = ([each for is_one, each in sent if is_one == kind] for kind in (True, False))
    oracles = run(as_logs(responses, PARTITIONS), stage.oracle_config, as_logs(follow_ups, PARTITIONS))
    outcomes = sum((oracle.follow_up_outcomes for oracle in oracles.values()), Counter())
    assert min(outcomes[outcome] for outcome in ("matched", "feedback", "unknown_case")) > 10
    with stage.worker() as worker:
        worker.wait_ready()  # which makes the topics
        assert worker.sigterm() == 0
        stage.publish(responses)
        stage.follow_up(follow_ups)
        worker.start()
        stage.wait_until_done(worker)
        stage.wait_until_done(worker, follow_ups=True)
        assert worker.sigterm() == 0
    stage.assert_topics_and_offsets(oracles)


# --- a story ---


def answer(customer: str, score: int, at_ms: int, **fields: Any) -> Produced:
    key = customer.encode()
    value = {
        "response_id": f"{customer}-{at_ms}",
        "customer_id": customer,
        "survey_id": "relationship",
        "score": score,
        "responded_at": time_text(at_ms * 1000),
        **fields,
    }
    return Produced(partition_of(key, PARTITIONS), key, json.dumps(value).encode(), at_ms)


def contact(customer: str, at_ms: int, now_ms: int, **fields: Any) -> Produced:
    key = customer.encode()
    value = {
        "follow_up_id": f"f-{customer}",
        "customer_id": customer,
        "survey_id": "relationship",
        "status": "contacted",
        "action": "tailored_offer",
        "occurred_at": time_text(at_ms * 1000),
        **fields,
    }
    return Produced(partition_of(key, PARTITIONS), key, json.dumps(value).encode(), now_ms)


def events(stage: Stage, topic: str) -> list[dict[str, Any]]:
    log = read_topic(stage.bootstrap_servers, topic)
    return [json.loads(record.value or b"") for records in log.values() for record in records]


def said_to_be_overdue(stage: Stage) -> list[str]:
    return sorted(event["customer_id"] for event in events(stage, stage.topics.follow_up_overdue))


def at_least(found: list[str], expected: Iterable[str]) -> None:
    assert set(found) >= set(expected), f"{found}, not yet {sorted(expected)}"


def test_who_was_not_contacted_in_time_is_told_once_and_a_contact_in_the_log_is_not_overlooked(stage: Stage) -> None:
    playing = stage.with_settings(follow_up_sla_hours="72")
    now_ms = time.time_ns() // 1_000_000
    ago_ms = now_ms - 72 * HOUR_MS
    soon_ms = ago_ms + 12_000  # due in 12 s
    waiting = [f"waiting-{number}" for number in range(8)]
    contacted = [f"contacted-{number}" for number in range(8)]
    with playing.worker() as worker:
        worker.wait_ready()
        playing.publish([answer("late", 7, ago_ms - 1000), answer("new", 8, now_ms)])
        playing.publish(answer(customer, 8, soon_ms) for customer in (*waiting, *contacted))
        playing.wait_until_done(worker)
        within(20, lambda: at_least(said_to_be_overdue(playing), ["late"]))
        if time.time() * 1000 < soon_ms + 72 * HOUR_MS - 3000:
            assert said_to_be_overdue(playing) == ["late"]
        assert worker.sigterm() == 0
        # The contacts lie behind many records that are none, and all is due before the worker comes back.
        noise = [Produced(number % PARTITIONS, b"x", b"{}", now_ms) for number in range(6000)]
        playing.follow_up([*noise, *(contact(customer, now_ms, now_ms) for customer in contacted)])
        time.sleep(max(soon_ms / 1000 + 72 * 3600 - time.time() + 0.1, 0))
        worker.start()
        worker.wait_ready()
        within(30, lambda: at_least(said_to_be_overdue(playing), ["late", *waiting]))
        playing.wait_until_done(worker, follow_ups=True)
        time.sleep(2.5)
        told = said_to_be_overdue(playing)
        already = [customer for customer in told if customer in contacted]
        assert worker.sigterm() == 0
    assert len(told) == len(set(told)), "told twice"
    assert not already, f"{already} had been contacted"
    assert told == sorted(["late", *waiting])
    [event] = [each for each in events(playing, playing.topics.follow_up_overdue) if each["customer_id"] == "late"]
    first = f"late-{ago_ms - 1000}"
    assert event["event_id"] == event_id(FOLLOW_UP_OVERDUE, "relationship", "late", first, 0)
    assert event["detected_event_id"] == event_id(PASSIVE_DETECTED, "relationship", "late", first, 0)
    assert 0 < event["hours_overdue"] < 1
    assert event["due_at"] == time_text((ago_ms - 1000 + 72 * HOUR_MS) * 1000)


def test_a_passive_is_found_contacted_and_converted(stage: Stage) -> None:
    """The whole story, as a CRM and a reader of scores see it."""
    now_ms = time.time_ns() // 1_000_000
    playing = stage.with_settings(follow_up_sla_hours="72")
    with playing.worker() as worker:
        worker.wait_ready()
        playing.publish([answer("kari", 7, now_ms - 2000, reason="value_for_price", language="nb-NO")])
        playing.wait_until_done(worker)
        [detected] = events(playing, playing.topics.passive_detected)
        assert detected["recommended_action"] == "tailored_offer"
        assert detected["follow_up_question"].startswith("Når du tenker på hva du betaler")
        assert detected["follow_up_due_at"] is not None

        def opened() -> None:
            assert [row["cases"] for row in worker.conversions("?window=7d&segment=all")["conversions"]] == [1]

        within(10, opened)
        sent = contact(
            "kari", now_ms, now_ms, detected_event_id=detected["event_id"], response_id=detected["response_id"]
        )
        playing.follow_up([sent])
        playing.wait_until_done(worker, follow_ups=True)
        playing.publish([answer("kari", 9, now_ms + 1000)])
        playing.wait_until_done(worker)
        [changed] = events(playing, playing.topics.score_changed)
        assert changed["detected_event_id"] == detected["event_id"]
        assert changed["case_opened_at"] == detected["case_opened_at"]
        assert (changed["follow_up_id"], changed["follow_up_action"]) == ("f-kari", "tailored_offer")
        assert changed["reason"] == "value_for_price"

        def converted() -> None:
            answered = worker.conversions("?window=7d&segment=all&by=reason,action")
            assert answered["complete"] is True
            [row] = answered["conversions"]
            assert (row["reason"], row["action"]) == ("value_for_price", "tailored_offer")
            assert (row["cases"], row["contacted"], row["contacted_in_time"], row["converted"]) == (1, 1, 1, 1)
            assert (row["conversion"], row["converted_within_7d"], row["small_sample"]) == (1.0, 1, True)

        within(10, converted)

        def counted() -> None:
            [row] = [each for each in worker.scores()["scores"] if each["window"] == "1d"]
            assert (row["responses"], row["answered"], row["answered_share"]) == (2, 1, 0.5)
            samples = worker.metrics()
            window = (("segment", "all"), ("state", "converted"), ("survey", "relationship"), ("window", "7d"))
            assert samples["nps_window_cases", window] == 1
            assert samples["nps_open_cases", (("survey", "relationship"),)] == 0
            assert samples["nps_follow_ups_total", (("outcome", "matched"),)] == 1

        within(10, counted)
        assert worker.sigterm() == 0
