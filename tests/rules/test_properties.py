"""What holds for any responses in any order, found by Hypothesis.

"Any order" has three conditions, and each test states those that it needs: what has one id and one revision is one
response (publishers raise the revision when they change content); no journey has more than 32 ids (beyond that, what
is too old depends on what came before); all records have one record time (age decides what is counted).
"""

from __future__ import annotations

from copy import deepcopy
from itertools import product
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.response import SurveyResponse
from schemas.times import US_PER_DAY, US_PER_HOUR
from streams.rules.case import Case, EndedCase, KeptFollowUp, Past
from streams.rules.decisions import decide, decide_anonymous, erase
from streams.rules.journey import HISTORY_LIMIT_ANSWERS, Answer, Journey, Remembered, order
from tests.rules.build import ALL_CHANGES, CUSTOMER, NOW_MS, NOW_US, config
from tests.rules.driver import Driver

RULES = config(transitions=ALL_CHANGES)
AGES_US = tuple(days * US_PER_DAY + more for days in (0, 1, 29, 30, 31, 400, 401) for more in (0, 1, US_PER_HOUR))
SEGMENTS = tuple(
    {name: value for name, value in (("country", country), ("plan", plan)) if value}
    for country in ("", "a", "b+")
    for plan in ("", "c", "%")
)
CONTENTS = tuple(product((0, 6, 7, 8, 9, 10), AGES_US, SEGMENTS, (None, 1, 2, 5), (None, "words")))

# One draw each: Hypothesis is slow at drawing dictionaries of dictionaries.
contents = st.sampled_from(CONTENTS).map(
    lambda drawn: {
        "score": drawn[0],
        "responded_at": NOW_US - drawn[1],
        "segments": drawn[2],
        "csat": drawn[3],
        "comment": drawn[4],
    }
)

JOURNEYS = ((CUSTOMER, "relational"), (CUSTOMER, "support"), (None, "relational"))


def identities(
    ids: int, revisions: int, journeys: tuple[tuple[str | None, str], ...] = JOURNEYS
) -> st.SearchStrategy[tuple[str | None, str, str, int]]:
    """Customer, survey, response id, revision; no journey has more than `ids` ids."""
    all_of_them = [
        (*journey, f"r{number:02}", revision)
        for number in range(ids)
        for revision in range(revisions)
        for journey in journeys
    ]
    return st.sampled_from(all_of_them)


def delivered(known: dict[Any, dict[str, Any]]) -> st.SearchStrategy[list[SurveyResponse]]:
    """These responses in any order, some repeatedly. One id and one revision always have one content."""
    made = [
        SurveyResponse(customer_id=customer, survey_id=survey, response_id=id_, revision=revision, **content)
        for (customer, survey, id_, revision), content in known.items()
    ]
    repeats = st.lists(st.sampled_from(made), max_size=8) if made else st.just([])
    return repeats.flatmap(lambda again: st.permutations(made + again))


def logs(revisions: int = 3) -> st.SearchStrategy[list[SurveyResponse]]:
    """Up to 40 responses and revisions of several journeys, none of which fills its history."""
    return st.dictionaries(identities(HISTORY_LIMIT_ANSWERS, revisions), contents, max_size=40).flatmap(delivered)


def crowded_logs(revisions: int = 1) -> st.SearchStrategy[list[SurveyResponse]]:
    """30 to 45 responses and revisions of one journey, most of which overflow its history."""
    crowd = identities(99, revisions, JOURNEYS[:1])
    return st.dictionaries(crowd, contents, min_size=30, max_size=45).flatmap(delivered)


def driven(responses: list[SurveyResponse], driver: Driver | None = None) -> Driver:
    driver = driver or Driver(RULES, crosses=(("country", "plan"),))
    for response in responses:
        driver.respond(response, NOW_MS)
    return driver


def state(driver: Driver) -> Any:
    return deepcopy((driver.journeys, driver.remembered, driver.by_hour()))


