"""The oracle judges the processor, so it is judged first: small stories whose answers were worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import corpus_fields
from tests.support.oracle import OracleConfig, PartitionOracle, Processed
from tests.support.oracle_events import Row
from tests.support.oracle_reading import DeadLetter, Record, murmur2, partition_of, read_json, read_response, read_time
from tests.support.oracle_scores import retained, score_row, score_rows

NOW_MS = 1_793_534_400_000  # 2026-11-01T12:00:00Z
DAY_MS = 86_400_000


class Story:
    """Feeds an oracle of one partition; times are days from the record time, 1 November, noon; mostly negative."""

    def __init__(self, **config: Any) -> None:
        self.oracle = PartitionOracle(0, OracleConfig(**config))

    def record(self, key: bytes | None, value: bytes | None, timestamp_ms: int = NOW_MS) -> Processed:
        return self.oracle.process(Record(0, self.oracle.next_offset, key, value, timestamp_ms))

    def say(self, response_id: str, score: int, day: float = 0, revision: int = 0, **fields: Any) -> Processed:
        at_ms = fields.pop("at_ms", NOW_MS)
        document = response(response_id, score, NOW_MS + round(day * DAY_MS), revision) | fields
        key = document["customer_id"] or document["response_id"]
        return self.record(key.encode(), json.dumps(document).encode(), at_ms)

    def cells(self) -> dict[str, list[int]]:
        """Counts that are not nothing, by `segment day hour` of the one survey."""
        return {
            f"{row.segment} {row.day[5:]} {row.hour}": cell for row, cell in self.oracle.counts.items() if any(cell)
        }


def response(response_id: str, score: int, moment_ms: int, revision: int = 0) -> dict[str, Any]:
    days, rest_ms = divmod(moment_ms - NOW_MS + 12 * 3_600_000, DAY_MS)
    day = {0: "2026-11-01", -1: "2026-10-31", -2: "2026-10-30", -30: "2026-10-02", -31: "2026-10-01"}
    day |= {-10: "2026-10-22", -11: "2026-10-21", -40: "2026-09-22", -35: "2026-09-27", -400: "2025-09-27"}
    seconds, thousandths = divmod(rest_ms, 1000)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{thousandths:03d}Z"
    return {
        "response_id": response_id,
        "customer_id": "ann",
        "survey_id": "s",
        "score": score,
        "responded_at": f"{day[days]}T{clock}",
        "revision": revision,
    }


def labels(processed: Processed) -> list[str]:
    return [event.label for event in processed.events]


def test_a_first_passive_is_detected_with_every_field() -> None:
    story = Story()
    outcome, [event], _ = story.say("r1", 8, -1, segments={"country": "NO"}, csat=4, language="nb", account_id="a-1")
    assert outcome == "accepted"
    assert event.key == b"ann"
    assert event.data == {
        "event_id": "bdb5d1be-5ba2-5300-a64e-b35b62639c0f",
        "customer_id": "ann",
        "survey_id": "s",
        "response_id": "r1",
        "revision": 0,
        "account_id": "a-1",
        "score": 8,
        "near_promoter": True,
        "trigger": "first_response",
        "previous_score": None,
        "previous_response_id": None,
        "passive_since": "2026-10-31T12:00:00Z",
        "responded_at": "2026-10-31T12:00:00Z",
        "detected_at": "2026-11-01T12:00:00Z",
        "reason": None,
        "comment": None,
        "language": "nb",
        "csat": 4,
        "customer_since": None,
        "recommended_action": "follow_up_question",
        "follow_up_question": (
            "Takk for svaret ditt. Hva er den ene tingen vi kan gjøre for at det skal bli en tier neste gang?"
        ),
        "follow_up_due_at": "2026-11-04T12:00:00Z",
        "case_opened_at": "2026-11-01T12:00:00Z",
        "segment_country": "NO",
    }
    assert event.headers["ce_time"] == "2026-10-31T12:00:00Z"


def test_a_conversion_says_how_long_it_took_and_which_detection_it_closes() -> None:
    story = Story()
    story.say("r0", 3, -11)
    [detected] = story.say("r1", 7, -10).events
    story.say("r2", 8, -2)
    [changed] = story.say("r3", 9, -1.5).events
    assert detected.label == "from_detractor"
    assert changed.label == "passive_to_promoter"
    assert changed.data["detected_event_id"] == detected.data["event_id"]
    assert changed.data["passive_since"] == "2026-10-22T12:00:00Z"
    assert changed.data["days_passive"] == 8.5
    assert (changed.data["previous_response_id"], changed.data["previous_score"]) == ("r2", 8)
    assert labels(story.say("r4", 8, -1)) == ["from_promoter"]


def test_other_changes_of_category_are_said_only_when_configured() -> None:
    assert [labels(story.say("a", 7, -2)) + labels(story.say("b", 2, -1)) for story in [Story()]] == [
        ["first_response"]
    ]
    story = Story(transitions=frozenset({"passive_to_detractor", "detractor_to_promoter"}))
    said = [labels(story.say(f"r{step}", score, step / 100 - 1)) for step, score in enumerate((7, 2, 9, 3, 7, 10))]
    assert said == [["first_response"], ["passive_to_detractor"], ["detractor_to_promoter"], [], ["from_detractor"], []]


def test_a_repeat_is_detected_again_after_thirty_days_exactly() -> None:
    story = Story()
    assert labels(story.say("r1", 7, -30)) == ["first_response"]
    assert labels(story.say("r2", 7, -1e-5)) == []
    assert labels(story.say("r3", 7, 0)) == ["still_passive"]
    assert labels(story.say("r4", 7, 1e-5)) == []
    assert story.oracle.suppressed == {"cooldown": 2}


def test_news_of_more_than_thirty_days_ago_is_kept_to_ourselves() -> None:
    story = Story()
    assert labels(story.say("r1", 7, -40)) == []
    assert labels(story.say("r2", 9, -35)) == []
    assert story.oracle.suppressed == {"stale": 2}
    assert labels(story.say("r3", 7, -30)) == ["from_promoter"]


def test_a_late_response_is_counted_and_changes_the_past_alone() -> None:
    story = Story()
    story.say("r1", 7, -1)
    assert story.say("r0", 8, -2)[:2] == ("late", [])
    assert story.cells() == {"all 10-31 12": [0, 1, 0, 0, 0, 0, 0], "all 10-30 12": [0, 0, 1, 0, 0, 0, 0]}
    [changed] = story.say("r2", 9, 0).events
    assert changed.data["passive_since"] == "2026-10-30T12:00:00Z"


def test_equal_times_are_ordered_by_response_id() -> None:
    story = Story()
    story.say("b", 7, -1)
    assert story.say("a", 9, -1).outcome == "late"
    assert story.say("c", 9, -1).outcome == "accepted"
    assert story.say("\uff5a", 9, -1).outcome == "accepted"
    assert story.say("\U0001f600", 9, -1).outcome == "accepted"  # by code point, not by UTF-16 unit


def test_the_thirty_third_response_pushes_the_oldest_out() -> None:
    story = Story()
    for step in range(33):
        assert story.say(f"r{step:02d}", 7, -2 + step / 100).outcome == "accepted"
    history = story.oracle.customers["ann"]["s"].history
    assert [kept.response.response_id for kept in (history[0], history[-1])] == ["r01", "r32"]
    assert story.say("r00", 7, -2).outcome == "too_old"
    assert story.say("r00", 7, -2, revision=5).outcome == "too_old"
    assert sum(sum(cell) for cell in story.oracle.counts.values()) == 33
    [changed] = story.say("end", 10, 0).events
    assert changed.data["passive_since"] == story.oracle.events[0].data["responded_at"].replace(
        "2026-10-30T12:00:00", "2026-10-30T12:14:24"
    )


def test_revisions_decide_between_duplicate_and_amendment() -> None:
    story = Story()
    story.say("r1", 3, -1, revision=4)
    assert story.say("r1", 9, -1, revision=4).outcome == "duplicate"
    assert story.say("r1", 9, -1, revision=3).outcome == "duplicate"
    assert story.cells() == {"all 10-31 12": [1, 0, 0, 0, 0, 0, 0]}
    assert story.say("r1", 9, 0, revision=5, csat=5, segments={"a": "b"}).outcome == "amended"
    assert story.cells() == {"all 11-01 12": [0, 0, 0, 1, 1, 5, 0], "a=b 11-01 12": [0, 0, 0, 1, 1, 5, 0]}


def test_the_amendment_table() -> None:
    story = Story()
    story.say("r1", 3, -1)
    [found] = story.say("r1", 7, -1, revision=1).events
    assert (found.label, found.data["previous_score"], found.data["previous_response_id"]) == ("corrected", 3, "r1")
    assert labels(story.say("r1", 8, -1, revision=2)) == []
    [withdrawn] = story.say("r1", 9, -1, revision=3).events
    assert withdrawn.data == {
        "event_id": withdrawn.headers["ce_id"],
        "customer_id": "ann",
        "survey_id": "s",
        "response_id": "r1",
        "revision": 3,
        "withdrawn_event_id": found.data["event_id"],
        "cause": "corrected",
        "category": "promoter",
    }
    assert labels(story.say("r1", 2, -1, revision=4)) == []


def test_an_amendment_that_moves_the_latest_back_uncovers_the_one_before() -> None:
    story = Story()
    story.say("r1", 7, -2, comment="so so")
    story.say("r2", 2, -1)
    [found] = story.say("r2", 2, -10, revision=1).events
    assert (found.label, found.data["response_id"], found.data["revision"]) == ("corrected", "r1", 0)
    assert (found.data["comment"], found.data["previous_response_id"]) == ("so so", "r2")


def test_an_erasure_withdraws_what_is_open_in_order_of_survey_and_forgets() -> None:
    story = Story()
    for survey, score in (("b", 7), ("a", 8), ("c", 3)):
        story.say("r1", score, -1, survey_id=survey)
    erased = story.record(b"ann", None)
    assert erased.outcome == "erased"
    assert [(event.data["survey_id"], event.data["category"]) for event in erased.events] == [("a", None), ("b", None)]
    assert story.record(b"ann", None)[:2] == ("erased", [])
    assert story.say("r1", 7, -1, survey_id="b").outcome == "accepted"
    again = [
        event for event in story.oracle.events if event.data["survey_id"] == "b" and event.label == "first_response"
    ]
    assert again[0].data["event_id"] == again[1].data["event_id"]
    assert story.record(b"", None).outcome == story.record(b"\xff", None).outcome == "erased"
    assert story.record(None, None).outcome == "dead_letter"


def test_anonymous_responses_are_remembered_for_a_hundred_days() -> None:
    story = Story()
    assert story.say("x", 7, -1, customer_id=None)[:2] == ("accepted", [])
    assert story.say("x", 7, -2, customer_id=None).outcome == "duplicate"
    assert story.say("x", 9, -2, customer_id=None, revision=1).outcome == "amended"
    assert story.say("x", 9, -2, customer_id=None, survey_id="other").outcome == "accepted"
    assert story.say("x", 9, -2, customer_id=None, revision=1, at_ms=NOW_MS + 99 * DAY_MS).outcome == "duplicate"
    assert story.say("x", 9, -2, customer_id=None, revision=1, at_ms=NOW_MS + 102 * DAY_MS).outcome == "accepted"
    story.record(b"x", None)
    assert story.oracle.anonymous == {}


def test_segments_and_crosses_and_those_without_a_place() -> None:
    story = Story(crosses=(("b", "a"),), segment_limit=3)
    story.say("r1", 7, 0, segments={"b": "50%+", "a": "="})
    assert set(story.cells()) == {f"{name} 11-01 12" for name in ("all", "a==", "b=50%25%2B", "b=50%25%2B+a==")}
    story.say("r2", 7, 0, segments={"b": "50%+", "a": "new"})
    assert story.cells()["a=__other__ 11-01 12"] == [0, 1, 0, 0, 0, 0, 0]
    assert story.cells()["b=__other__+a=__other__ 11-01 12"] == [0, 1, 0, 0, 0, 0, 0]
    assert story.cells()["b=50%25%2B 11-01 12"] == [0, 2, 0, 0, 0, 0, 0]
    assert story.oracle.overflowed == 2


def test_responses_of_more_than_four_hundred_days_ago_are_not_counted() -> None:
    story = Story()
    assert story.say("r1", 7, -400).outcome == "accepted"
    assert story.say("r2", 7, -400, at_ms=NOW_MS + 1).outcome == "accepted"
    assert story.cells() == {"all 09-27 12": [0, 1, 0, 0, 0, 0, 0]}


def test_the_order_of_reasons() -> None:
    def reason(key: bytes | None, value: bytes) -> str:
        with pytest.raises(DeadLetter) as caught:
            read_response(key, value, NOW_MS)
        return caught.value.reason

    future = json.dumps(response("r", 7, NOW_MS) | {"responded_at": "2026-11-01T12:05:00.000001Z"}).encode()
    assert reason(None, b"\xff" * 65_537) == "too_large"
    assert reason(None, b"\xff" * 65_536) == "invalid_json"
    assert reason(None, b'{"score": 11}') == "invalid_response"
    assert reason(b"bob", future) == "key_mismatch"
    assert reason(b"ann", future) == "from_future"
    assert read_response(b"ann", future.replace(b"000001Z", b"0000009Z"), NOW_MS).score == 7


@pytest.mark.parametrize("value", corpus_fields.INVALID_JSON, ids=lambda value: repr(value[:30]))
def test_what_is_not_json(value: bytes) -> None:
    with pytest.raises(DeadLetter, match="invalid_json"):
        read_json(value)


@pytest.mark.parametrize("value", corpus_fields.NOT_OBJECTS)
def test_what_is_json_but_no_response(value: bytes) -> None:
    with pytest.raises(DeadLetter, match="invalid_response"):
        read_response(b"ann", value, NOW_MS)


@pytest.mark.parametrize(("field", "value"), corpus_fields.INVALID_FIELDS)
def test_what_breaks_a_field(field: str, value: Any) -> None:
    document = response("r", 7, NOW_MS) | {field: value}
    if value is corpus_fields.ABSENT:
        del document[field]
    with pytest.raises(DeadLetter) as caught:
        read_response(b"ann", json.dumps(document).encode(), NOW_MS)
    assert (caught.value.reason, caught.value.field) == ("invalid_response", field)


@pytest.mark.parametrize("manner", range(9))
def test_unusual_manners_of_writing_change_nothing(manner: int) -> None:
    document = response("r", 7, NOW_MS)
    expected = read_response(b"ann", json.dumps(document).encode(), NOW_MS)
    assert read_response(b"ann", corpus_fields.decorated(document, manner), NOW_MS) == expected


def test_times() -> None:
    noon = 1_793_534_400_000_000
    assert read_time("2026-11-01T12:00:00Z") == noon
    assert read_time("2026-11-01t12:00:00.1234569z") == noon + 123_456
    assert read_time("2026-11-01T13:30:00.5+01:30") == noon + 500_000
    assert read_time("2026-11-01T00:00:00-12:00") == noon
    assert read_time("1969-12-31T23:59:59.999999Z") == -1
    assert read_time("0001-01-01T00:00:00-00:00") == -62_135_596_800_000_000


def test_partitions_are_those_of_the_java_client() -> None:
    java = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "abc": 479470107}
    assert {text: murmur2(text.encode()) for text in java} == {text: value % 2**32 for text, value in java.items()}
    assert partition_of(b"21", 1000) == (-973932308 & 0x7FFFFFFF) % 1000


def test_score_rows() -> None:
    row = score_row(10, 20, 30, 40, 4, 18, 25)
    assert (row["responses"], row["passives"], row["nps"], row["passive_share"]) == (100, 50, 30.0, 0.5)
    assert row["nps_low"] == pytest.approx(16.6828, abs=1e-4)
    assert row["nps_high"] == pytest.approx(41.5696, abs=1e-4)
    assert (row["csat_mean"], row["csat_responses"], row["small_sample"]) == (4.5, 4, False)
    nothing = score_row(0, 0, 0, 0, 0, 0, 0)
    assert {name for name, value in nothing.items() if value is None} == {
        *("nps", "nps_low", "nps_high", "passive_share", "csat_mean", "answered_share")
    }
    assert score_row(0, 0, 0, 3, 0, 0, 0)["nps_high"] == 100
    assert score_row(3, 0, 0, 0, 0, 0, 0)["nps_low"] == -100


def test_a_window_is_this_clock_hour_and_those_before() -> None:
    counts = {
        Row("s", "all", "2026-11-01", 12): [0, 1, 0, 0, 0, 0, 0],
        Row("s", "all", "2026-10-31", 13): [1] + [0] * 6,
    }
    counts |= {
        Row("s", "all", "2026-10-31", 12): [1, 0, 0, 0, 0, 0, 0],
        Row("s", "all", "2026-11-01", 13): [1] + [0] * 6,
    }
    for now_us in (NOW_MS * 1000, NOW_MS * 1000 + 3_599_999_999):
        row = score_rows(counts, now_us, {"1d": 24})["s", "all", "1d"]
        assert (row["sevens"], row["detractors"]) == (1, 1)


def test_a_day_is_dropped_once_all_of_it_is_too_old() -> None:
    counts = {Row("s", "all", "2025-09-27", 0): [1, 0, 0, 0, 0, 0, 0]}
    assert retained(counts, NOW_MS * 1000, 400) == counts
    assert retained(counts, NOW_MS * 1000 + 12 * 3_600_000_000, 400) == {}
