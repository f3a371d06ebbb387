"""`nps conversions`: what turns a passive customer into a promoter, asked of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.console import JsonFlag, show, show_json
from streams.cli.scores_command import NONE, SEGMENT, SURVEY, URL, WINDOW, fetch, footnote, worker_at

if TYPE_CHECKING:
    from rich.console import Group

DIMENSIONS = ("score", "reason", "action")

ByOption = Annotated[
    str | None, typer.Option("--by", metavar="LIST", help="Tell apart by score, reason, action: some, comma-separated.")
]


def conversions(
    survey: SURVEY = None,
    segment: SEGMENT = None,
    window: WINDOW = None,
    by: ByOption = None,
    url: URL = None,
    as_json: JsonFlag = False,
) -> None:
    """Show how many cases of passive customers were followed up, and how many converted, with 95 % intervals.

    A window covers the cases that were opened in it, by UTC day. Young cases have had less time to convert: compare
    by the last column, which takes cases opened at least 90 days ago, and counts conversions within 90 days.
    A * marks a small sample, fewer than 30 cases.
    """
    import asyncio

    from streams.settings import Settings

    if by is not None and not set(by.split(",")) <= set(DIMENSIONS):
        raise typer.BadParameter(f"--by takes some of {', '.join(DIMENSIONS)}, comma-separated")
    filters = {"survey_id": survey, "segment": segment, "window": window, "by": by}
    query = {name: value for name, value in filters.items() if value is not None}
    answer = asyncio.run(fetch(worker_at(Settings.from_environment(), url), query, "conversions"))
    if as_json:
        show_json(answer)
    else:
        show(table(answer))


def table(answer: dict[str, Any]) -> Group:
    """Conversions for people. The only place that rounds."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Survey", "Segment"):
        grid.add_column(name, no_wrap=True)
    grid.add_column("Window", justify="right", no_wrap=True)
    for name in answer["by"]:
        grid.add_column(name.capitalize(), no_wrap=True)
    numbers = ("Cases", "Contacted", "In time", "Overdue", "Converted", "Left", "Conversion", "95 % interval")
    for name in (*numbers, "Days to convert", "Within 90 days"):
        grid.add_column(name, justify="right", no_wrap=True)
    rows = answer["conversions"]
    for row in rows:
        mark = "*" if row["small_sample"] else " "
        grid.add_row(
            Text(row["survey_id"]),
            Text(row["segment"]),
            row["window"],
            *(Text(str(row[name])) for name in answer["by"]),
            f"{row['cases']:,}",
            f"{row['contacted']:,}",
            f"{row['contacted_in_time']:,}",
            f"{row['overdue']:,}",
            f"{row['converted']:,}",
            f"{row['left']:,}",
            (NONE if row["conversion"] is None else f"{row['conversion']:.1%}") + mark,
            NONE if row["conversion"] is None else f"{row['conversion_low']:.1%} … {row['conversion_high']:.1%}",
            f"{row['days_to_convert'] / row['converted']:.1f}" if row["converted"] else NONE,
            f"{row['mature_converted_90d'] / row['mature_cases']:.1%}" if row["mature_cases"] > 0 else NONE,
        )
    return Group(grid, footnote(answer, rows, "cases"))
