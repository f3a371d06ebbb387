"""What the scoreboard costs: 1,000 segments, four windows, 90 days: `python -m tests.bench.scoreboard`.

CPU of a refresh of everything for the first time, after a change of every segment's row of today, when the clock hour
changes, and of the score rows of all of it. And the memory that a row takes, of responses and of cases: some answers at
three hours of a day, three groups of cases.
"""

from __future__ import annotations

import asyncio
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.keys import counts_key
from streams.engine.formats import CASE_COUNTS, COUNTS
from streams.rules.case_counts import CASE_COUNTERS
from streams.rules.windows import Window
from streams.scoreboard.board import Scoreboard
from streams.scoreboard.table import CASES, RESPONSES
from tests.bench.measuring import parser, write

SEGMENTS, DAYS, PARTITIONS = 1_000, 90, 4
WINDOWS = [Window(f"{days}d", 24 * days) for days in (1, 7, 30, 90)]
TODAY = 20_700
HOUR_US = 3_600_000_000


def rows(days: range, extra: int = 0) -> Iterator[tuple[bytes, bytes]]:
    for segment in range(SEGMENTS):
        for day in days:
            cells = {hour * 7 + counter: 1 + extra for hour in (8, 12, 19) for counter in range(4)}
            yield counts_key("relational", f"store=s-{segment}", day), COUNTS.encode(cells)


async def measure() -> dict[str, float]:
    """Return ms of CPU by what was done."""
    now_us = (TODAY * 24 + 20) * HOUR_US
    board = Scoreboard(WINDOWS, PARTITIONS, lambda: now_us)
    for partition in range(PARTITIONS):
        board.partition_opening(partition)
        board.partition_ready(partition)
    found: dict[str, float] = {}

    @contextmanager
    def timed(what: str) -> Iterator[None]:
        began = time.process_time()
        yield
        found[what] = (time.process_time() - began) * 1000

    for partition in range(PARTITIONS):
        board.partition_rows(partition, list(rows(range(TODAY - DAYS + 1, TODAY + 1))))
    with timed(f"all {PARTITIONS * SEGMENTS * DAYS:,} rows for the first time"):
        await board.refresh()
    changed = list(rows(range(TODAY, TODAY + 1), extra=1))
    for partition in range(PARTITIONS):
        board.partition_rows(partition, changed)
    with timed(f"{PARTITIONS * SEGMENTS:,} rows changed: every segment in every partition"):
        await board.refresh()
    board.partition_rows(0, list(rows(range(TODAY, TODAY + 1), extra=2)))
    with timed(f"{SEGMENTS:,} rows changed: every segment, in one partition"):
        await board.refresh()
    now_us += HOUR_US
    with timed("the clock hour changed"):
        await board.refresh()
    with timed(f"{SEGMENTS * len(WINDOWS):,} score rows"):
        snapshot = board.snapshot
        assert sum(1 for _ in snapshot.rows(snapshot.places())) == SEGMENTS * len(WINDOWS)
    return found


async def memory() -> dict[str, float]:
    """Return bytes by kind of row, of a board that has counted them."""
    found: dict[str, float] = {}
    for kind, layout, form in (("responses", RESPONSES, COUNTS), ("cases", CASES, CASE_COUNTS)):
        board = Scoreboard(WINDOWS, 1, lambda: (TODAY * 24 + 20) * HOUR_US, layout)
        tracemalloc.start()
        for segment in range(SEGMENTS):
            cells = {hour * 7 + counter: 1 + segment % 5 for hour in (8, 12, 19) for counter in range(4)}
            if layout is CASES:
                cells = {
                    group * CASE_COUNTERS + counter: 1 + segment % 5 for group in (3, 40, 71) for counter in (0, 2)
                }
            days = range(TODAY - DAYS + 1, TODAY + 1)
            board.followed_rows(0, [(counts_key("s", f"store=s-{segment}", day), form.encode(cells)) for day in days])
            await board.refresh()
        found[kind] = tracemalloc.get_traced_memory()[0] / (SEGMENTS * DAYS)
        tracemalloc.stop()
    return found


def main() -> int:
    given = parser(__doc__).parse_args()
    found = asyncio.run(measure())
    for what, cost_ms in found.items():
        print(f"{cost_ms:8.0f} ms of CPU: {what}")
    taken = asyncio.run(memory())
    for kind, size_bytes in taken.items():
        print(f"{size_bytes:8.0f} bytes a row of {kind}")
    write(given.json, "scoreboard", {"ms": found, "bytes_a_row": taken})
    return 0


if __name__ == "__main__":
    sys.exit(main())