@given(logs(), st.randoms(use_true_random=False))
def test_any_order_of_the_same_responses_gives_the_same_counts(responses: list[SurveyResponse], rng: Any) -> None:
    shuffled = list(responses)
    rng.shuffle(shuffled)
    assert driven(responses).by_hour() == driven(shuffled).by_hour()


@given(logs())
def test_counts_are_those_of_the_highest_revision_of_each_response(responses: list[SurveyResponse]) -> None:
    highest: dict[Any, SurveyResponse] = {}
    for each in responses:
        identity = each.customer_id, each.survey_id, each.response_id
        if identity not in highest or each.revision > highest[identity].revision:
            highest[identity] = each
    assert driven(responses).by_hour() == driven(list(highest.values())).by_hour()


@given(logs(), st.randoms(use_true_random=False))
def test_a_history_is_the_same_whatever_the_arrival_order(responses: list[SurveyResponse], rng: Any) -> None:
    shuffled = list(responses)
    rng.shuffle(shuffled)
    assert driven(responses).histories() == driven(shuffled).histories()


@given(crowded_logs())
def test_without_amendments_a_history_is_the_newest_32_whatever_the_arrival_order(
    responses: list[SurveyResponse],
) -> None:
    expected: dict[tuple[str, str], dict[str, tuple[int, str]]] = {}
    for each in responses:
        if each.customer_id is not None:
            journey = expected.setdefault((each.customer_id, each.survey_id), {})
            journey[each.response_id] = (each.responded_at, each.response_id)
    assert {
        journey: [(responded_at, id_) for id_, _, _, responded_at in history]
        for journey, history in driven(responses).histories().items()
    } == {journey: sorted(known.values())[-HISTORY_LIMIT_ANSWERS:] for journey, known in expected.items()}


@given(logs(), st.integers(0, 60))
def test_replaying_any_prefix_at_the_end_changes_nothing(responses: list[SurveyResponse], length: int) -> None:
    driver = driven(responses)
    before = state(driver)
    for response in responses[:length]:
        assert driver.respond(response, NOW_MS) == ("duplicate", ())
    assert state(driver) == before


@given(crowded_logs(), st.integers(0, 60))
def test_replaying_any_prefix_changes_nothing_beyond_32_either_without_amendments(
    responses: list[SurveyResponse], length: int
) -> None:
    driver = driven(responses)
    before = state(driver)
    for response in responses[:length]:
        outcome, events = driver.respond(response, NOW_MS)
        assert outcome in ("duplicate", "too_old")
        assert events == ()
    assert state(driver) == before


@given(logs(), st.integers(0, 60))
def test_a_prefix_delivered_twice_before_the_rest_changes_nothing(responses: list[SurveyResponse], length: int) -> None:
    once = driven(responses)
    twice = driven(responses[:length] + responses)
    assert state(twice) == state(once)


@given(logs(revisions=1), contents, st.data())
def test_amending_and_amending_back_restores_counts(
    responses: list[SurveyResponse], content: dict[str, Any], data: st.DataObject
) -> None:
    driver = driven(responses)
    before = driver.by_hour()
    if not responses:
        return
    original = data.draw(st.sampled_from(responses))
    for revision, changed in ((1, content), (2, {})):
        edit = original.model_copy(update={**changed, "revision": revision})
        assert driver.respond(edit, NOW_MS)[0] == "amended"
    assert driver.by_hour() == before
    restored = driver.histories().values()
    assert [[(id_, score, at) for id_, _, score, at in history] for history in restored] == [
        [(id_, score, at) for id_, _, score, at in history] for history in driven(responses).histories().values()
    ]


journeys = (logs() | crowded_logs()).map(lambda log: driven(log).journeys.get(CUSTOMER, {}))


