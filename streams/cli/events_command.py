"""`nps events`: what CRMs are told, as it is committed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from streams.cli.choices import EventType
from streams.cli.console import JsonFlag, show_json_line, stdout


def events(
    types: Annotated[
        list[EventType] | None, typer.Option("--type", help="Only events of this type; may be repeated.")
    ] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Begin with the oldest event that is still there.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for further events, or end with the newest.")
    ] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="End after this many events.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show events as they are committed: passives detected, scores changed, detections withdrawn.

    Ends with Ctrl-C. With --json each line is one event with its data, topic, partition and offset.
    """
    import asyncio

    from streams.cli.tailing import Tail, tail
    from streams.settings import Settings

    settings = Settings.from_environment()
    wanted = Tail(frozenset(types or EventType), from_beginning, follow, limit)
    console = stdout()

    async def run() -> None:
        async for event in tail(settings, wanted):
            if as_json:
                show_json_line(event._asdict())
            else:
                console.print(_sentence(event.type, event.time, event.data), soft_wrap=True)

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        if not follow:
            raise  # else it is how a tail ends


def _sentence(event_type: str, time: str, data: dict[str, Any]) -> Any:
    from rich.text import Text

    name, colour = {
        "nps.passive-detected.v1": ("passive-detected", "yellow"),
        "nps.score-changed.v1": ("score-changed", "green"),
        "nps.passive-withdrawn.v1": ("passive-withdrawn", "magenta"),
    }[event_type]
    match name:
        case "passive-detected":
            detail = f"{data['score']}  {data['trigger']}"
            if data["previous_score"] is not None:
                detail += f"  was {data['previous_score']}"
        case "score-changed":
            detail = f"{data['previous_score']} → {data['score']}  {data['change']}"
            if data["days_passive"] is not None:
                detail += f"  after {data['days_passive']:.1f} days"
        case _:
            detail = f"{data['cause']}"
    return Text.assemble(
        (f"{time}  ", "dim"), (f"{name:<17}  ", colour), f"{data['customer_id']}  {data['survey_id']}  ", detail
    )
