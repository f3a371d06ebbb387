"""The gauges of cases by score, reason and action, against `/v1/conversions`, which adds stored rows up anew."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from schemas.keys import counts_key
from schemas.times import US_PER_DAY
from streams.engine.formats import CASE_COUNTS
from streams.metrics import Metrics
from streams.rules.case_counts import CASE_COUNTERS, COUNTER_NAMES, GROUP_OF, GROUPS
from streams.rules.conversions import DIMENSIONS
from streams.rules.windows import parse_windows
from streams.scoreboard.board import Row, Scoreboard
from streams.scoreboard.conversions import conversions
from streams.scoreboard.table import CASES, CountsTable
from tests.support import case_cells
from tests.support.holding import longest_hold_s

TODAY = 20_779
WINDOWS = parse_windows("1d,7d,30d,90d", 400)
KEPT = parse_windows("400d", 400)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
STATES = ("cases", "contacted", "converted", "withdrawn")
CASES_METRIC, SECONDS_METRIC = "nps_window_case_groups", "nps_window_conversion_seconds"

Series = dict[tuple[str, ...], float]
"""Survey, window, score, reason, action (, state) → value."""


class Worker:
    def __init__(self, partitions: int = 1) -> None:
        self.now_us = TODAY * US_PER_DAY
        self.responses = Scoreboard(WINDOWS, partitions, lambda: self.now_us)
        self.cases = Scoreboard((*WINDOWS, *KEPT), partitions, lambda: self.now_us, CASES)
        self.metrics = Metrics(CollectorRegistry(), self.responses, self.cases, "1")

    def own(self, partition: int, rows: Iterable[Row]) -> None:
        self.cases.partition_opening(partition)
        self.cases.partition_rows(partition, list(rows))
        self.cases.partition_ready(partition)

    async def exported(self) -> tuple[Series, Series]:
        """Cases by state, and seconds to convert."""
        text = (await self.metrics.render(OPENMETRICS))[0].decode()
        found: dict[str, Series] = {CASES_METRIC: {}, SECONDS_METRIC: {}}
        for family in text_string_to_metric_families(text):
            if family.name in found:
                for sample in family.samples:
                    names = ("survey", "window", *DIMENSIONS, "state")
                    assert set(sample.labels) <= set(names)
                    labels = tuple(sample.labels[name] for name in names if name in sample.labels)
                    assert labels not in found[family.name]
                    found[family.name][labels] = sample.value
        return found[CASES_METRIC], found[SECONDS_METRIC]


def stored(survey: str, segment: str, day: int, *groups: tuple[case_cells.Group, dict[str, int]]) -> Row:
    """The row of a day: (score, reason, action) and counters of each group."""
    return counts_key(survey, segment, day), CASE_COUNTS.encode(case_cells.stored(groups))


async def test_cases_of_everybody_are_told_by_score_reason_and_action() -> None:
    worker = Worker(2)
    indifferent, unknown = (8, "indifferent", "incentive"), (7, "unknown", "none")
    converted = {"cases": 4, "contacted": 3, "converted": 2, "withdrawn": 1, "overdue": 1, "ms_to_convert": 90_061_500}
    worker.own(
        0, [stored("s", "all", TODAY, (unknown, {"cases": 2})), stored("s", "all", TODAY - 6, (indifferent, converted))]
    )
    worker.own(
        1, [stored("s", "all", TODAY, (unknown, {"cases": 5})), stored("s", "c=NO", TODAY, (unknown, {"cases": 5}))]
    )
    cases, seconds = await worker.exported()
    assert {labels[1] for labels in cases} == {"1d", "7d", "30d", "90d"}, "not all that is kept"
    of_7d = {labels[2:]: value for labels, value in cases.items() if labels[1] == "7d"}
    assert of_7d == {
        **{("7", "unknown", "none", state): 0 for state in STATES},
        ("7", "unknown", "none", "cases"): 7,
        ("8", "indifferent", "incentive", "cases"): 4,
        ("8", "indifferent", "incentive", "contacted"): 3,
        ("8", "indifferent", "incentive", "converted"): 2,
        ("8", "indifferent", "incentive", "withdrawn"): 1,
    }
    assert {labels[2] for labels in cases if labels[1] == "1d"} == {"7"}, "a group without cases is absent"
    assert seconds["s", "7d", "8", "indifferent", "incentive"] == 90_061.5
    assert seconds["s", "7d", "7", "unknown", "none"] == 0


async def test_a_partition_that_leaves_takes_its_cases_with_it() -> None:
    worker = Worker(2)
    group = (7, "value_for_price", "tailored_offer")
    for partition in (0, 1):
        worker.own(partition, [stored("s", "all", TODAY, (group, {"cases": 1 + partition}))])
    labels = ("s", "1d", "7", "value_for_price", "tailored_offer", "cases")
    assert (await worker.exported())[0][labels] == 3
    worker.cases.partition_closed(1, 9)
    worker.cases.followed_rows(1, [stored("s", "all", TODAY, (group, {"cases": 100}))])
    assert (await worker.exported())[0][labels] == 1
    worker.cases.partition_closed(0, None)
    assert await worker.exported() == ({}, {})


async def test_a_survey_may_have_any_name() -> None:
    worker = Worker()
    name = 'c="\\ø\u2028\n"'
    worker.own(0, [stored(name, "all", TODAY, (GROUP_OF[0], {"cases": 1}))])
    cases, seconds = await worker.exported()
    assert {labels[0] for labels in (*cases, *seconds)} == {name}


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_comes_the_gauges_are_what_stored_rows_add_up_to(seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    worker = Worker(3)
    rows: dict[int, dict[bytes, bytes]] = defaultdict(dict)
    owned: set[int] = set()

    def some_row() -> Row:
        day = worker.now_us // US_PER_DAY - dice.choice((-1, 0, 0, 1, 6, 7, 29, 30, 89, 90, dice.randrange(400)))
        groups = [(dice.choice(GROUP_OF), some_counters()) for _ in range(dice.randrange(1, 5))]
        key, cells = stored(dice.choice("abcde"), dice.choice(("all", "all", "c=NO")), day, *groups)
        return key, None if dice.random() < 0.2 else cells

    def some_counters() -> dict[str, int]:
        # Of a group that a case left for another, nothing may be left of a day.
        if dice.random() < 0.2:
            return {}
        others = {name: dice.randrange(3) for name in COUNTER_NAMES if name != "ms_to_convert"}
        in_time, contacted = sorted((others["contacted_in_time"], others["contacted"]))
        nested = {"cases": 3, "contacted": contacted, "contacted_in_time": in_time}
        return {**others, **nested, "ms_to_convert": dice.randrange(10**10)}

    for _ in range(150):
        partition = dice.randrange(3)
        match dice.choice(("rows", "rows", "rows", "day", "jump", "back", "open", "close")):
            case "rows":
                come = [some_row() for _ in range(dice.choice((1, 20)))]
                (worker.cases.partition_rows if partition in owned else worker.cases.followed_rows)(partition, come)
                for key, cells in come:
                    rows[partition].pop(key, None)
                    if cells is not None:
                        rows[partition][key] = cells
            case "day":
                worker.now_us += US_PER_DAY
            case "jump":
                worker.now_us += dice.choice((8, 45)) * US_PER_DAY
            case "back":
                worker.now_us -= US_PER_DAY // 2
            case "open" if partition not in owned:
                worker.own(partition, rows[partition].items())
                owned.add(partition)
            case "close" if partition in owned:
                worker.cases.partition_closed(partition, 7)
                owned.discard(partition)
        if dice.random() < 0.3:
            await assert_added_up(worker, {number: list(rows[number].items()) for number in owned})


async def assert_added_up(worker: Worker, rows: dict[int, list[tuple[bytes, bytes]]]) -> None:
    worker.now_us += 2_000_000  # so that a scrape makes a new snapshot
    fresh = Worker(3)
    fresh.now_us = worker.now_us
    for partition, of_partition in rows.items():
        fresh.own(partition, of_partition)
    answer = await conversions(fresh.cases, WINDOWS, None, "all", None, DIMENSIONS)
    cases: Series = {}
    seconds: Series = {}
    for row in answer.rows:
        labels = (row["survey_id"], row["window"], str(row["score"]), row["reason"], row["action"])
        cases.update({(*labels, state): row[state] for state in STATES})
        seconds[labels] = row["days_to_convert"] * 86_400
    found_cases, found_seconds = await worker.exported()
    assert found_cases == cases
    assert found_seconds == pytest.approx(seconds)


def test_memory_follows_the_surveys_that_are_there() -> None:
    table = CountsTable([24, 7 * 24], CASES, by_cell=True)
    for day in range(TODAY, TODAY + 100):
        table.put([(counts_key(f"survey of {day}", "all", day), CASE_COUNTS.encode({0: 1}))])
        table.cut()
        for _ in table.advance(day * 24 + 23):
            pass
    found = {survey: cells[:, 0].tolist() for survey, cells in table.cell_sums()}
    assert len(found) <= 10
    assert Counter(str(cells) for cells in found.values())["[1, 1]"] == 1
    assert len(table.by_cell_sums) <= 16


def test_a_change_of_the_day_that_is_abandoned_is_made_once() -> None:
    table = CountsTable([24, 2 * 24, 3 * 24], CASES, by_cell=True)
    table.put([(counts_key("s", "all", TODAY - age), CASE_COUNTS.encode({0: 10**age})) for age in range(3)])
    table.cut()
    for _ in table.advance(TODAY * 24 + 23):
        pass
    abandoned = table.advance(TODAY * 24 + 47)
    next(abandoned)
    abandoned.close()
    assert [cells[:, 0].tolist() for _, cells in table.cell_sums()] == [[1, 11, 111]]
    for _ in table.advance(TODAY * 24 + 47):
        pass
    assert [cells[:, 0].tolist() for _, cells in table.cell_sums()] == [[0, 1, 11]]


async def test_a_scrape_of_every_group_does_not_hold_the_loop() -> None:
    """10 surveys, 4 windows, and none of the 84 groups is empty: the bound."""
    worker = Worker()
    full = CASE_COUNTS.encode(dict.fromkeys(range(GROUPS * CASE_COUNTERS), 3))
    rows: list[Row] = [(counts_key(f"survey {n}", "all", TODAY - age), full) for n in range(10) for age in range(30)]
    worker.own(0, rows)
    await worker.exported()
    took_s, body = [], b""

    async def scrape() -> None:
        nonlocal body
        worker.cases.partition_rows(0, rows[::30])
        worker.now_us += 2_000_000  # a new snapshot
        started = time.process_time()
        body, _ = await worker.metrics.render(OPENMETRICS)
        took_s.append(time.process_time() - started)

    held_s = await longest_hold_s(scrape)
    print(f"{len(body)} bytes, CPU {took_s}")
    assert body.count(f"\n{CASES_METRIC}{{".encode()) == 10 * 4 * GROUPS * len(STATES)
    assert body.count(f"\n{SECONDS_METRIC}{{".encode()) == 10 * 4 * GROUPS
    assert min(took_s) < 0.2
    assert held_s < 0.05
