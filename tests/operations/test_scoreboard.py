"""The scoreboard against a count from scratch: whatever comes, in whatever order, at whatever time.

Invariant: a snapshot's numbers are those of the rows given before it was asked for, summed over the hours of each
window at that time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Iterable

import pytest

from schemas.keys import counts_key
from schemas.times import US_PER_HOUR
from streams.engine.formats import COUNTS
from streams.rules.windows import parse_windows
from streams.scoreboard.board import Row, Scoreboard, UnreadableCounts
from streams.scoreboard.snapshot import Snapshot
from streams.scoreboard.table import CountsTable
from tests.support.holding import longest_hold_s

DAY = 20_779
"""2026-11-22."""
NOON = (DAY * 24 + 12) * US_PER_HOUR
WINDOWS = parse_windows("1d,7d,30d,90d,5h", 400)


class Clock:
    def __init__(self, us: int = NOON) -> None:
        self.us = us

    def __call__(self) -> int:
        return self.us


class FakeFollower:
    """Gives what a test gives, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int | None]] = []
        self.current: set[int] = set()

    def follow(self, partition: int, next_offset: int | None) -> None:
        self.told.append(("follow", partition, next_offset))
        self.current.discard(partition)

    def leave(self, partition: int) -> None:
        self.told.append(("leave", partition, None))
        self.current.discard(partition)

    def is_current(self, partition: int) -> bool:
        return partition in self.current


def new_board(partitions: int = 1, clock: Clock | None = None, windows: str = "") -> tuple[Scoreboard, FakeFollower]:
    board = Scoreboard(parse_windows(windows, 400) if windows else WINDOWS, partitions, clock or Clock())
    follower = FakeFollower()
    board.attach(follower)
    return board, follower


def own(board: Scoreboard, partition: int, rows: Iterable[Row] = ()) -> None:
    board.partition_opening(partition)
    board.partition_rows(partition, list(rows))
    board.partition_ready(partition)


def row(segment: str, day: int, cells: dict[int, int] | None, survey: str = "s") -> Row:
    return counts_key(survey, segment, day), None if cells is None else COUNTS.encode(cells)


def promoters(snapshot: Snapshot) -> dict[tuple[str, str], int]:
    """(segment, window) → promoters, where there are responses."""
    return {(found.segment, found.window): found.promoters for found in snapshot.rows(snapshot.places())}


def cell(hour: int, counter: int = 3) -> int:
    return hour * 7 + counter


async def test_a_window_holds_the_hour_of_now_and_those_before_it() -> None:
    clock = Clock()
    board, _ = new_board(clock=clock, windows="2h,1d,2d")
    own(board, 0, [row("all", DAY, {cell(11): 1, cell(12): 10, cell(10): 100}), row("all", DAY - 1, {cell(12): 1_000})])
    assert promoters(await board.refresh()) == {("all", "2h"): 11, ("all", "1d"): 111, ("all", "2d"): 1_111}


async def test_windows_roll_forward_with_no_traffic() -> None:
    clock = Clock()
    board, _ = new_board(clock=clock, windows="2h,1d")
    own(board, 0, [row("all", DAY, {cell(12): 1})])
    assert promoters(await board.refresh()) == {("all", "2h"): 1, ("all", "1d"): 1}
    clock.us += 2 * US_PER_HOUR
    assert promoters(await board.refresh()) == {("all", "1d"): 1}
    clock.us += 22 * US_PER_HOUR
    assert promoters(await board.refresh()) == {}


async def test_a_response_ahead_of_the_clock_counts_when_its_hour_comes() -> None:
    clock = Clock(NOON + US_PER_HOUR - 1)
    board, _ = new_board(clock=clock, windows="1h")
    own(board, 0, [row("all", DAY, {cell(13): 1})])
    assert promoters(await board.refresh()) == {}
    clock.us += 1
    assert promoters(await board.refresh()) == {("all", "1h"): 1}


async def test_a_clock_that_goes_back_gives_what_it_gave_before() -> None:
    clock = Clock()
    board, _ = new_board(clock=clock, windows="1d,90d")
    own(board, 0, [row("all", DAY - age, {cell(12): 1}) for age in range(95)])
    before = promoters(await board.refresh())
    clock.us += 300 * 24 * US_PER_HOUR
    assert promoters(await board.refresh()) == {}
    clock.us = NOON
    assert promoters(await board.refresh()) == before == {("all", "1d"): 1, ("all", "90d"): 90}


