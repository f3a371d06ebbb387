"""What holds of cases whatever comes: repeats change nothing, the order between the two inputs matters only where it
must, and an erasure leaves nothing but counts.

Where it must: a follow-up is about the case that is open when it is read. So it matters whether it is read before or
after the answer that opens the case (`unknown_case` or `feedback`, or `matched`), that ends it (`matched`, or `late`),
or, if it names neither detection nor response, that renews it (which answer is answered). A CRM answers detections,
which it can only read once the answer was processed, so the first does not happen to one that names what it answers.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import PASSIVE_DETECTED, event_id
from schemas.times import US_PER_DAY, US_PER_HOUR, format_rfc3339
from tests.rules.build import CONFIG, NOW_MS, NOW_US
from tests.rules.driver import Driver

Step = tuple[str, bytes, bytes | None]
"""Input (`response` or `follow_up`), key, value."""

any_score = st.integers(5, 9)
customers = st.sampled_from(["c1", "c2", "c3"])
reasons = st.sampled_from([None, "indifferent", "value_for_price"])


@st.composite
def responses(draw: st.DrawFn, scores: Any = any_score, customer: Any = customers) -> Step:
    owner = draw(customer)
    value = {
        "response_id": f"r{draw(st.integers(0, 5))}",
        "customer_id": owner,
        "survey_id": "s",
        "score": draw(scores),
        "responded_at": format_rfc3339(NOW_US - draw(st.integers(0, 40)) * US_PER_DAY),
        "revision": draw(st.integers(0, 2)),
        "reason": draw(reasons),
        "segments": draw(st.sampled_from([{}, {"country": "NO"}, {"country": "NL"}])),
    }
    return "response", owner.encode(), json.dumps(value).encode()


@st.composite
def follow_ups(draw: st.DrawFn, customer: Any = customers, names: Any = None) -> Step:
    owner = draw(customer)
    named = f"r{draw(st.integers(0, 5))}"
    if names is None:
        names = st.sampled_from([None, event_id(PASSIVE_DETECTED, "s", owner, named, 0)])
    value = {
        "follow_up_id": f"f{draw(st.integers(0, 5))}",
        "customer_id": owner,
        "survey_id": "s",
        "response_id": draw(st.sampled_from([None, named])),
        "detected_event_id": draw(names),
        "status": draw(st.sampled_from(["opened", "contacted", "resolved", "declined"])),
        "action": draw(st.sampled_from(["incentive", "tailored_offer"])),
        "reason": draw(reasons),
        "occurred_at": format_rfc3339(NOW_US - draw(st.integers(0, 96)) * US_PER_HOUR),
        "revision": draw(st.integers(0, 2)),
    }
    return "follow_up", owner.encode(), json.dumps(value).encode()


erasures = customers.map(lambda customer: ("response", customer.encode(), None))
logs = st.lists(st.one_of(responses(), responses(), follow_ups(), follow_ups(), erasures), max_size=40)


def played(steps: list[Step]) -> Driver:
    driver = Driver(CONFIG)
    play(driver, steps)
    return driver


def play(driver: Driver, steps: list[Step]) -> list[str]:
    return [
        driver.process(key, value, NOW_MS)[0] if kind == "response" else driver.follow_up(key, value, NOW_MS)
        for kind, key, value in steps
    ]


def said(driver: Driver) -> Any:
    """Everything but the order of what happened to different customers."""
    return driver.by_hour(), driver.case_counts(), driver.journeys, sorted(driver.contacts_us)


@settings(deadline=None, print_blob=True, max_examples=200)
@given(logs, st.randoms(use_true_random=False))
def test_customers_do_not_mind_each_other(steps: list[Step], rng: Any) -> None:
    """Any order of the two inputs that is the same for each customer."""
    queues = {key: [step for step in steps if step[1] == key] for _, key, _ in steps}
    shuffled = [key for _, key, _ in steps]
    rng.shuffle(shuffled)
    assert said(played([queues[key].pop(0) for key in shuffled])) == said(played(steps))


OPENING = ("response", b"c1", json.dumps({
    "response_id": "first", "customer_id": "c1", "survey_id": "s", "score": 8,
    "responded_at": format_rfc3339(NOW_US - 29 * US_PER_DAY),
}).encode())  # fmt: skip
DETECTION = event_id(PASSIVE_DETECTED, "s", "c1", "first", 0)
owner = st.just("c1")


@settings(deadline=None, print_blob=True, max_examples=200)
@given(
    st.lists(responses(st.sampled_from([7, 8]), owner), max_size=8),
    st.lists(follow_ups(owner, st.just(DETECTION)), max_size=8),
    st.randoms(use_true_random=False),
)
def test_while_a_case_stays_open_either_input_may_be_read_first(
    answers: list[Step], follow_up_steps: list[Step], rng: Any
) -> None:
    """Follow-ups name the detection, answers renew nothing: any order that keeps each one's own gives the same case,
    and the same counts once answers that follow-ups name are there (else there is nothing to mark as answered).
    """
    merged = ["a"] * len(answers) + ["f"] * len(follow_up_steps)
    rng.shuffle(merged)
    queues = {"a": list(answers), "f": [_naming_no_response(step) for step in follow_up_steps]}
    mixed = played([OPENING, *(queues[which].pop(0) for which in merged)])
    apart = played([OPENING, *answers, *map(_naming_no_response, follow_up_steps)])
    assert mixed.case_counts() == apart.case_counts()
    assert mixed.open_cases() == apart.open_cases()
    assert mixed.by_hour() == apart.by_hour()
    assert sorted(mixed.contacts_us) == sorted(apart.contacts_us)


def _naming_no_response(step: Step) -> Step:
    kind, key, value = step
    assert value is not None
    return kind, key, json.dumps({**json.loads(value), "response_id": None}).encode()


@settings(deadline=None, print_blob=True, max_examples=200)
@given(logs, st.data())
def test_a_replay_of_follow_ups_changes_nothing(steps: list[Step], data: st.DataObject) -> None:
    """Also of a part of them, which is what a reader without its place does. (A journey knows the newest 32 by id.)"""
    steps = [step for step in steps if step[2] is not None]
    driver = played(steps)
    before = repr(said(driver))
    sent = [step for step in steps if step[0] == "follow_up"]
    first = data.draw(st.integers(0, len(sent)))
    taken = {
        outcome for step, outcome in zip(steps, play(Driver(CONFIG), steps), strict=True) if step[0] == "follow_up"
    }
    again = play(driver, sent[first:])
    if "unknown_case" not in taken:  # what was about nobody may be about somebody by now
        assert set(again) <= {"duplicate"}
        assert repr(said(driver)) == before


@settings(deadline=None, print_blob=True)
@given(logs)
def test_an_erasure_leaves_nothing_but_counts(steps: list[Step]) -> None:
    driver = played(steps)
    before = {group: counter["cases"] for group, counter in driver.case_counts().items()}
    play(driver, [("response", key, None) for key in (b"c1", b"c2", b"c3")])
    assert not any(driver.journeys.values())
    counts = driver.case_counts()
    assert {group: counter["cases"] for group, counter in counts.items()} == before
    for counter in counts.values():
        assert counter["cases"] == sum(counter[end] for end in ("converted", "left", "withdrawn", "erased"))
    outcomes = play(driver, [step for step in steps if step[0] == "follow_up"])
    assert set(outcomes) <= {"unknown_case"}
