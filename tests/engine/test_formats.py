"""Every stored record carries its format: an older one is read and rewritten, a newer one stops the worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord

from schemas.keys import counts_key, journey_key
from schemas.topics import Topics
from streams.broker import Broker
from streams.engine import decider as decider_module
from streams.engine import formats, ledger
from streams.engine import unit as unit_module
from streams.engine.decider import Decider, DecidingConfig
from streams.engine.formats import CASE_COUNTS, Cells, Corrupt, Format, NewerFormat
from streams.engine.inbox import Slice
from streams.engine.ledger import LedgerMemory
from streams.engine.store import Checkpoint, Store
from streams.rules.case_counts import CASE_COUNTERS, COUNTER_NAMES, GROUP_OF, amounts
from streams.rules.decisions import RulesConfig, decide
from streams.rules.journey import Answer, Journey
from tests.rules import build
from tests.support import case_cells
from tests.support.corpus import Produced
from tests.support.kafka_reading import publish
from tests.support.oracle_events import DAY_US
from tests.support.oracle_reading import partition_of, time_text
from tests.support.stage import Stage, stage_for
from tests.support.worker import WorkerProcess

NEWER = bytes([99]) + b"from the future"


class Pair(msgspec.Struct, array_like=True):
    a: int
    b: int = 0


PAIR_1: Format[int] = Format("a pair", int, 1)
PAIR_2: Format[Pair] = Format("a pair", Pair, 2, {1: lambda payload: Pair(msgspec.msgpack.decode(payload))})


def test_a_value_comes_back_and_its_first_byte_is_the_version() -> None:
    stored = PAIR_2.encode(Pair(1, 2))
    assert stored[0] == 2
    assert PAIR_2.decode(stored) == Pair(1, 2)


def test_an_older_version_is_upgraded() -> None:
    assert PAIR_2.decode(PAIR_1.encode(7)) == Pair(7)
    PAIR_2.check(PAIR_1.encode(7))


def test_a_newer_version_is_refused_in_a_sentence() -> None:
    for refuse in (PAIR_1.decode, PAIR_1.check):
        with pytest.raises(NewerFormat, match=r"^a pair is stored in format 2, this release reads up to 1: .*newer"):
            refuse(PAIR_2.encode(Pair(1)))


@pytest.mark.parametrize("stored", [b"", b"\x00\x01", b"\x02", b"\x02\xc1", b"\x02\x91\xa1x", b"\x01\xc1"])
def test_what_no_release_wrote_is_corrupt(stored: bytes) -> None:
    with pytest.raises(Corrupt, match=r"^a pair"):
        PAIR_2.decode(stored)


@pytest.mark.parametrize(
    ("told", "apart"),
    [
        ({0: 5}, {0: 5}),
        ({0: 5, 1: 3}, {0: 2, 1: 3}),
        ({0: 5, 1: 3, 2: 1}, {0: 2, 1: 2, 2: 1}),
        ({0: 3, 1: 3, 2: 3}, {2: 3}),
        ({0: 5, 1: 3, 2: 1, 3: 2, 4: 1, 8: 86_400_000, 9: 1}, {0: 2, 1: 2, 2: 1, 3: 2, 4: 1, 8: 86_400_000, 9: 1}),
        ({14: 2, 15: 1, 16: 1, 28: 1, 29: 1}, {14: 1, 16: 1, 29: 1}),
        # Begun anew after the retention dropped it: of what left, more was taken out than there was.
        ({0: 1, 1: 2}, {1: 2}),
    ],
)
def test_counts_of_cases_were_stored_with_what_they_hold(told: dict[int, int], apart: dict[int, int]) -> None:
    assert CASE_COUNTS.decode(b"\x01" + msgspec.msgpack.encode(told)) == apart
    assert CASE_COUNTS.decode(CASE_COUNTS.encode(apart)) == apart


def test_a_case_that_was_counted_so_is_moved(tmp_path: Path) -> None:
    """Its row is of the format before; a contact moves it, and what is told stays whole."""
    store = Store(tmp_path / "partition")
    journey = build.after(build.response("r1", 8, 2))
    case = journey.case
    assert case is not None
    case.counted_as = True
    key, row = (
        journey_key("customer", build.CUSTOMER, "relational"),
        counts_key("relational", "all", case.opened_at // DAY_US),
    )
    group, other = (8, "unknown", "none"), (8, "indifferent", "incentive")
    told = {group: {"cases": 4, "contacted": 1, "contacted_in_time": 1, "overdue": 1}}
    before = b"\x01" + msgspec.msgpack.encode(
        {GROUP_OF.index(group) * CASE_COUNTERS + COUNTER_NAMES.index(name): n for name, n in told[group].items()}
    )
    store.write([(b"j" + key, formats.JOURNEY.encode(journey)), (b"k" + row, before)], Checkpoint(0, 0, 0))
    decider = Decider(DecidingConfig(Topics(), 1, build.CONFIG, 10, (), "/nps"), 0, store, 0, LedgerMemory())
    decider.cases.know([row])
    contact = {
        "follow_up_id": "f",
        "customer_id": build.CUSTOMER,
        "survey_id": "relational",
        "status": "contacted",
        "action": "incentive",
        "reason": "indifferent",
        "occurred_at": time_text(case.opened_at),
    }
    decider.decide_follow_ups(Slice([_record(msgspec.json.encode(contact), build.NOW_MS, build.CUSTOMER)], 100))
    found = decider.close_unit().case_counts[row]
    assert found is not None
    assert found[0] == 2
    assert case_cells.told(CASE_COUNTS.decode(found)) == {
        group: {"cases": 3, "contacted": 1, "contacted_in_time": 1, "overdue": 1},
        other: {"cases": 1, "contacted": 1, "contacted_in_time": 1},
    }
    store.close()


# Through deciding and the store


def response(number: int, at_us: int) -> bytes:
    text = {"response_id": f"r{number}", "customer_id": "c", "survey_id": "s", "score": 7 + number % 2}
    return msgspec.json.encode({**text, "responded_at": time_text(at_us)})


def test_older_state_is_read_and_what_changes_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_us = time.time_ns() // 1000 // DAY_US * DAY_US
    answers = [Answer(f"r{number}", 0, 7, now_us - number * 1000, {}, None, True) for number in (2, 1)]
    store = Store(tmp_path / "partition")
    # What this release writes stands for an older version: one more is added on top of it.
    changing, untouched = (journey_key("customer", customer, "s") for customer in ("c", "other"))
    row = counts_key("s", "all", now_us // DAY_US - 1)
    cells: Cells = {23 * 7 + 1: 2}
    states = [(b"j" + key, formats.JOURNEY.encode(Journey(answers))) for key in (changing, untouched)]
    store.write([*states, (b"c" + row, formats.COUNTS.encode(cells))], Checkpoint(0, 0, 0))
    journeys = _next_version(formats.JOURNEY, Journey)
    counts = _next_version(formats.COUNTS, Cells)
    for module in (decider_module, unit_module):
        monkeypatch.setattr(module, "JOURNEY", journeys)
    monkeypatch.setattr(ledger.Ledger, "format", counts)

    rules = RulesConfig(30 * DAY_US, 30 * DAY_US, 400 * DAY_US, frozenset({"passive_to_promoter"}))
    decider = Decider(DecidingConfig(Topics(), 1, rules, 10, (), "/nps"), 0, store, 0, LedgerMemory())
    decider.ledger.know([row])
    decider.decide(Slice([_record(response(3, now_us - 1), now_us // 1000)], 100))
    unit = decider.close_unit()

    stored = unit.states[changing]
    assert stored is not None
    state = journeys.decode(stored)
    assert [answer.response_id for answer in state.history] == ["r2", "r1", "r3"]
    assert untouched not in unit.states
    assert unit.counts[row] == counts.encode({23 * 7 + 1: 2, 23 * 7 + 2: 1})
    assert stored[0] == counts.encode(cells)[0] == 3
    store.close()


def _next_version(current: Format, kind: type) -> Format:  # type: ignore[type-arg]
    return Format(current.what, kind, 3, {2: lambda payload: current.decode(b"\x02" + payload)})


def _record(value: bytes, timestamp_ms: int, customer: str = "c") -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord("nps.responses", 0, 0, timestamp_ms, 0, customer.encode(), value, None, 1, len(value), ())


# Through a worker


@pytest.fixture
def stage(broker: Broker, unique: str, tmp_path: Path) -> Stage:
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path).with_settings(session_timeout_ms="1500")
    stage.create_topics()
    return stage


PARTITION = partition_of(b"c", 4)


def assert_stops(worker: WorkerProcess, sentence: str) -> None:
    assert worker.wait(30) == 1, worker.last_words()
    assert sentence in worker.last_words(1)
    assert "a newer release wrote it, run that one or a later one" in worker.last_words(1)


@pytest.mark.parametrize(
    ("topic", "key", "sentence"),
    [
        (lambda topics: topics.journeys, journey_key("customer", "c", "s"), "a journey is stored in format 99"),
        (
            lambda topics: topics.journeys,
            journey_key("response", "r", "s"),
            "an anonymous response is stored in format",
        ),
        (lambda topics: topics.segment_counts, counts_key("s", "all", 20_000), "a day's counts is stored in format 99"),
        (
            lambda topics: topics.case_counts,
            counts_key("s", "all", 20_000),
            "a day's counts of cases is stored in format",
        ),
    ],
)
def test_a_newer_record_in_a_changelog_stops_the_worker(
    stage: Stage, topic: Callable[[Topics], str], key: bytes, sentence: str
) -> None:
    publish(stage.bootstrap_servers, topic(stage.topics), [Produced(PARTITION, key, NEWER, int(time.time() * 1000))])
    with stage.worker() as worker:
        assert_stops(worker, sentence)


def test_a_newer_record_in_the_local_state_stops_the_worker(stage: Stage) -> None:
    now_us = time.time_ns() // 1000
    with stage.worker() as worker:
        stage.publish([Produced(PARTITION, b"c", response(1, now_us), now_us // 1000)])
        stage.wait_until_done(worker)
        assert worker.sigterm() == 0
    store = Store(stage.state_dir("worker") / f"partition-{PARTITION}")
    assert store.checkpoint is not None
    store.write([(b"j" + journey_key("customer", "c", "s"), NEWER)], store.checkpoint)
    store.close()
    with worker:
        worker.wait_ready()  # a journey is read when it is needed
        stage.publish([Produced(PARTITION, b"c", response(2, now_us), now_us // 1000)])
        assert_stops(worker, "a journey is stored in format 99")
    assert stage.committed()[PARTITION] == 1


def test_a_newer_record_of_another_worker_stops_the_worker_that_follows_its_counts(stage: Stage) -> None:
    """As when workers are upgraded one by one: the older one would show wrong scores."""
    with stage.worker("a") as a, stage.worker("b") as b:
        a.wait_ready()
        b.wait_ready()
        newer = [
            Produced(partition, counts_key("s", "all", 20_000), NEWER, int(time.time() * 1000))
            for partition in range(4)
        ]
        publish(stage.bootstrap_servers, stage.topics.segment_counts, newer)
        assert_stops(a, "a day's counts is stored in format 99")
        assert_stops(b, "a day's counts is stored in format 99")


@pytest.mark.parametrize("record_time_ms", [build.NOW_MS * 1_000_000, 2**63 - 1])
def test_how_long_a_case_took_can_be_stored_whatever_a_record_time_says(record_time_ms: int) -> None:
    """A publisher's may be in nanoseconds, and a broker before 4.0 takes it."""
    passive = build.after(build.response("r1", 8, 2))
    change = decide(build.CONFIG, build.CUSTOMER, passive, build.response("r2", 9, 1), record_time_ms).case
    assert change is not None
    assert change.end == "converted"
    counted = {cell: 10_000 * amount for cell, amount in amounts(change)}
    assert CASE_COUNTS.decode(CASE_COUNTS.encode(counted)) == counted
