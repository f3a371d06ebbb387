"""`nps repartition`: responses and follow-ups to topics with another number of partitions."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.console import JsonFlag, plural, say, show_json, stderr


def repartition(
    from_prefix: Annotated[str, typer.Option("--from-prefix", metavar="PREFIX", help="Prefix of the present topics.")],
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what arrives, until Ctrl-C; otherwise up to what is there now.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Copy all responses and follow-ups to the topics of NPS_TOPIC_PREFIX, which have another number of partitions.

    Partitions cannot be added to topics that hold responses: customers would be parted from their histories. So new
    topics are made (nps topics --create), filled with this, and read by new workers, which come to the same scores
    and to the same events under the same ids. docs/operations.md has all the steps, and what of cases is not the same.

    Key, value, headers and record time stay. Each record is copied once, however often this is stopped and started
    again: the consumer group <group>-repartition keeps the place.
    """
    import asyncio

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from schemas.topics import Topics
    from streams.cli.repartitioning import copy
    from streams.cli.stopping import ended_by, stop_on_signals
    from streams.settings import Settings

    settings = Settings.from_environment()
    console = stderr()
    columns = (TextColumn("responses and follow-ups"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("copy", total=None)

        def on_progress(copied: int, left: int) -> None:
            progress.update(task, completed=copied, total=copied + left)

        async def run() -> int:
            with stop_on_signals() as stop:
                return await ended_by(stop, copy(settings, from_prefix, follow, stop, on_progress))

        copied = asyncio.run(run())
    if as_json:
        show_json({"copied": copied})
    present, wanted = (" and ".join(Topics(prefix).inputs) for prefix in (from_prefix, settings.topic_prefix))
    say(f"{plural(copied, 'record')} copied from {present} to {wanted}")