@given(journeys, identities(99, 4), contents, st.booleans())
def test_deciding_changes_nothing_that_it_is_given(
    known: dict[str, Journey], identity: tuple[str | None, str, str, int], content: dict[str, Any], stale: bool
) -> None:
    _, survey, response_id, revision = identity
    response = SurveyResponse(
        customer_id=CUSTOMER, survey_id=survey, response_id=response_id, revision=revision, **content
    )
    journey = known.get(survey)
    before = deepcopy((known, response))
    now_ms = NOW_MS + 40 * US_PER_DAY // 1000 if stale else NOW_MS
    decision = decide(RULES, CUSTOMER, journey, response, now_ms)
    assert (known, response) == before

    assert decision == decide(RULES, CUSTOMER, deepcopy(journey), response, now_ms), "the same again"
    erase(CUSTOMER, known)
    assert (known, response) == before
    if decision.counted is not None:
        assert decision.journey is not None
        assert any(answer is decision.counted for answer in decision.journey.history)
        decision.counted.counted_as = ("x=y",)
        assert (known, response) == before, "what will be marked as counted is no object of the state before"
    if decision.retracted is not None:
        assert journey is not None
        assert any(answer is decision.retracted for answer in journey.history)


@given(contents, contents, st.integers(0, 1))
def test_deciding_about_an_anonymous_response_changes_nothing_that_it_is_given(
    first: dict[str, Any], second: dict[str, Any], revision: int
) -> None:
    anonymous = {"survey_id": "relational", "response_id": "r1"}
    remembered = decide_anonymous(RULES, None, SurveyResponse(**anonymous, **first), NOW_MS, NOW_MS).remembered
    response = SurveyResponse(**anonymous, revision=revision, **second)
    before = deepcopy((remembered, response))
    decision = decide_anonymous(RULES, remembered, response, NOW_MS, NOW_MS)
    if decision.counted is not None:
        decision.counted.counted_as = True
    assert (remembered, response) == before


@given(crowded_logs(revisions=3))
@settings(max_examples=50)
def test_what_always_holds_of_a_journey_and_a_decision(responses: list[SurveyResponse]) -> None:
    journey = None
    for response in responses:
        decision = decide(RULES, CUSTOMER, journey, response, NOW_MS)
        assert len(decision.events) <= 1
        assert not (decision.events and decision.suppressed)
        if decision.outcome in ("duplicate", "too_old"):
            assert decision.journey is decision.counted is decision.retracted is None
            continue
        assert (decision.retracted is None) or decision.outcome == "amended"
        journey = decision.journey
        assert journey is not None
        if decision.counted is not None:
            decision.counted.counted_as = True
        assert 1 <= len(journey.history) <= HISTORY_LIMIT_ANSWERS
        assert journey.history == sorted(journey.history, key=order)
        assert len({answer.response_id for answer in journey.history}) == len(journey.history)
        assert journey.detection is None or journey.history[-1].score in (7, 8)


@given(logs() | crowded_logs())
def test_state_survives_being_stored(responses: list[SurveyResponse]) -> None:
    driver = driven(responses)
    for journey in driver.journeys.get(CUSTOMER, {}).values():
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(journey), type=Journey) == journey
    for remembered in driver.remembered.values():
        for each in remembered.values():
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(each), type=Remembered) == each


def test_the_order_of_stored_fields_is_part_of_the_format() -> None:
    assert Answer.__struct_fields__ == (
        "response_id",
        "revision",
        "score",
        "responded_at",
        "segments",
        "csat",
        "counted_as",
        "account_id",
        "reason",
        "comment",
        "language",
        "customer_since",
        "marks",
    )
    assert Journey.__struct_fields__ == ("history", "detection", "case", "past")
    assert Case.__struct_fields__ == (
        *("score", "opened_at", "due_at", "first_response_id", "first_revision", "detections", "response_id"),
        *("segments", "reason", "counted_as", "action", "first_contact", "overdue", "follow_ups"),
    )
    assert KeptFollowUp.__struct_fields__ == (
        *("follow_up_id", "revision", "status", "action", "reason", "occurred_at"),
    )
    assert Past.__struct_fields__ == ("ended", "known")
    assert EndedCase.__struct_fields__ == ("detections", "response_id")
    assert Remembered.__struct_fields__ == ("answer", "first_seen_ms")
