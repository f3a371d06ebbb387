"""Of two inputs that wait, the earlier record is decided first, and neither waits for ever."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace

import pytest

from streams.engine import input_order
from streams.engine.follow_ups import FollowUpsRead
from streams.engine.inbox import Inbox, Slice
from streams.engine.input_order import (
    FOLLOW_UPS_AWAITED_MAX_S,
    RESPONSES_AHEAD_MAX_MS,
    RESPONSES_AWAITED_MAX_S,
    InputOrder,
)
from streams.engine.records import Record

AHEAD_MS = RESPONSES_AHEAD_MAX_MS


class Scene:
    """A partition's inboxes, and what the consumers say of it."""

    def __init__(self) -> None:
        self.responses, self.follow_ups = Inbox(), Inbox()
        self.nothing_left_at_s = math.inf
        self.read_to = self.follow_ups_at = self.follow_ups_end = self.fetched = 0
        self.order = InputOrder(0, self.responses, self.follow_ups, self)  # type: ignore[arg-type]
        self.offsets = {id(self.responses): 0, id(self.follow_ups): 0}

    def put(self, inbox: Inbox, *times_ms: int) -> None:
        first = self.offsets[id(inbox)]
        if not times_ms:
            return
        inbox.put([Record("t", 0, first + at, time_ms, b"k", b"{}", ()) for at, time_ms in enumerate(times_ms)])
        self.offsets[id(inbox)] += len(times_ms)

    def follow_ups_read(self, _: int) -> FollowUpsRead:
        return FollowUpsRead(self.follow_ups_at, 0, None, self.follow_ups_end)

    def fetched_to(self, _: int) -> int:
        return self.fetched

    def read_to_end_at_s(self, _: int) -> float:
        return self.nothing_left_at_s

    async def position(self, _: int) -> int:
        return self.read_to


def times(taken: Slice | None) -> list[int] | None:
    return None if taken is None else [record.timestamp for record in taken.records]


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize(
    ("responses", "follow_ups", "first_responses", "first_follow_ups"),
    [
        ((10, 20), (), [10, 20], None),
        ((), (10, 20), None, [10, 20]),
        ((10,), (10,), [10], None),
        ((20,), (10, 19, 20), [20], None),
        ((10 + AHEAD_MS,), (10, 11), [10 + AHEAD_MS], None),
        ((11 + AHEAD_MS,), (10, 11), None, [10, 11]),
        ((10, 20 + AHEAD_MS, 21 + AHEAD_MS), (20,), [10, 20 + AHEAD_MS], None),
        ((21 + AHEAD_MS,), (20, 30 + AHEAD_MS), None, [20]),
        ((50, 10), (40,), [50, 10], None),
        ((60 + AHEAD_MS,), (10, 90 + AHEAD_MS, 20), None, [10]),
    ],
)
def test_the_earlier_record_goes_first(
    scene: Scene,
    responses: tuple[int, ...],
    follow_ups: tuple[int, ...],
    first_responses: list[int] | None,
    first_follow_ups: list[int] | None,
) -> None:
    scene.put(scene.responses, *responses)
    scene.put(scene.follow_ups, *follow_ups)
    before = len(responses)
    assert times(scene.order.take_follow_ups(0)) == first_follow_ups
    scene = Scene()
    scene.put(scene.responses, *responses)
    scene.put(scene.follow_ups, *follow_ups)
    assert times(scene.order.take_responses()) == first_responses
    left = 0
    while (some := scene.responses.take()) is not None:
        left += len(some.records)
    assert left + len(first_responses or ()) == before, "what was not taken stays"


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_times_are_one_of_both_can_go_on(scene: Scene, seed: int) -> None:
    rng = random.Random(seed)
    for inbox in (scene.responses, scene.follow_ups):
        scene.put(inbox, *(rng.randrange(5) * 700 for _ in range(40)))
    stream_time_ms, taken = 0, 0
    while scene.responses or scene.follow_ups:
        responses = times(scene.order.take_responses()) or []
        stream_time_ms = max([stream_time_ms, *responses])
        follow_ups = times(scene.order.take_follow_ups(stream_time_ms)) or []
        assert responses or follow_ups
        taken += len(responses) + len(follow_ups)
    assert taken == 80


async def test_follow_ups_wait_for_responses_that_were_there_at_the_opening(scene: Scene) -> None:
    scene.order.begin(responses_end=3, follow_ups_end=0)
    scene.put(scene.follow_ups, 10, 40, 50)
    assert times(scene.order.take_follow_ups(stream_time_ms=20)) == [10], "what is not later than those decided"
    scene.put(scene.responses, 30, 45)
    assert times(scene.order.take_responses()) == [30, 45]
    assert times(scene.order.take_follow_ups(stream_time_ms=45)) == [40]
    assert scene.order.take_follow_ups(stream_time_ms=45) is None

    scene.fetched = 3  # on its way to the inbox
    scene.read_to = 3
    await scene.order.look()
    assert scene.order.take_follow_ups(stream_time_ms=45) is None
    scene.put(scene.responses, 48)
    assert times(scene.order.take_responses()) == [48]
    assert times(scene.order.take_follow_ups(stream_time_ms=48)) == [50], "nothing more is awaited"


