"""Lag of follow-ups, without Kafka: what waits, and what is not known to wait while the topic can't be read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from schemas.times import US_PER_DAY
from schemas.topics import Topics
from streams.engine import lag
from streams.engine.decider import DecidingConfig
from streams.engine.follow_ups import NOTHING_READ, FollowUpsRead
from streams.engine.inbox import Inbox
from streams.engine.lag import READ_MAX_AGE_S, FollowUpsLag, Lag, oldest_follow_up_ms, oldest_response_ms
from streams.rules.decisions import RulesConfig
from tests.simulation.disk import MemoryDisks
from tests.support.deciding import DecidedPartition, consumed
from tests.support.oracle_reading import Record

BEGAN_S = 1_800_000_000.0


class Clock:
    now_s = BEGAN_S

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lag, "time", clock)
    return clock


def test_nothing_waits_where_all_was_read_a_moment_ago(clock: Clock) -> None:
    of = FollowUpsLag()
    of.end_seen(7)
    clock.now_s += 60
    assert of.now(None, FollowUpsRead(7, 7, clock.now_s - 0.5), 7) == Lag(0, 0)
    assert of.now(None, FollowUpsRead(9, 9, clock.now_s - 0.5), 7) == Lag(0, 0), "two marks of transactions"


def test_what_waits_is_as_old_as_its_oldest(clock: Clock) -> None:
    of = FollowUpsLag()
    clock.now_s += 60
    oldest_ms = int(BEGAN_S - 3600) * 1000
    assert of.now(oldest_ms, FollowUpsRead(9, 12, clock.now_s), 7) == Lag(5, 3660)


def test_what_was_not_fetched_has_waited_since_all_was_read_last(clock: Clock) -> None:
    """The last one that was committed may be of last week."""
    of = FollowUpsLag()
    clock.now_s += 60
    assert of.now(None, FollowUpsRead(7, 12, clock.now_s - 2), 7) == Lag(5, 2)
    assert of.now(None, FollowUpsRead(9, 12, clock.now_s - 2), 7) == Lag(3, 2), "behind two marks"


def test_a_topic_that_cannot_be_read_does_not_look_like_one_that_is_silent(clock: Clock) -> None:
    of = FollowUpsLag()
    read = FollowUpsRead(7, 7, BEGAN_S)
    clock.now_s += READ_MAX_AGE_S
    assert of.now(None, read, 7) == Lag(0, 0)
    clock.now_s += 600
    assert of.now(None, read, 7) == Lag(0, READ_MAX_AGE_S + 600)
    of.end_seen(10)  # somebody else can ask for it
    assert of.now(None, read, 7) == Lag(3, READ_MAX_AGE_S + 600)


def test_nor_does_one_that_could_not_be_read_from_the_beginning(clock: Clock) -> None:
    of = FollowUpsLag()
    of.end_seen(10)
    clock.now_s += 600
    assert of.now(None, NOTHING_READ, 4) == Lag(6, 600)
    assert of.now(None, FollowUpsRead(4, 0, None), 4) == Lag(6, 600)


def test_a_rebalance_does_not_make_it_young_nor_old(clock: Clock) -> None:
    of = FollowUpsLag()
    clock.now_s += 600
    of.set_back(None, FollowUpsRead(7, 7, clock.now_s - 1))
    of.set_back(None, NOTHING_READ)  # paused, then closed
    assert of.now(None, FollowUpsRead(7, 0, None), 7) == Lag(0, 0)
    clock.now_s += 60
    assert of.now(None, FollowUpsRead(7, 0, None), 7) == Lag(0, 61)


def test_what_is_given_up_uncommitted_goes_on_waiting(clock: Clock) -> None:
    of = FollowUpsLag()
    clock.now_s += 600
    of.set_back(int(BEGAN_S) * 1000, FollowUpsRead(9, 9, clock.now_s))
    assert of.now(None, FollowUpsRead(7, 9, None), 7) == Lag(2, 600)


def test_of_one_ahead_of_our_clock_the_age_is_nothing(clock: Clock) -> None:
    assert FollowUpsLag().now(int(BEGAN_S + 60) * 1000, FollowUpsRead(8, 8, BEGAN_S), 7) == Lag(1, 0)


def test_the_oldest_is_being_committed_or_decided_or_waits_in_the_inbox() -> None:
    topics = Topics()
    rules = RulesConfig(30 * US_PER_DAY, 30 * US_PER_DAY, 400 * US_PER_DAY, frozenset())
    config = DecidingConfig(topics, 1, rules, 10, (), "/nps")
    decided = DecidedPartition(0, config, MemoryDisks(random.Random(0)).open(Path("partition-0")))
    log = [Record(0, offset, b"c", b"{}", 1_000 + offset, ()) for offset in range(6)]
    inbox = Inbox()

    def oldest() -> int | None:
        return oldest_follow_up_ms(decided.decider, inbox)

    assert oldest() is None
    inbox.put([consumed(record, topics.follow_ups) for record in log[4:]])
    assert oldest() == 1_004
    decided.follow_up(log, 2)
    assert oldest() == 1_000
    decided.begin_commit()
    decided.follow_up(log, 1)
    decided.follow_up(log, 1)
    assert oldest() == 1_000
    assert oldest_response_ms(decided.decider, Inbox()) is None, "responses are another input"
    decided.end_commit()
    assert oldest() == 1_002
    decided.begin_commit()
    decided.end_commit()
    assert oldest() == 1_004