async def test_a_row_of_a_far_future_day_pushes_nothing_out() -> None:
    board, _ = new_board(windows="1d")
    own(board, 0, [row("all", DAY + 4_000, {cell(12): 1})])
    await board.refresh()
    board.partition_rows(0, [row("all", DAY, {cell(12): 1})])
    assert promoters(await board.refresh()) == {("all", "1d"): 1}


async def test_the_latest_value_of_a_key_wins_and_a_null_drops_it() -> None:
    board, _ = new_board(windows="1d")
    own(board, 0, [row("all", DAY, {cell(12): 1}), row("all", DAY, {cell(12): 5})])
    assert promoters(await board.refresh()) == {("all", "1d"): 5}
    board.partition_rows(0, [row("all", DAY, {cell(12): 9}), row("all", DAY, None)])
    assert promoters(await board.refresh()) == {}
    board.partition_rows(0, [row("all", DAY, {cell(12): 2})])
    assert promoters(await board.refresh()) == {("all", "1d"): 2}


async def test_partitions_are_added_up_and_own_ones_are_told_apart() -> None:
    board, follower = new_board(2, windows="1d")
    own(board, 0, [row("all", DAY, {cell(12): 1})])
    board.followed_rows(1, [row("all", DAY, {cell(12): 10}), row("country=NO", DAY, {cell(12): 3})])
    assert not (await board.refresh()).complete
    follower.current.add(1)
    board.followed_to_end(1)
    snapshot = await board.refresh()
    assert snapshot.complete
    assert promoters(snapshot) == {("all", "1d"): 11, ("country=NO", "1d"): 3}
    assert snapshot.own[:, 0, 3].tolist() == [1, 0]
    assert snapshot.own_series.tolist() == [True, False]


async def test_a_lost_partition_goes_on_from_where_the_engine_left_it() -> None:
    board, follower = new_board(windows="1d")
    own(board, 0, [row("all", DAY, {cell(12): 1})])
    assert follower.told == [("follow", 0, None), ("leave", 0, None)]
    board.partition_closed(0, 42)
    assert follower.told[-1] == ("follow", 0, 42)
    snapshot = await board.refresh()
    assert (snapshot.complete, promoters(snapshot), snapshot.own_series.tolist()) == (
        False,
        {("all", "1d"): 1},
        [False],
    )
    board.followed_rows(0, [row("all", DAY, {cell(12): 2})])
    follower.current.add(0)
    board.followed_to_end(0)
    snapshot = await board.refresh()
    assert (snapshot.complete, promoters(snapshot)) == (True, {("all", "1d"): 2})


async def test_what_was_known_stays_visible_until_a_new_source_is_whole() -> None:
    board, follower = new_board(windows="1d")
    own(board, 0, [row("all", DAY, {cell(12): 7}), row("gone=1", DAY, {cell(12): 1})])
    board.partition_closed(0, None)
    board.followed_rows(0, [row("all", DAY, {cell(12): 1})])
    snapshot = await board.refresh()
    assert (snapshot.complete, promoters(snapshot)) == (False, {("all", "1d"): 7, ("gone=1", "1d"): 1})
    board.followed_rows(0, [row("all", DAY, {cell(12): 8})])
    follower.current.add(0)
    board.followed_to_end(0)
    snapshot = await board.refresh()
    assert (snapshot.complete, promoters(snapshot)) == (True, {("all", "1d"): 8})


async def test_a_partition_lost_before_it_was_ready_is_read_anew() -> None:
    board, follower = new_board()
    board.partition_opening(0)
    board.partition_rows(0, [row("all", DAY, {cell(12): 1})])
    board.partition_closed(0, 42)
    assert follower.told[-1] == ("follow", 0, None)
    assert promoters(await board.refresh()) == {}