async def test_marks_of_transactions_at_the_end_are_not_waited_for(scene: Scene) -> None:
    scene.order.begin(responses_end=3, follow_ups_end=0)
    scene.put(scene.follow_ups, 50)
    scene.read_to = 2
    await scene.order.look()
    assert scene.order.take_follow_ups(stream_time_ms=0) is None
    scene.read_to = 3
    await scene.order.look()
    assert times(scene.order.take_follow_ups(stream_time_ms=0)) == [50]


def test_responses_wait_for_follow_ups_that_were_there_at_the_opening_but_not_for_long(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(input_order, "time", SimpleNamespace(monotonic=lambda: now_s, time=lambda: now_s))
    for arrive in (True, False):
        scene.order.begin(responses_end=0, follow_ups_end=7)
        scene.follow_ups_at = 6
        scene.put(scene.responses, 10)
        assert scene.order.take_responses() is None
        if arrive:
            scene.follow_ups_at = 7
        else:
            now_s += FOLLOW_UPS_AWAITED_MAX_S + 0.1
        assert times(scene.order.take_responses()) == [10]
        scene.put(scene.responses, 20)
        scene.follow_ups_at = 6
        assert times(scene.order.take_responses()) == [20], "once for each opening"


def test_responses_wait_for_follow_ups_that_were_seen_to_be_there_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(input_order, "time", SimpleNamespace(monotonic=lambda: now_s, time=lambda: now_s))
    scene.order.begin(responses_end=0, follow_ups_end=0)
    now_s += 3600
    scene.put(scene.responses, 10_000)
    scene.follow_ups_end = 2  # both are behind it: the next fetch brings them
    assert scene.order.take_responses() is None
    scene.put(scene.follow_ups, 20)
    scene.follow_ups_at = 1
    assert scene.order.take_responses() is None, "it is earlier"
    assert times(scene.order.take_follow_ups(stream_time_ms=0)) == [20]
    now_s += FOLLOW_UPS_AWAITED_MAX_S
    assert scene.order.take_responses() is None, "the other is waited for anew …"
    now_s += FOLLOW_UPS_AWAITED_MAX_S + 0.1
    assert times(scene.order.take_responses()) == [10_000], "… and not for ever"
    scene.put(scene.responses, 11_000)
    assert times(scene.order.take_responses()) == [11_000]
    scene.follow_ups_at = 2  # a mark of a transaction
    scene.put(scene.responses, 12_000)
    assert times(scene.order.take_responses()) == [12_000]


@pytest.mark.parametrize("said", [True, False])
def test_old_follow_ups_wait_until_the_broker_has_said_that_no_responses_are_left(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, *, said: bool
) -> None:
    now_s = 100.0
    monkeypatch.setattr(input_order, "time", SimpleNamespace(monotonic=lambda: now_s, time=lambda: now_s))
    scene.nothing_left_at_s = 99.9  # before they came
    scene.put(scene.follow_ups, 10_000, 20_000)
    assert times(scene.order.take_follow_ups(stream_time_ms=15_000)) == [10_000], "what is no later than those decided"
    assert scene.order.take_follow_ups(stream_time_ms=15_000) is None
    now_s += 0.1
    if said:
        scene.nothing_left_at_s = 100.05
        scene.fetched = 1
        assert scene.order.take_follow_ups(stream_time_ms=15_000) is None, "and one is on its way"
        scene.fetched = 0
    else:
        now_s += RESPONSES_AWAITED_MAX_S
    assert times(scene.order.take_follow_ups(stream_time_ms=15_000)) == [20_000]


def test_responses_that_come_meanwhile_go_first(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(input_order, "time", SimpleNamespace(monotonic=lambda: now_s, time=lambda: now_s))
    scene.nothing_left_at_s = 99.9
    scene.put(scene.follow_ups, 20_000)
    assert scene.order.take_follow_ups(stream_time_ms=0) is None
    scene.put(scene.responses, 10_000)
    assert scene.order.take_follow_ups(stream_time_ms=0) is None
    assert times(scene.order.take_responses()) == [10_000]
    scene.nothing_left_at_s = 100.0  # when that one was fetched, not since it was decided
    now_s += 0.1
    assert scene.order.take_follow_ups(stream_time_ms=10_000) is None
    scene.nothing_left_at_s = 100.2
    assert times(scene.order.take_follow_ups(stream_time_ms=10_000)) == [20_000]


def test_fresh_follow_ups_are_decided_as_they_arrive(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_order, "time", SimpleNamespace(monotonic=lambda: 0.0, time=lambda: 100.0))
    scene.nothing_left_at_s = 0
    scene.put(scene.follow_ups, 99_500)
    assert times(scene.order.take_follow_ups(stream_time_ms=0)) == [99_500]
