"""How far apart the commits of a partition are."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streams.engine import pace
from streams.engine.pace import CommitPace


class Clock:
    """In place of `time`, for both of its clocks."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=clock.monotonic, time=clock.time))
    return clock


@pytest.mark.parametrize(
    ("behind_ms", "apart_ms"),
    [(None, 100), (0, 100), (999, 100), (1_000, 100), (1_500, 150), (5_000, 500), (60_000, 2_000)],
)
def test_who_is_behind_commits_less_often(clock: Clock, behind_ms: int | None, apart_ms: float) -> None:
    kept = CommitPace(100)
    kept.began()
    clock.now_s += 0.03
    oldest_ms = None if behind_ms is None else round(clock.now_s * 1000) - behind_ms
    assert kept.due_in_s(oldest_ms) == pytest.approx((apart_ms - 30) / 1000, abs=1e-5)


def test_a_longer_setting_is_kept(clock: Clock) -> None:
    kept = CommitPace(5_000)
    kept.began()
    assert kept.due_in_s(round(clock.now_s * 1000) - 60_000) == pytest.approx(5)


def test_the_first_commit_is_due_at_once(clock: Clock) -> None:
    assert CommitPace(100).due_in_s(None) <= 0