async def test_a_young_snapshot_is_given_again_unless_a_partition_changed_hands() -> None:
    clock = Clock()
    board, _ = new_board(2, clock, "1d")
    own(board, 0, [row("all", DAY, {cell(12): 1})])
    first = await board.refresh(max_age_s=1)
    board.partition_rows(0, [row("all", DAY, {cell(12): 2})])
    clock.us += 900_000
    assert await board.refresh(max_age_s=1) is first
    clock.us += 100_000
    second = await board.refresh(max_age_s=1)
    assert promoters(second) == {("all", "1d"): 2}
    board.partition_closed(0, 5)
    assert not (await board.refresh(max_age_s=1)).own_series.any()


async def test_a_row_that_cannot_be_read_is_named_by_its_partition() -> None:
    for key, stored, why in (
        (counts_key("s", "all", DAY), b"\x09\x80", "newer release"),
        (counts_key("s", "all", DAY), b"\x01\xff", "can't be decoded"),
        (b'["s","all","yesterday!"]', COUNTS.encode({}), "YYYY-MM-DD"),
        (b'["s", "all","2026-11-22"]', COUNTS.encode({}), "the one way"),
        (b"x", COUNTS.encode({}), "end with its day"),
    ):
        board, _ = new_board(3)
        own(board, 2, [(key, stored)])
        with pytest.raises(UnreadableCounts, match=f"partition 2.*{why}"):
            await board.refresh()


async def test_exact_filters() -> None:
    board, _ = new_board(windows="1d,7d")
    own(board, 0, [row(segment, DAY, {cell(12): 1}, survey) for survey in "ab" for segment in ("all", "c=NO")])
    snapshot = await board.refresh()
    assert len(snapshot.places()) == 8
    assert snapshot.places("b") == [(2, 0), (2, 1), (3, 0), (3, 1)]
    assert snapshot.places("b", "c=NO", "7d") == [(3, 1)]
    assert snapshot.places("b", "c=N") == []


