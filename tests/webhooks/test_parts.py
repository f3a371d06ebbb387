"""What the delivery is made of: filters, the order of several topics, lanes, waits, progress, samples."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import (
    EVENT_MODELS,
    EVENT_TYPES,
    FOLLOW_UP_OVERDUE,
    PASSIVE_DETECTED,
    PASSIVE_WITHDRAWN,
    SCORE_CHANGED,
)
from schemas.webhooks import NoEvent, body, envelope
from streams.webhooks.filters import Filter
from streams.webhooks.lanes import Lanes
from streams.webhooks.merging import Merge
from streams.webhooks.progress import MAX_NOTE_BYTES, Commit, Progress
from streams.webhooks.retries import Retries
from streams.webhooks.sample import sample
from streams.webhooks.signing import Secret


def data(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


# --- filters ---


@pytest.mark.parametrize(
    ("wanted", "event_type", "fields", "let_through"),
    [
        (Filter.of(None, None, {}), PASSIVE_DETECTED, {}, True),
        (Filter.of([SCORE_CHANGED], None, {}), PASSIVE_DETECTED, {}, False),
        (Filter.of([SCORE_CHANGED], None, {}), SCORE_CHANGED, {}, True),
        (Filter.of(None, ["a", "b"], {}), SCORE_CHANGED, {"survey_id": "b"}, True),
        (Filter.of(None, ["a"], {}), SCORE_CHANGED, {"survey_id": "b"}, False),
        (Filter.of(None, None, {"country": ["NO"]}), SCORE_CHANGED, {"segment_country": "NO"}, True),
        (Filter.of(None, None, {"country": ["NO"]}), SCORE_CHANGED, {"segment_country": "SE"}, False),
        # Without a country nobody can tell: whoever got the detection may have to close its task.
        (Filter.of(None, None, {"country": ["NO"]}), SCORE_CHANGED, {}, True),
        (Filter.of(None, None, {"country": ["NO"]}), PASSIVE_DETECTED, {}, False),
        (Filter.of(None, None, {"country": ["NO"]}), FOLLOW_UP_OVERDUE, {}, False),
        (
            Filter.of(None, None, {"country": ["NO"], "plan": ["pro"]}),
            SCORE_CHANGED,
            {"segment_plan": "pro"},
            True,
        ),
        (
            Filter.of(None, None, {"country": ["NO"], "plan": ["pro"]}),
            SCORE_CHANGED,
            {"segment_country": "NO", "segment_plan": "free"},
            False,
        ),
        # A withdrawal has no segments: whoever got the detection must hear that it no longer stands.
        (Filter.of(None, None, {"country": ["NO"]}), PASSIVE_WITHDRAWN, {"survey_id": "a"}, True),
        (Filter.of(None, ["b"], {"country": ["NO"]}), PASSIVE_WITHDRAWN, {"survey_id": "a"}, False),
    ],
)
def test_filters(wanted: Filter, event_type: str, fields: dict[str, Any], let_through: bool) -> None:
    assert wanted.wants(event_type, data(**fields)) is let_through


@pytest.mark.parametrize(
    "value",
    [
        b"{",
        b"null",
        b'{"survey_id":[]}',
        b'{"survey_id":5}',
        b'{"survey_id":"a","segment_country":{}}',
        b'{"survey_id":"\xff"}',
        b'{"survey_id":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"survey_id":' + b"1" * 5_000 + b"}",
    ],
    ids=lambda value: value[:40],
)
def test_what_cannot_be_read_is_let_through(value: bytes) -> None:
    assert Filter.of(None, ["a"], {"country": ["NO"]}).wants(SCORE_CHANGED, value)


# --- webhooks of records ---

HEADERS = [("ce_id", b"e-1"), ("ce_type", PASSIVE_DETECTED.encode()), ("ce_time", b"2026-01-01T00:00:00Z")]


def test_a_webhook_of_an_event() -> None:
    made = envelope(HEADERS, b'{"a":"\xc3\xb8 \\u0000"}')
    assert (made.id, made.type) == ("e-1", PASSIVE_DETECTED)
    assert (
        made.body
        == b'{"type":"nps.passive-detected.v1","timestamp":"2026-01-01T00:00:00Z","data":{"a":"\xc3\xb8 \\u0000"}}'
    )
    assert json.loads(body('a"b', "c", b"{}")) == {"type": 'a"b', "timestamp": "c", "data": {}}


@pytest.mark.parametrize(
    ("headers", "value", "said"),
    [
        (HEADERS, None, "no value"),
        (HEADERS[1:], b"{}", "no header ce_id"),
        (HEADERS[:2], b"{}", "no header ce_time"),
        ([*HEADERS[1:], ("ce_id", b"\xff")], b"{}", "not UTF-8"),
        ([*HEADERS[1:], ("ce_id", b"a\r\nx: y")], b"{}", "cannot be a webhook-id"),
        ([*HEADERS[1:], ("ce_id", b"")], b"{}", "cannot be a webhook-id"),
    ],
)
def test_a_record_that_is_no_event(headers: list[tuple[str, bytes]], value: bytes | None, said: str) -> None:
    with pytest.raises(NoEvent, match=said):
        envelope(headers, value)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_sample_is_an_event(event_type: str) -> None:
    made = sample(event_type)
    parsed = json.loads(made.body)
    event = EVENT_MODELS[event_type].model_validate_json(json.dumps(parsed["data"]))
    assert (parsed["type"], event.event_id) == (event_type, made.id)
    assert sample(event_type).id != made.id


# --- secrets ---


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "A" * 200])
def test_no_secret(text: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        Secret(text)


def test_a_secret_without_padding() -> None:
    assert Secret("whsec_" + "QUFB" * 9 + "QQ==").sign(b"x") == Secret("whsec_" + "QUFB" * 9 + "QQ").sign(b"x")


# --- the order of several topics ---


def record(
    topic: str, offset: int, time_ms: int, answered: str = "", sequence: int | None = None, kind: str = SCORE_CHANGED
) -> ConsumerRecord:
    headers = [("ce_time", answered.encode()), ("ce_type", kind.encode())]
    if sequence is not None:
        headers.append(("ce_sequence", b"%019d" % sequence))
    return ConsumerRecord(topic, 0, offset, time_ms, 1, b"k", b"{}", 0, 1, 2, headers)


def taken(merge: Merge, at_end: Iterable[str]) -> list[tuple[str, int]]:
    ended = set(at_end)
    out = []
    while (each := merge.take(lambda topic, _: topic in ended)) is not None:
        out.append((each.topic, each.offset))
    return out


def test_the_earliest_goes_first_and_none_before_all_are_known() -> None:
    merge = Merge(["a", "b", "c"])
    merge.add("a", [record("a", 0, 10), record("a", 1, 30)], {})
    assert taken(merge, ["c"]) == [], "b may still bring an earlier one"
    merge.add("b", [record("b", 0, 5), record("b", 1, 20)], {})
    assert taken(merge, ["c"]) == [("b", 0), ("a", 0), ("b", 1)]
    assert taken(merge, ["b", "c"]) == [("a", 1)]


def test_what_is_held_of_a_topic_made_anew_is_forgotten() -> None:
    merge = Merge(["a", "b"])
    merge.add("a", [record("a", 7, 10)], {})
    merge.add("b", [record("b", 3, 20)], {})
    merge.forget("a")
    merge.add("a", [record("a", 0, 5)], {})
    assert taken(merge, ["a", "b"]) == [("a", 0), ("b", 3)]


def test_it_is_known_when_the_broker_has_answered_since() -> None:
    merge = Merge(["a", "b"])
    merge.add("a", [record("a", 0, 10)], {"b": 1})
    merge.add("a", [record("a", 1, 10)], {"b": 2})
    last_answer = 1
    assert merge.take(lambda topic, unheard: unheard[topic] != last_answer) is None
    last_answer = 2
    first = merge.take(lambda topic, unheard: unheard[topic] != last_answer)
    assert first is not None
    assert first.offset == 0
    assert merge.take(lambda topic, unheard: unheard[topic] != last_answer) is None


def test_what_was_written_at_once_goes_by_when_the_answer_was_given() -> None:
    merge = Merge(["a", "b"])
    written = [record("a", 0, 10, "2026-01-01T00:00:00.500000Z"), record("a", 1, 10, "2025-01-01T00:00:00Z")]
    merge.add("a", written, {})
    merge.add("b", [record("b", 0, 10, "2026-01-01T00:00:00Z")], {})
    assert taken(merge, ["a", "b"]) == [("b", 0), ("a", 0), ("a", 1)], "but a topic keeps its own order"


def test_what_was_decided_first_goes_first_whenever_it_was_written() -> None:
    merge = Merge(["late", "changed", "detected"])
    merge.add("late", [record("late", 0, 1, sequence=7, kind=FOLLOW_UP_OVERDUE)], {})
    merge.add("changed", [record("changed", 0, 2, sequence=6), record("changed", 1, 2, sequence=8)], {})
    merge.add("detected", [record("detected", 0, 3, sequence=5), record("detected", 1, 3, sequence=7)], {})
    order = [("detected", 0), ("changed", 0), ("detected", 1), ("late", 0), ("changed", 1)]
    assert taken(merge, ["late", "changed", "detected"]) == order, "overdue comes after the response that was read last"


def test_an_input_that_was_made_anew_counts_from_0() -> None:
    merge = Merge(["a", "b"])
    merge.add("a", [record("a", 0, 1_000, sequence=900), record("a", 1, 200_000, sequence=3)], {})
    merge.add("b", [record("b", 0, 200_001, sequence=2)], {})
    assert taken(merge, ["a", "b"]) == [("a", 0), ("b", 0), ("a", 1)]


def test_a_sequence_that_no_release_wrote_is_none() -> None:
    merge = Merge(["a", "b"])
    endless = record("a", 0, 20)
    endless.headers.append(("ce_sequence", b"1" * 5_000))
    merge.add("a", [endless], {})
    merge.add("b", [record("b", 0, 10, sequence=5)], {})
    assert taken(merge, ["a", "b"]) == [("b", 0), ("a", 0)], "in the order of time"


# --- lanes ---


async def until(lanes: Lanes[Any], pending: int) -> None:
    while lanes.pending > pending:
        lanes.changed.clear()
        await lanes.changed.wait()


async def test_a_lane_keeps_its_order_and_waits_for_no_other() -> None:
    done: list[tuple[str, int]] = []
    gate = asyncio.Event()

    async def work(item: tuple[str, int]) -> None:
        if item[0] == "slow":
            await gate.wait()
        await asyncio.sleep(random.random() / 200)
        done.append(item)

    lanes: Lanes[tuple[str, int]] = Lanes(work, pytest.fail)
    for number in range(5):
        for name in ("slow", "x", "y"):
            lanes.put(name, (name, number))
    assert lanes.pending == 15
    async with asyncio.timeout(10):
        await until(lanes, 5)
        assert {name for name, _ in done} == {"x", "y"}
        gate.set()
        await until(lanes, 0)
    for name in ("slow", "x", "y"):
        assert [number for each, number in done if each == name] == [0, 1, 2, 3, 4]


async def test_cleared_lanes_begin_anew() -> None:
    done: list[int] = []

    async def work(item: int) -> None:
        if item < 0:
            await asyncio.Event().wait()
        done.append(item)

    lanes: Lanes[int] = Lanes(work, pytest.fail)
    lanes.put("x", -1)
    lanes.put("x", 1)
    await asyncio.sleep(0)
    await lanes.clear()
    assert lanes.pending == 0
    lanes.put("x", 2)
    await asyncio.sleep(0.01)
    assert done == [2]


async def test_what_fails_is_told() -> None:
    told: list[BaseException] = []

    async def work(item: int) -> None:
        raise RuntimeError

    Lanes(work, told.append).put("x", 1)
    await asyncio.sleep(0.01)
    assert [type(error) for error in told] == [RuntimeError]


# --- waits ---


def test_waits_double_from_the_first_to_the_longest() -> None:
    retries = Retries(1.0, 300.0, 86_400.0)
    for failures in (*range(1, 20), 10_000):
        waits = [retries.wait_s(failures) for _ in range(200)]
        highest = min(2.0 ** min(failures, 30), 300.0)
        assert all(max(highest / 2, 1.0) <= wait <= highest for wait in waits)
        assert len(set(waits)) > 100, "not all at once"


def test_a_longest_wait_below_the_first() -> None:
    assert Retries(5.0, 1.0, 60.0).wait_s(3) == 5.0


# --- progress ---


@settings(deadline=None)
@given(
    st.lists(st.booleans(), max_size=60),
    st.lists(st.integers(0, 59), max_size=80),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
def test_nothing_is_forgotten_over_restarts(
    exists: list[bool], done: list[int], restart_every: int, chance: random.Random
) -> None:
    """Records are read in order and done in any; a restart goes on behind the last commit."""
    offsets = [offset for offset, there in enumerate(exists, start=100) if there]
    end = 100 + len(exists)
    finished: set[int] = set()
    again = 0
    progress = Progress(Commit(100, ""))
    held: list[int] = []
    position = 100
    for step, pick in enumerate(done):
        upto = chance.randint(position, end)
        for offset in offsets:
            if position <= offset < upto:
                if progress.is_done(offset):
                    assert offset in finished, "only what was done is passed over"
                else:
                    progress.begin(offset)
                    held.append(offset)
        position = upto
        progress.passed(position)
        if held:
            finished.add(offset := held.pop(pick % len(held)))
            progress.done(offset)
        commit = progress.commit()
        assert commit.offset <= min((each for each in offsets if each not in finished), default=end)
        if step % restart_every == 0:
            progress = Progress(commit)
            position, held = commit.offset, []
            again = sum(not progress.is_done(each) for each in offsets if each in finished and each >= position)
            assert again == 0, "with room in the note nothing is done twice"


def test_a_note_that_would_be_too_long_ends_earlier() -> None:
    progress = Progress(Commit(0, ""))
    for offset in range(20_000):
        progress.begin(offset)
        if offset % 3:
            progress.done(offset)
    commit = progress.commit()
    assert commit.offset == 0
    assert 2_000 < len(commit.note) <= MAX_NOTE_BYTES + 100
    resumed = Progress(commit)
    passed_over = [offset for offset in range(20_000) if resumed.is_done(offset)]
    assert all(offset % 3 for offset in passed_over)
    assert len(passed_over) > 1_000


def test_what_retention_has_deleted_is_not_waited_for() -> None:
    progress = Progress(Commit(0, ""))
    for offset in range(5):
        progress.begin(offset)
    progress.done(1)
    resumed = Progress(progress.commit())
    assert [resumed.left_before(offset) for offset in (0, 1, 2, 3, 5, 9)] == [0, 1, 1, 2, 4, 8]
    resumed.begin(3)
    assert resumed.commit().offset == 3
    assert resumed.left_before(5) == 1, "what was read is not left"
    resumed.done(3)
    resumed.passed(10)
    assert resumed.commit() == Commit(10, "")


@pytest.mark.parametrize("note", ["x", "[]", '{"seen":1}', '{"seen":"1","open":[]}'])
def test_a_note_of_somebody_else(note: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        Progress(Commit(5, note))
