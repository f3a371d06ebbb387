"""What boards tell while partitions move, and what they keep of partitions that others own."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from schemas.keys import counts_key
from schemas.times import US_PER_DAY
from streams.engine.formats import CASE_COUNTS, COUNTS
from streams.metrics import Metrics
from streams.rules.windows import Window, parse_windows
from streams.scoreboard.board import Scoreboard
from streams.scoreboard.conversions import conversions
from streams.scoreboard.publisher import ScorePublisher
from streams.scoreboard.table import CASES
from tests.support import case_cells

TODAY = 20_779
WINDOWS = parse_windows("1d,30d", 400)
KEPT = Window("kept", 401 * 24)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
GROUP = (8, "indifferent", "incentive")
Row = tuple[bytes, bytes | None]


class Boards:
    def __init__(self, partitions: int = 2) -> None:
        self.now_us = TODAY * US_PER_DAY + US_PER_DAY // 2
        self.responses = Scoreboard(WINDOWS, partitions, lambda: self.now_us)
        self.cases = Scoreboard(WINDOWS, partitions, lambda: self.now_us, CASES, of_own=KEPT)

    def own(self, partition: int, cases: list[Row], responses: int = 0) -> None:
        rows: list[Row] = [(counts_key("s", "all", TODAY), COUNTS.encode({0: responses}))] if responses else []
        for board, given in ((self.responses, rows), (self.cases, cases)):
            board.partition_opening(partition)
            board.partition_rows(partition, given)
            board.partition_ready(partition)

    def lose(self, partition: int) -> None:
        for board in (self.responses, self.cases):
            board.partition_closed(partition, 9)


def row(age_days: int, cases: int, segment: str = "all") -> Row:
    return counts_key("s", segment, TODAY - age_days), CASE_COUNTS.encode(
        case_cells.stored([(GROUP, {"cases": cases})])
    )


async def test_an_answer_is_whole_where_a_partition_changes_hands_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is put together with pauses, after a moment's snapshot; a partition that is opened then is not counted yet."""
    monkeypatch.setattr("streams.scoreboard.conversions.SUMS_BETWEEN_YIELDS", 1)
    boards = Boards(3)
    for partition in range(3):
        boards.own(partition, [row(age, 1, f"c=v{number}") for age in range(3) for number in range(20)])

    async def ask() -> tuple[bool, int]:
        found = await conversions(boards.cases, WINDOWS, "s", None, "30d", ())
        return found.complete, sum(each["cases"] for each in found.rows)

    assert await ask() == (True, 180)
    asking = asyncio.create_task(ask())
    for _ in range(5):
        await asyncio.sleep(0)
    for partition in (1, 2):
        boards.own(partition, [row(age, 1, f"c=v{number}") for age in range(3) for number in range(20)])
    assert not asking.done()
    assert await asking == (True, 180)


async def test_a_scrape_is_of_one_moment_although_a_partition_is_lost_in_the_middle() -> None:
    boards = Boards()
    for partition in (0, 1):
        boards.own(partition, [row(0, 7)], responses=7)
    metrics = Metrics(CollectorRegistry(), boards.responses, boards.cases, "1")
    refresh = boards.cases.refresh

    async def losing(max_age_s: float = 0.0) -> object:
        boards.cases.refresh = refresh  # type: ignore[method-assign]
        boards.lose(1)
        return await refresh(max_age_s)

    boards.cases.refresh = losing  # type: ignore[assignment, method-assign]
    text, _ = await metrics.render(OPENMETRICS)
    samples = {
        (
            sample.name,
            sample.labels.get("window"),
            sample.labels.get("partition"),
            sample.labels.get("state"),
        ): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    partitions = [key[2] for key in samples if key[0] == "nps_window_partitions"]
    assert partitions == ["0"]
    assert samples["nps_window_cases", "1d", None, "cases"] == 7


@pytest.mark.parametrize("before", ["owned", "followed"])
async def test_days_beyond_the_windows_are_kept_of_own_partitions_alone(before: str) -> None:
    boards = Boards(1)
    rows = [row(age, 1) for age in range(300)]
    if before == "owned":
        boards.own(0, rows)
        await boards.cases.refresh()
        assert len(list(filter(None, boards.cases.held("s", "all", 0)))) == 300
        boards.lose(0)
    else:
        boards.cases.followed_rows(0, rows)
    boards.now_us += US_PER_DAY  # old days are looked at when a day ends
    await boards.cases.refresh()
    held = list(filter(None, boards.cases.held("s", "all", 0)))
    assert 30 <= len(held) <= 33
    found = await conversions(boards.cases, WINDOWS, "s", "all", "30d", ())
    assert [each["cases"] for each in found.rows] == [29]


async def test_cases_are_counted_although_nobody_asks() -> None:
    """What is put into a board waits in memory until it is counted."""
    boards = Boards(1)
    boards.own(0, [row(0, 1)])
    publisher = ScorePublisher(boards.responses, {}, "scores", 0.01, boards.cases)
    boards.responses.partition_closed(0, 9)  # so that it publishes nothing
    await publisher.start()
    try:
        for number in range(50):
            boards.cases.partition_rows(0, [row(0, number + 2, f"c=v{number}")])
        await asyncio.sleep(0.3)
        assert boards.cases.snapshot.totals.sum() > 50
    finally:
        await publisher.stop()
