"""`/v1/conversions` and the gauges of cases, on a board that is told rows as the engine tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from schemas.keys import counts_key
from schemas.times import US_PER_HOUR
from streams.engine.formats import CASE_COUNTS
from streams.http.endpoints import Endpoints
from streams.http.server import HttpServer
from streams.metrics import Metrics
from streams.rules.case_counts import CASE_COUNTERS, GROUPS
from streams.rules.windows import parse_windows
from streams.scoreboard.board import Scoreboard
from streams.scoreboard.conversions import conversions
from streams.scoreboard.table import CASES
from tests.support import case_cells
from tests.support.holding import longest_turn_s

TODAY = 20_779
NOW_US = (TODAY * 24 + 12) * US_PER_HOUR
Row = tuple[bytes, bytes | None]


class Engine:
    joined = True

    def partitions(self) -> list[Any]:
        return []


class Boards:
    def __init__(self, partitions: int = 2) -> None:
        self.responses = Scoreboard(parse_windows("1d,7d,180d", 400), partitions, lambda: NOW_US)
        self.cases = Scoreboard(parse_windows("1d,7d,180d,400d", 400), partitions, lambda: NOW_US, CASES)
        self.metrics = Metrics(CollectorRegistry(), self.responses, self.cases, "1")

    def own(self, partition: int, *rows: Row) -> None:
        for board in (self.responses, self.cases):
            board.partition_opening(partition)
        self.cases.partition_rows(partition, rows)
        for board in (self.responses, self.cases):
            board.partition_ready(partition)

    @asynccontextmanager
    async def serving(self, token: str | None = None) -> AsyncIterator[aiohttp.ClientSession]:
        endpoints = Endpoints(self.responses, self.cases, Engine(), self.metrics.render, token)
        server = HttpServer("127.0.0.1", 0, endpoints.by_path())
        await server.start()
        try:
            async with aiohttp.ClientSession(server.url) as client:
                yield client
        finally:
            await server.stop()


def counted(age_days: int, segment: str = "all", survey: str = "s", **groups: dict[str, int]) -> Row:
    """A stored row: `groups` are named `score_reason_action`, with `__` between."""
    named = []
    for name, counters in groups.items():
        score, reason, action = name.removeprefix("of_").split("__")
        named.append(((int(score), reason, action), counters))
    return counts_key(survey, segment, TODAY - age_days), CASE_COUNTS.encode(case_cells.stored(named))


def cases(n: int, **counters: int) -> dict[str, int]:
    return {"cases": n, **counters}


async def get(client: aiohttp.ClientSession, query: str = "", status: int = 200) -> Any:
    async with client.get(f"/v1/conversions{query}") as response:
        assert response.status == status
        return await response.json(content_type=None)


async def test_rows_are_summed_over_days_partitions_and_what_is_not_asked_for() -> None:
    boards = Boards()
    boards.own(
        0,
        counted(0, of_7__unknown__none=cases(2), of_8__indifferent__incentive=cases(1, contacted=1)),
        counted(6, of_8__indifferent__incentive=cases(4, converted=2, converted_7d=2, ms_to_convert=86_400_000)),
        counted(7, of_8__indifferent__incentive=cases(100)),
    )
    boards.own(
        1,
        counted(3, of_8__indifferent__incentive=cases(10, withdrawn=1)),
        counted(3, "country=NO", of_7__unknown__none=cases(5)),
    )
    async with boards.serving() as client:
        answer = await get(client, "?window=7d&segment=all")
        assert (answer["complete"], answer["by"]) == (True, [])
        [row] = answer["conversions"]
        assert (row["cases"], row["withdrawn"], row["converted"], row["contacted"]) == (17, 1, 2, 1)
        assert row["conversion"] == 2 / 16
        assert row["days_to_convert"] == 1.0
        assert (row["mature_cases"], row["mature_converted_90d"]) == (0, 0)

        by_reason = await get(client, "?window=7d&segment=all&by=reason,score")
        assert [(row["reason"], row["score"], row["cases"]) for row in by_reason["conversions"]] == [
            ("indifferent", 8, 15),
            ("unknown", 7, 2),
        ]
        windows = await get(client, "?segment=all&survey_id=s")
        assert [(row["window"], row["cases"]) for row in windows["conversions"]] == [
            ("1d", 3),
            ("7d", 17),
            ("180d", 117),
        ]
        [norway] = (await get(client, "?window=7d&segment=country%3DNO&by=action"))["conversions"]
        assert (norway["segment"], norway["action"], norway["cases"]) == ("country=NO", "none", 5)
        assert (await get(client, "?survey_id=another"))["conversions"] == []


async def test_mature_cases_are_those_that_have_all_had_ninety_days() -> None:
    boards = Boards(1)
    boards.own(
        0,
        counted(90, of_7__unknown__none=cases(3, converted=1, converted_7d=1)),
        counted(
            91,
            of_7__unknown__none=cases(5, withdrawn=1, converted=3, converted_30d=1, converted_90d=1, converted_180d=1),
        ),
    )
    async with boards.serving() as client:
        [row] = (await get(client, "?window=180d"))["conversions"]
        assert (row["mature_cases"], row["mature_converted_90d"]) == (4, 2)
        assert (row["cases"], row["converted_within_90d"], row["converted_within_180d"]) == (8, 3, 4)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("?by=country", "The query parameter by must be some of score, reason, action"),
        ("?by=score,score", "each once"),
        ("?window=30d", "The window must be one of 1d, 7d, 180d."),
        ("?window=400d", "The window must be one of 1d, 7d, 180d."),
        ("?reason=unknown", "known are survey_id, segment, window, by"),
        ("?by=score&by=score", "may be given once"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(query: str, detail: str) -> None:
    async with Boards().serving() as client:
        assert detail in (await get(client, query, 400))["detail"]


async def test_conversions_are_behind_the_token_and_complete_only_with_every_partition() -> None:
    boards = Boards()
    boards.own(0)
    async with boards.serving("a-token-of-length") as client:
        await get(client, status=401)
    async with boards.serving() as client:
        assert (await get(client))["complete"] is False


async def test_the_gauges_tell_states_by_window_and_who_is_open() -> None:
    boards = Boards(1)
    ended = {"converted": 2, "left": 1, "withdrawn": 1, "erased": 1}
    boards.own(
        0,
        counted(0, of_7__unknown__none=cases(3, overdue=1)),
        counted(200, of_8__indifferent__other=cases(10, contacted=7, contacted_in_time=6, **ended)),
        counted(0, "country=NO", of_7__unknown__none=cases(3)),
    )
    text, _ = await boards.metrics.render("application/openmetrics-text; version=1.0.0")
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name in ("nps_window_cases", "nps_open_cases")
    }
    assert found["nps_open_cases", "s"] == 8
    assert found["nps_window_cases", "1d", "all", "cases", "s"] == 3
    assert found["nps_window_cases", "180d", "all", "overdue", "s"] == 1
    assert found["nps_window_cases", "180d", "all", "converted", "s"] == 0, "it opened before the window"
    assert found["nps_window_cases", "7d", "cases", "country=NO", "s"] == 3
    assert {key[1] for key in found if key[0] == "nps_window_cases"} == {"1d", "7d", "180d"}, "not all that is kept"
    boards.cases.partition_closed(0, None)
    text, _ = await boards.metrics.render("")
    assert b"nps_open_cases{" not in text, "a lost partition's series disappear"


async def test_an_answer_of_many_rows_does_not_hold_the_loop() -> None:
    windows = parse_windows("1d,7d,30d,90d", 400)
    board = Scoreboard(windows, 1, lambda: NOW_US, CASES)
    cells = {group * CASE_COUNTERS: 3 for group in range(0, GROUPS, GROUPS // 12)}
    rows: list[Row] = [(counts_key("s", f"seg=v{number}", TODAY), CASE_COUNTS.encode(cells)) for number in range(1_000)]
    board.partition_opening(0)
    board.partition_rows(0, rows)
    board.partition_ready(0)
    await board.refresh()
    found: list[int] = []

    async def ask() -> None:
        by = ("score", "reason", "action")
        found.append(len((await conversions(board, windows, None, None, None, by)).rows))
        await asyncio.sleep(0)  # the last turn is one, too

    assert await longest_turn_s(ask) < 0.1
    assert found[0] == 12 * 1_000 * len(windows)
