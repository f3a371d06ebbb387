"""Limits that the engine keeps, exactly at each and one beyond, at the numbers that they have when nothing is set."""

from __future__ import annotations

import dataclasses
import logging
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.keys import journey_key, parse_counts_key
from schemas.times import US_PER_DAY
from schemas.topics import Topics
from streams.engine import engine
from streams.engine.decider import DecidingConfig
from streams.engine.formats import COUNTS, JOURNEY
from streams.engine.observer import UnitReport
from streams.engine.unit import UNIT_STATE_BYTES_MAX
from streams.rules.decisions import RulesConfig
from streams.rules.journey import Answer, Journey
from streams.settings import Settings
from tests.simulation.disk import MemoryDisks
from tests.support.deciding import DecidedPartition
from tests.support.kafka_reading import latest_values
from tests.support.oracle_reading import Record

TOPICS = Topics()
DAY_MS = US_PER_DAY // 1000
MIDNIGHT_MS = 20_779 * DAY_MS


def partition(crosses: tuple[tuple[str, ...], ...] = ()) -> DecidedPartition:
    rules = RulesConfig(30 * US_PER_DAY, 30 * US_PER_DAY, 400 * US_PER_DAY, frozenset())
    config = DecidingConfig(TOPICS, 1, rules, Settings().segment_limit, crosses, "/nps")
    return DecidedPartition(0, config, MemoryDisks(random.Random(0)).open(Path("partition-0")))


def response(number: int, time_ms: int, segments: dict[str, str] | None = None) -> Record:
    """An anonymous one."""
    given = {"response_id": f"r{number}", "survey_id": "s", "score": 9, "segments": segments or {}}
    value = msgspec.json.encode({**given, "responded_at": "2026-11-20T00:00:00Z"})
    return Record(0, number, f"r{number}".encode(), value, time_ms)


def committed(decided: DecidedPartition, log: Sequence[Record]) -> UnitReport:
    decided.decide([response(0, 0)] * decided.position + list(log), len(log))
    report = decided.decider.unit.report
    decided.begin_commit()
    decided.end_commit()
    return report


def counted(decided: DecidedPartition) -> Counter[str]:
    """Segment → promoters."""
    found: Counter[str] = Counter()
    for key, value in latest_values(decided.written[TOPICS.segment_counts]).items():
        found[parse_counts_key(key).segment] += sum(COUNTS.decode(value).values())
    return found


@pytest.mark.parametrize("crossed", [False, True])
def test_ten_thousand_segments_have_a_place_and_the_next_one_has_not(crossed: bool) -> None:
    """`all` takes no place; a cross takes one."""

    def log(first: int, numbers: Iterable[int]) -> list[Record]:
        named = [{"a": f"v{n}", "b": "x"} if crossed else {"a": f"v{n}"} for n in numbers]
        return [response(first + at, MIDNIGHT_MS, segments) for at, segments in enumerate(named)]

    decided = partition((("a", "b"),) if crossed else ())
    # With the cross each takes two places, and all together one for b=x; so 4,999 take 9,999 of 10,000.
    fit = 4_999 if crossed else 10_000
    assert committed(decided, log(0, range(fit))).overflowed == 0
    found = counted(decided)
    assert len(found) == (10_000 if crossed else 10_001), "all included"
    assert "a=__other__" not in found
    report = committed(decided, log(fit, [fit, fit + 1]))
    found = counted(decided)
    assert found["all"] == fit + 2
    if crossed:  # the first still has a place for a=…, then none is left
        assert (found[f"a=v{fit}"], found["a=__other__"], found["a=__other__+b=__other__"]) == (1, 1, 2)
        assert report.overflowed == 3
    else:
        assert (found["a=__other__"], report.overflowed) == (2, 2)


@pytest.mark.parametrize(
    ("first_seen_ms", "forgotten_at_ms"),
    [
        (MIDNIGHT_MS - 1, MIDNIGHT_MS + 100 * DAY_MS),
        (MIDNIGHT_MS, MIDNIGHT_MS + 101 * DAY_MS),
    ],
    ids=["a millisecond after 100 days", "a day after 100 days"],
)
def test_an_anonymous_response_is_removed_between_100_days_and_a_day_later(
    first_seen_ms: int, forgotten_at_ms: int
) -> None:
    decided = partition()
    key = journey_key("response", "r0", "s")
    committed(decided, [response(0, first_seen_ms)])
    for time_ms, known in ((forgotten_at_ms - 1, True), (forgotten_at_ms, False)):
        committed(decided, [Record(0, decided.position, b"nobody", None, time_ms)])
        decided.decider.forget_anonymous()
        committed(decided, [Record(0, decided.position, b"nobody", None, time_ms)])
        assert (key in latest_values(decided.written[TOPICS.journeys])) is known
    assert 100 * DAY_MS < forgotten_at_ms - first_seen_ms <= 101 * DAY_MS


class Nobody:
    """Takes reports."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_misplaced_records_are_warned_about_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = 1_000.0
    monkeypatch.setattr(engine.time, "monotonic", lambda: now_s)
    caplog.set_level(logging.WARNING)
    observer = engine._WarningObserver(Nobody(), "nps.responses")  # type: ignore[arg-type]
    for at_s, misplaced, warnings in ((0, 0, 0), (0, 2, 1), (1, 1, 1), (59.9, 1, 1), (60, 1, 2), (119.9, 1, 2)):
        now_s = 1_000.0 + at_s
        report = UnitReport(0)
        report.misplaced = misplaced
        observer.unit_committed(report)
        assert len(caplog.records) == warnings, f"after {at_s} s"
    assert caplog.messages[0].startswith("2 records of nps.responses")
    assert caplog.messages[1].startswith("3 records"), "those since the last warning"


@pytest.mark.parametrize(("sla_hours", "due"), [(72, True), (0, False)])
def test_nobody_is_overdue_once_the_time_is_off_not_even_who_had_one(sla_hours: int, due: bool) -> None:
    decided = partition()
    answer = {"response_id": "r", "customer_id": "c", "survey_id": "s", "score": 7}
    value = msgspec.json.encode({**answer, "responded_at": "2026-11-20T00:00:00Z"})
    committed(decided, [Record(0, 0, b"c", value, MIDNIGHT_MS)])
    decider = decided.decider
    rules = msgspec.structs.replace(decider._config.rules, follow_up_sla_us=sla_hours * US_PER_DAY // 24)
    decider._config = dataclasses.replace(decider._config, rules=rules)
    assert decider.has_due((MIDNIGHT_MS + 4 * DAY_MS) * 1000) is due


def test_a_unit_takes_less_than_64_mib_of_states() -> None:
    """A short record may change a journey of 32 long comments."""
    unit = partition().decider.unit
    state = Journey([Answer(f"r{n}", 0, 7, n, {}, None, comment="\u7532" * 4_000) for n in range(32)])
    fit = UNIT_STATE_BYTES_MAX // len(JOURNEY.encode(state))
    for number in range(fit):
        unit.put(journey_key("customer", f"c{number}", "s"), state)
    unit.encode_fresh()
    assert not unit.full
    unit.put(journey_key("customer", "one more", "s"), state)
    unit.encode_fresh()
    assert unit.full