class Oracle:
    """Keeps every cell of every row, adds up from scratch."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[bytes, tuple[str, int, dict[int, int]]]] = defaultdict(dict)

    def put(self, partition: int, segment: str, day: int, cells: dict[int, int] | None) -> None:
        key = counts_key("s", segment, day)
        if cells is None:
            self.rows[partition].pop(key, None)
        else:
            self.rows[partition][key] = (segment, day, cells)

    def sums(self, now_us: int, partitions: Iterable[int]) -> dict[tuple[str, str], list[int]]:
        now = now_us // US_PER_HOUR
        found: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 7)
        for partition in partitions:
            for segment, day, cells in self.rows[partition].values():
                for at, amount in cells.items():
                    for window in WINDOWS:
                        if 0 <= now - (day * 24 + at // 7) < window.hours:
                            found[segment, window.name][at % 7] += amount
        return {key: counters for key, counters in found.items() if any(counters)}


def as_dict(snapshot: Snapshot, sums: object) -> dict[tuple[str, str], list[int]]:
    listed = sums.tolist()  # type: ignore[attr-defined]
    return {
        (segment, window.name): listed[at][w]
        for at, (_, segment) in enumerate(snapshot.series)
        for w, window in enumerate(snapshot.windows)
        if any(listed[at][w])
    }


@pytest.mark.parametrize("seed", range(12))
async def test_equals_a_count_from_scratch(seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    clock, oracle, partitions = Clock(), Oracle(), 3
    board, follower = new_board(partitions, clock)
    owned: set[int] = set()
    segments = [f"c={number}" for number in range(12)]
    newest_us = clock.us

    def some_rows(partition: int) -> list[Row]:
        rows = []
        today = clock.us // (24 * US_PER_HOUR)
        for _ in range(dice.choice((1, 5, 60))):
            segment = dice.choice(segments)
            day = today - dice.choice((-1, 0, 0, 0, 1, 6, 7, 8, 29, 30, 31, 88, 89, 90, 91, dice.randrange(400)))
            cells = None if dice.random() < 0.1 else {dice.randrange(144): dice.randrange(9) for _ in range(4)}
            oracle.put(partition, segment, day, cells)
            rows.append(row(segment, day, cells))
        return rows

    for _ in range(120):
        partition = dice.randrange(partitions)
        match dice.choice(("rows", "rows", "rows", "hour", "roll", "jump", "back", "open", "close", "abandon")):
            case "rows":
                give = board.partition_rows if partition in owned else board.followed_rows
                give(partition, some_rows(partition))
            case "hour":
                clock.us += US_PER_HOUR
            case "roll":
                clock.us += dice.randrange(40) * US_PER_HOUR + dice.randrange(US_PER_HOUR)
            case "jump":
                clock.us += dice.choice((24 * 8, 24 * 45)) * US_PER_HOUR
            case "back":
                clock.us = max(clock.us - 12 * US_PER_HOUR, newest_us - 24 * US_PER_HOUR)
            case "open" if partition not in owned:
                own(board, partition, [row(s, d, c) for s, d, c in oracle.rows[partition].values()])
                owned.add(partition)
            case "close" if partition in owned:
                anew = dice.random() < 0.5
                board.partition_closed(partition, None if anew else 7)
                owned.discard(partition)
                if anew:
                    board.followed_rows(partition, [row(s, d, c) for s, d, c in oracle.rows[partition].values()])
                follower.current.add(partition)
                board.followed_to_end(partition)
            case "abandon":
                task = asyncio.create_task(board.refresh())
                for _ in range(dice.randrange(6)):
                    await asyncio.sleep(0)
                task.cancel()
        newest_us = max(newest_us, clock.us)
        if dice.random() < 0.4:
            snapshot = await board.refresh()
            assert as_dict(snapshot, snapshot.totals) == oracle.sums(clock.us, range(partitions))
            assert as_dict(snapshot, snapshot.own) == oracle.sums(clock.us, owned)
    for number in range(partitions):
        follower.current.add(number)
        board.followed_to_end(number)
    snapshot = await board.refresh()
    assert as_dict(snapshot, snapshot.totals) == oracle.sums(clock.us, range(partitions))


async def test_a_snapshot_has_a_commit_whole_or_not_at_all() -> None:
    """Commits of two rows that always agree arrive while a refresh gives way to other tasks."""
    board, _ = new_board(2, windows="1d")
    names = [f"c={number}" for number in range(1500)]
    for partition in (0, 1):
        own(board, partition, [row(name, DAY, {cell(12): 1}) for name in names])
    count = 1
    for _ in range(5):
        refreshing = asyncio.create_task(board.refresh())
        while not refreshing.done():
            count += 1
            for partition in (0, 1):
                commit = [row(name, DAY, {cell(12): count}) for name in ("c=0", "c=1499")]
                board.partition_rows(partition, commit)
            await asyncio.sleep(0)
        found = promoters(await refreshing)
        assert found["c=0", "1d"] == found["c=1499", "1d"]
        assert found["c=0", "1d"] % 2 == 0


def test_memory_is_bounded_to_what_the_longest_window_needs() -> None:
    table = CountsTable([24, 7 * 24])
    for day in range(DAY, DAY + 300):
        table.put([row(f"day={day}", day, {cell(1): 1}), row("all", day, {cell(1): 1})])
        table.cut()
        for _ in table.advance(day * 24):
            pass
    assert table.rows <= 2 * 9
    assert len(table.series()[0]) <= 10
    assert len(table.sums) <= 64


async def test_a_thousand_segments_are_recomputed_without_holding_the_loop() -> None:
    """4 partitions, 30 days each; the bounds are far above what was measured, for slow machines."""
    clock = Clock()
    board, _ = new_board(4, clock, "1d,7d,30d,90d")
    names = [f"c={number}" for number in range(1000)]
    encoded = [COUNTS.encode({cell(hour, counter): 3 for counter in range(4)}) for hour in range(24)]
    rows = [
        (counts_key("s", n, DAY - age), encoded[(at + age) % 24]) for at, n in enumerate(names) for age in range(30)
    ]
    started = time.perf_counter()
    for partition in range(4):
        own(board, partition, rows)
    assert (time.perf_counter() - started) / (4 * len(rows)) < 2e-6
    took_s = []

    async def recompute() -> None:
        clock.us += US_PER_HOUR
        for partition in range(4):
            board.partition_rows(partition, [(counts_key("s", name, DAY), encoded[12]) for name in names])
        started = time.process_time()
        await board.refresh()
        took_s.append(time.process_time() - started)

    await board.refresh()
    held_s = await longest_hold_s(recompute)
    print(f"recomputed in {took_s} s of CPU")
    assert len(board.snapshot.places()) == 4000
    assert min(took_s) < 0.4
    assert held_s < 0.1
