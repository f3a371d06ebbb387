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
    """Show events as they are committed: passives detected, scores changed, detections withdrawn,
    follow-ups overdue.

    Ends with Ctrl-C. With --json each line is one event with its data and where it is: topic, partition,
    offset. Its time is when the answer was given; record_time, which the other form shows, is when it was published.
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
                console.print(_sentence(event.type, event.record_time, event.data), soft_wrap=True)

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        if not follow:
            raise  # else it is how a tail ends


def _sentence(event_type: str, time: str, data: Any) -> Any:
    import json

    from rich.text import Text

    try:
        return _known_sentence(event_type, time, data)
    except (TypeError, LookupError, ValueError):  # of another release, or another program's
        return Text.assemble((f"{time}  ", "dim"), f"{event_type or 'no event'}  {json.dumps(data)}")


def _known_sentence(event_type: str, time: str, data: Any) -> Any:
    from rich.text import Text

    match event_type:
        case "nps.passive-detected.v1":
            colour, detail = "yellow", f"{data['score']}  {data['trigger']}"
            if data["previous_score"] is not None:
                detail += f"  was {data['previous_score']}"
        case "nps.score-changed.v1":
            colour, detail = "green", f"{data['previous_score']} → {data['score']}  {data['change']}"
            if data["days_passive"] is not None:
                detail += f"  after {data['days_passive']:.1f} days"
        case "nps.passive-withdrawn.v1":
            colour, detail = "magenta", f"{data['cause']}"
        case "nps.follow-up-overdue.v1":
            colour, detail = "red", f"{data['score']}  {data['hours_overdue']:.1f} hours  {data['recommended_action']}"
        case _:
            raise LookupError(event_type)
    name = event_type.removeprefix("nps.").removesuffix(".v1")
    who = f"{data['customer_id']}  {data['survey_id']}  "
    return Text.assemble((f"{time}  ", "dim"), (f"{name:<17}  ", colour), who, detail)
