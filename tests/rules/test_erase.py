from __future__ import annotations

from schemas.events import ERASED, PASSIVE_WITHDRAWN, event_id
from streams.rules.decisions import erase
from tests.rules.build import CUSTOMER, after, days_ago, response


def test_each_open_detection_is_withdrawn_in_order_of_survey() -> None:
    journeys = {survey: after(response("r1", 8, 1, survey_id=survey)) for survey in ("b", "\U0001f600", "a", "\uff5a")}
    events = erase(CUSTOMER, journeys)
    assert [event.data["survey_id"] for event in events] == ["a", "b", "\uff5a", "\U0001f600"]
    assert [event.data["withdrawn_event_id"] for event in events] == [
        journeys[survey].detection.event_id  # type: ignore[union-attr]
        for survey in ("a", "b", "\uff5a", "\U0001f600")
    ]


def test_the_event_is_about_the_latest_answer_before_the_erasure() -> None:
    journey = after(response("r1", 3, 9), response("r2", 8, 8), response("r3", 7, 1, revision=4))
    assert journey.detection is not None
    [event] = erase(CUSTOMER, {"relational": journey})
    assert (event.type, event.key, event.label) == (PASSIVE_WITHDRAWN, CUSTOMER, "erased")
    assert event.id == event_id(PASSIVE_WITHDRAWN, "relational", CUSTOMER, "r3", ERASED)
    assert event.time_us == days_ago(1)
    assert event.data == {
        "event_id": event.id,
        "customer_id": CUSTOMER,
        "survey_id": "relational",
        "response_id": "r3",
        "revision": 4,
        "withdrawn_event_id": journey.detection.event_id,
        "cause": "erased",
        "category": None,
    }


def test_journeys_without_an_open_detection_are_not_spoken_of() -> None:
    journeys = {
        "promoter": after(response("r1", 9)),
        "stale": after(response("r1", 8, 31)),
        "converted": after(response("r1", 8, 2), response("r2", 9, 1)),
    }
    assert erase(CUSTOMER, journeys) == ()
    assert erase(CUSTOMER, {}) == ()
