"""`nps scores`: the rolling scores, asked of a worker."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from streams.cli.console import Failure, JsonFlag, show, show_json, show_json_line, stdout

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

    from streams.settings import Settings

REFRESH_S = 2.0
TIMEOUT_S = 10.0
NONE = "-"
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - to connect to, not to bind


class Worker(NamedTuple):
    """Whom to ask."""

    address: str
    token: str | None


SURVEY = Annotated[str | None, typer.Option("--survey", help="Only this survey.")]
SEGMENT = Annotated[str | None, typer.Option("--segment", help="Only this segment, all or name=value.")]
WINDOW = Annotated[str | None, typer.Option("--window", help="Only this window, as 7d.")]
URL = Annotated[
    str | None,
    typer.Option("--url", help="A worker's address; any worker answers for all. [default: by the settings]"),
]


def scores(
    survey: SURVEY = None,
    segment: SEGMENT = None,
    window: WINDOW = None,
    url: URL = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show again every two seconds, until Ctrl-C.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the rolling scores: NPS with its 95 % interval, responses, and the passives apart as 7s and 8s.

    A * marks a small sample, fewer than 30 responses. With --watch --json each line is one answer.
    """
    import asyncio

    from streams.settings import Settings

    worker = worker_at(Settings.from_environment(), url)
    filters = {"survey_id": survey, "segment": segment, "window": window}
    query = {name: value for name, value in filters.items() if value is not None}
    try:
        asyncio.run(_watch(worker, query, as_json) if watch else _once(worker, query, as_json))
    except KeyboardInterrupt:
        if not watch:
            raise  # else it is how watching ends


async def _once(worker: Worker, query: dict[str, str], as_json: bool) -> None:
    answer = await fetch(worker, query)
    if as_json:
        show_json(answer)
    else:
        show(table(answer))


async def _watch(worker: Worker, query: dict[str, str], as_json: bool) -> None:
    import asyncio

    if as_json:
        while True:
            show_json_line(await fetch(worker, query))
            await asyncio.sleep(REFRESH_S)
    if not sys.stdout.isatty():
        while True:
            show(table(await fetch(worker, query)))
            await asyncio.sleep(REFRESH_S)
    from rich.live import Live

    with Live(console=stdout(), auto_refresh=False) as live:
        while True:
            live.update(table(await fetch(worker, query)), refresh=True)
            await asyncio.sleep(REFRESH_S)


def worker_at(settings: Settings, url: str | None) -> Worker:
    """Whom to ask: at that address, or the one of the settings."""
    if url is not None and not url.startswith(("http://", "https://")):
        raise typer.BadParameter("--url must be an address such as http://127.0.0.1:6066")
    token = settings.http_token.get_secret_value() if settings.http_token else None
    return Worker((url or _worker(settings)).rstrip("/"), token)


def _worker(settings: Settings) -> str:
    if settings.http_port == 0:
        raise typer.BadParameter("NPS_HTTP_PORT is 0, any free port: say which with --url")
    host = EVERY_ADDRESS.get(settings.http_host, settings.http_host)
    return f"http://[{host}]:{settings.http_port}" if ":" in host else f"http://{host}:{settings.http_port}"


async def fetch(worker: Worker, query: dict[str, str], what: str = "scores") -> dict[str, Any]:
    """The answer of a worker's `/v1/scores`, or `/v1/conversions`.

    Raises:
        Failure: no worker answers there, or it refuses; with its own sentence.
    """
    import aiohttp

    address = worker.address
    headers = {"Authorization": f"Bearer {worker.token}"} if worker.token else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(f"{address}/v1/{what}", params=query, headers=headers) as response,
        ):
            answer = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Failure(f"no worker answers at {address} ({type(error).__name__}): start one with nps worker") from None
    if response.status != 200 or not isinstance(answer, dict) or what not in answer:
        problem = answer if isinstance(answer, dict) else {}
        said = problem.get("detail") or problem.get("title") or f"no {what} in its answer"
        raise Failure(f"{address} answered {response.status}: {said}")
    return answer


def table(answer: dict[str, Any]) -> Group:
    """Scores for people: by survey, the whole before its segments, short windows first. The only place that rounds."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    right = {"justify": "right"}
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name, options in {
        "Survey": {},
        "Segment": {},
        "Window": right,
        "NPS": right,
        "95 % interval": right,
        "Responses": right,
        "Promoters": right,
        "Passives": right,
        "7s": right,
        "8s": right,
        "Detractors": right,
        "Passive share": right,
        "Answered": right,
        "CSAT": right,
    }.items():
        grid.add_column(name, no_wrap=True, **options)  # type: ignore[arg-type]
    rows = sorted(answer["scores"], key=_order)
    for row in rows:
        mark = "*" if row["small_sample"] else " "
        grid.add_row(
            Text(row["survey_id"]),
            Text(row["segment"]),
            row["window"],
            Text(_signed(row["nps"]) + mark, style=_colour(row["nps"])),
            NONE if row["nps"] is None else f"{_signed(row['nps_low'])} … {_signed(row['nps_high'])}",
            f"{row['responses']:,}",
            f"{row['promoters']:,}",
            f"{row['passives']:,}",
            f"{row['sevens']:,}",
            f"{row['eights']:,}",
            f"{row['detractors']:,}",
            NONE if row["passive_share"] is None else f"{row['passive_share']:.0%}",
            NONE if row.get("answered_share") is None else f"{row['answered_share']:.0%}",
            NONE if row["csat_mean"] is None else f"{row['csat_mean']:.2f}",
        )
    return Group(grid, footnote(answer, rows, "responses"))


def footnote(answer: dict[str, Any], rows: Sequence[dict[str, Any]], counted: str) -> Text:
    """What has to be known of a table of windows: `counted` is what its samples consist of."""
    from rich.text import Text

    notes = [f"as of {answer['as_of']}"]
    if any(row["small_sample"] for row in rows):
        notes.append(f"* fewer than 30 {counted}")
    if not answer["complete"]:
        notes.append("incomplete: not every partition has been read yet")
    if not rows:
        notes.append(f"no {counted} in these windows")
    return Text("; ".join(notes), style="dim")


def _order(row: dict[str, Any]) -> tuple[str, bool, str, int]:
    number, unit = int(row["window"][:-1]), row["window"][-1]
    return row["survey_id"], row["segment"] != "all", row["segment"], number * (24 if unit == "d" else 1)


def _signed(nps: float | None) -> str:
    return NONE if nps is None else f"{round(nps, 1) + 0.0:+.1f}"  # + 0.0: no -0.0


def _colour(nps: float | None) -> str:
    if nps is None:
        return "dim"
    return "green" if nps > 0 else "red" if nps < 0 else ""
