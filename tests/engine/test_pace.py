"""How far apart the commits of a partition are."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streams.engine import pace
from streams.engine.inbox import Inbox
from streams.engine.pace import CommitPace, CpuShare, oldest_undecided_ms
from streams.engine.records import Record
from streams.engine.unit import Unit


class Clock:
    """In place of `time`, for its three clocks; the process uses the same share of a core all the time."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0
        self.cpu_share = 1.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s

    def process_time(self) -> float:
        return self.now_s * self.cpu_share


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    new = SimpleNamespace(monotonic=clock.monotonic, time=clock.time, process_time=clock.process_time)
    monkeypatch.setattr(pace, "time", new)
    return clock


def busy(clock: Clock, share: float = 1.0) -> CpuShare:
    """Of a worker that has used this share of a core for the last second."""
    clock.cpu_share = share
    cpu = CpuShare()
    clock.now_s += 1
    return cpu


@pytest.mark.parametrize(
    ("behind_ms", "apart_ms"),
    [(None, 100), (0, 100), (999, 100), (1_000, 100), (1_500, 150), (5_000, 500), (60_000, 2_000)],
)
def test_who_is_behind_commits_less_often(clock: Clock, behind_ms: int | None, apart_ms: float) -> None:
    kept = CommitPace(100, busy(clock))
    kept.began()
    clock.now_s += 0.03
    oldest_ms = None if behind_ms is None else round(clock.now_s * 1000) - behind_ms
    assert kept.due_in_s(oldest_ms) == pytest.approx((apart_ms - 30) / 1000, abs=1e-5)


def test_a_longer_setting_is_kept(clock: Clock) -> None:
    kept = CommitPace(5_000, busy(clock))
    kept.began()
    assert kept.due_in_s(round(clock.now_s * 1000) - 60_000) == pytest.approx(5)


@pytest.mark.parametrize(("share", "apart_ms"), [(0.0, 50), (0.49, 50), (0.51, 100), (1.9, 100)])
def test_who_has_little_to_do_commits_sooner(clock: Clock, share: float, apart_ms: float) -> None:
    kept = CommitPace(100, busy(clock, share))
    kept.began()
    assert kept.due_in_s(None) == pytest.approx(apart_ms / 1000, abs=1e-5)


def test_it_is_looked_at_anew_after_a_second(clock: Clock) -> None:
    cpu = busy(clock, 0.3)
    assert cpu.now() == pytest.approx(0.3)
    used_s = clock.process_time()
    clock.now_s += 0.9
    clock.cpu_share = used_s / clock.now_s  # nothing more
    assert cpu.now() == pytest.approx(0.3)
    clock.now_s += 0.1
    clock.cpu_share = used_s / clock.now_s
    assert cpu.now() == pytest.approx(0)


def test_who_is_behind_waits_also_where_there_is_little_to_do(clock: Clock) -> None:
    kept = CommitPace(100, busy(clock, 0.1))
    kept.began()
    assert kept.due_in_s(round(clock.now_s * 1000) - 5_000) == pytest.approx(0.5, abs=1e-5)


def test_the_first_commit_is_due_at_once(clock: Clock) -> None:
    assert CommitPace(100, busy(clock)).due_in_s(None) <= 0


def waiting(*times_ms: int) -> Inbox:
    inbox = Inbox()
    if times_ms:
        inbox.put([Record("t", 0, offset, at_ms, b"k", b"{}", ()) for offset, at_ms in enumerate(times_ms)])
    return inbox


@pytest.mark.parametrize(
    ("decided", "responses", "follow_ups", "oldest_ms"),
    [
        (0, (), (), None),
        (0, (20, 30), (10,), 20),
        (5, (20, 30), (10,), 20),
        (0, (), (10, 40), 10),
        (5, (), (10, 40), None),
    ],
)
def test_follow_ups_that_are_behind_make_larger_units_but_no_response_waits_for_them(
    decided: int, responses: tuple[int, ...], follow_ups: tuple[int, ...], oldest_ms: int | None
) -> None:
    unit = Unit(0, 0)
    unit.report.records = decided
    assert oldest_undecided_ms(unit, waiting(*responses), waiting(*follow_ups)) == oldest_ms
