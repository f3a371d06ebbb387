"""Simulated survey life: the same for the same seed, believable in its shares, and each record what it says it is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice, pairwise

import pytest

from schemas.dead_letters import Reason
from schemas.response import Rejected, SurveyResponse, accept
from schemas.times import US_PER_DAY, US_PER_HOUR, parse_rfc3339
from streams.rules.category import category
from streams.simulation import STEADY, Habits, Life, Simulated
from streams.simulation.life import DEFAULT_HABITS

MONDAY_US = parse_rfc3339("2026-06-01T00:00:00Z")
SEED = 20_261_122
RECORDS = 30_000


@pytest.fixture(scope="module")
def life() -> list[Simulated]:
    """About 85 days of 12,000 customers."""
    return list(islice(simulate(SEED, 12_000, MONDAY_US, per_day=340), RECORDS))


@pytest.fixture(scope="module")
def answers(life: list[Simulated]) -> list[SurveyResponse]:
    """What was answered, each once, as it was first delivered."""
    return [read(record) for record in life if record.kind == "answer"]


def simulate(
    seed: int, customers: int, start_us: int, *, per_day: float, habits: Habits = DEFAULT_HABITS
) -> Iterator[Simulated]:
    """A life without end."""
    return Life(seed, customers, habits).stream(start_us, per_day=per_day)


def read(record: Simulated) -> SurveyResponse:
    assert record.value is not None
    return accept(record.key, record.value, record.record_time_ms)


def share(values: Counter[str], *names: str) -> float:
    return sum(values[name] for name in names) / sum(values.values())


def test_a_seed_and_a_start_give_the_same_records_and_another_seed_gives_others() -> None:
    def first(seed: int, start_us: int) -> list[Simulated]:
        return list(islice(simulate(seed, 500, start_us, per_day=2_000), 3_000))

    assert first(7, MONDAY_US) == first(7, MONDAY_US)
    assert first(7, MONDAY_US) != first(8, MONDAY_US)
    ids = {read(record).response_id for record in first(7, MONDAY_US) if record.kind == "answer"}
    later = {read(record).response_id for record in first(7, MONDAY_US + US_PER_DAY) if record.kind == "answer"}
    assert not ids & later, "another day's life must not look like repeats"


def test_records_arrive_in_order_after_they_were_answered(life: list[Simulated]) -> None:
    assert all(before.record_time_ms <= after.record_time_ms for before, after in pairwise(life))
    assert all(read(r).responded_at < r.record_time_ms * 1_000 for r in life if r.kind in ("answer", "repeat"))


def test_every_record_is_accepted_or_dead_lettered_as_it_says(life: list[Simulated]) -> None:
    reasons: Counter[Reason] = Counter()
    for record in life:
        if record.kind == "erasure":
            assert (record.key is not None, record.value) == (True, None)
        elif record.kind == "broken":
            with pytest.raises(Rejected) as rejected:
                read(record)
            assert rejected.value.reason is record.reason
            reasons[rejected.value.reason] += 1
        else:
            assert record.reason is None
            read(record)
    assert set(reasons) == set(Reason) - {Reason.UNKNOWN_CASE}, "each reason of a response occurs"
    assert 0.001 < reasons.total() / len(life) < 0.006


def test_broken_records_stay_what_they_are_when_sent_a_day_later() -> None:
    broken = [
        record
        for record in islice(simulate(SEED, 500, MONDAY_US, per_day=5_000, habits=Habits(broken=1.0)), 500)
        if record.kind == "broken"
    ]
    assert len(broken) > 400
    for record in broken:
        with pytest.raises(Rejected) as rejected:
            accept(record.key, record.value or b"", record.record_time_ms + 24 * 3_600_000)
        assert rejected.value.reason is record.reason


def test_each_answer_is_new_and_what_follows_it_is_not(life: list[Simulated]) -> None:
    revisions: dict[tuple[str, str, bytes | None], int] = {}
    for record in life:
        if record.value is None or record.kind == "broken":
            continue
        response = read(record)
        identity = (response.survey_id, response.response_id, record.key)
        known = revisions.get(identity)
        if record.kind == "answer":
            assert known is None
        elif record.kind == "repeat":
            assert known is not None
            assert response.revision <= known
        else:
            assert known is not None
            assert response.revision == known + 1
        revisions[identity] = max(response.revision, known or 0)
    kinds = Counter(record.kind for record in life)
    assert 0.008 < kinds["repeat"] / kinds["answer"] < 0.022
    assert 0.006 < kinds["amendment"] / kinds["answer"] < 0.018


def test_nothing_of_an_erased_customer_arrives_any_more() -> None:
    habits = Habits(erased=0.05, late=0.3, repeated=0.3, amended=0.3)
    erased: set[bytes | None] = set()
    for record in islice(simulate(SEED, 200, MONDAY_US, per_day=2_000, habits=habits), 5_000):
        assert record.key not in erased
        if record.kind == "erasure":
            erased.add(record.key)
    assert len(erased) > 100


def test_most_are_passive_and_eights_about_as_many_as_sevens(answers: list[SurveyResponse]) -> None:
    categories = Counter(category(answer.score) for answer in answers)
    assert 0.45 < share(categories, "passive") < 0.60
    assert 0.12 < share(categories, "detractor") < 0.28
    scores = Counter(answer.score for answer in answers)
    assert 0.4 < scores[7] / (scores[7] + scores[8]) < 0.6
    assert set(scores) == set(range(11))


def test_segments_answer_differently(answers: list[SurveyResponse]) -> None:
    by_segment: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in answers:
        for name, value in answer.segments.items():
            by_segment[f"{name}={value}"][category(answer.score)] += 1
    nps = {name: 100 * (share(c, "promoter") - share(c, "detractor")) for name, c in by_segment.items()}
    assert nps["country=GB"] > nps["country=NO"] + 3 > nps["country=DE"] + 10
    assert nps["plan=enterprise"] > nps["plan=business"] > nps["plan=starter"]
    assert nps["industry=software"] > nps["industry=logistics"] + 8


def test_passives_give_reasons_and_comments_come_in_three_languages(answers: list[SurveyResponse]) -> None:
    passives = [answer for answer in answers if category(answer.score) == "passive"]
    reasons = Counter(answer.reason for answer in passives)
    assert len(reasons) == 6, "all five, and none given"
    assert 0.1 < reasons[None] / len(passives) < 0.3
    assert all(answer.reason is None for answer in answers if category(answer.score) != "passive")
    onboarding = Counter(answer.reason for answer in passives if answer.survey_id == "onboarding")
    assert onboarding.most_common(1)[0][0] == "needs_more_time"
    assert {answer.language for answer in answers if answer.comment} == {"en", "nb", "nl"}
    assert 0.1 < sum(answer.comment is not None for answer in answers) / len(answers) < 0.4


def test_passives_convert_eights_more_often_and_some_reasons_more_than_others(answers: list[SurveyResponse]) -> None:
    next_by_score: dict[int, Counter[str]] = defaultdict(Counter)
    next_by_reason: dict[str | None, Counter[str]] = defaultdict(Counter)
    last: dict[tuple[str, str], SurveyResponse] = {}
    for answer in sorted(answers, key=lambda answer: answer.responded_at):
        if answer.customer_id is None:
            continue
        journey = (answer.customer_id, answer.survey_id)
        before = last.get(journey)
        if before is not None and before.score in (7, 8):
            next_by_score[before.score][category(answer.score)] += 1
            next_by_reason[before.reason][category(answer.score)] += 1
        last[journey] = answer
    converted = {score: share(next_by_score[score], "promoter") for score in (7, 8)}
    assert 0.08 < converted[7] < converted[8] - 0.05 < 0.4
    assert all(0.03 < share(next_by_score[score], "detractor") < 0.25 for score in (7, 8)), "some fall"
    assert share(next_by_reason["needs_more_time"], "promoter") > share(next_by_reason["indifferent"], "promoter") + 0.1


def test_customers_rest_between_answers(answers: list[SurveyResponse]) -> None:
    times: dict[str, list[int]] = defaultdict(list)
    for answer in answers:
        if answer.customer_id is not None:
            times[answer.customer_id].append(answer.responded_at)
    gaps = [after - before for each in times.values() for before, after in pairwise(sorted(each))]
    assert len(gaps) > 5_000
    assert sum(gap >= 25 * US_PER_DAY for gap in gaps) / len(gaps) > 0.97


def test_some_arrive_after_a_newer_answer_and_a_few_have_no_name(life: list[Simulated]) -> None:
    newest: dict[tuple[str, str], int] = {}
    overtaken = anonymous = 0
    for record in life:
        if record.kind != "answer":
            continue
        response = read(record)
        if response.customer_id is None:
            anonymous += 1
            continue
        journey = (response.customer_id, response.survey_id)
        overtaken += response.responded_at < newest.get(journey, 0)
        newest[journey] = max(response.responded_at, newest.get(journey, 0))
    assert 50 < overtaken < 500
    assert 80 < anonymous < 300


def test_people_answer_in_working_hours(answers: list[SurveyResponse]) -> None:
    hours = Counter(answer.responded_at % US_PER_DAY // US_PER_HOUR for answer in answers)
    assert sum(hours[hour] for hour in range(6, 17)) / len(answers) > 0.75
    weekend = sum((answer.responded_at // US_PER_DAY + 3) % 7 >= 5 for answer in answers) / len(answers)
    assert 0.05 < weekend < 0.2


def test_a_life_goes_on_from_its_history_and_delivers_what_was_under_way() -> None:
    start_us, end_us = MONDAY_US, MONDAY_US + 20 * US_PER_DAY
    life = Life(3, 2_000, Habits(late=0.2))
    history = list(life.stream(start_us, end_us, per_day=500))
    hour = list(life.stream(end_us, end_us + US_PER_HOUR, per_day=48_000, rhythm=STEADY))
    assert 9_000 < len(history) < 12_000
    assert 1_400 < len(hour) < 2_300
    assert all(record.record_time_ms < end_us // 1_000 for record in history)
    assert all(end_us // 1_000 <= record.record_time_ms for record in hour)
    known = {read(record).customer_id for record in history if record.kind == "answer"}
    again = [record for record in hour if record.kind == "answer" and read(record).customer_id in known]
    assert len(again) > 1_000, "most of those who answer in this hour have answered before"
    assert any(read(record).responded_at < end_us for record in hour if record.kind == "answer"), "late ones"
