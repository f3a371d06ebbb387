"""`nps topics`: the topics as they should be, and as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.console import JsonFlag, show, show_json

if TYPE_CHECKING:
    from streams.cli.topic_check import TopicState
    from streams.settings import Settings


def topics(
    create: Annotated[bool, typer.Option("--create", help="First create those that are missing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the topics: what they hold, partitions, replicas, cleanup, and whether the cluster has them so.

    Topics are created with the partitions of the responses topic, or NPS_PARTITIONS where that is missing too.
    """
    import asyncio

    from rich.table import Table
    from rich.text import Text

    from streams.settings import Settings

    states = asyncio.run(_states(Settings.from_environment(), create))
    if as_json:
        show_json([state.as_json() for state in states])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Topic", "Partitions", "Replicas", "Cleanup", "Status", "Value"):
        table.add_column(
            name, no_wrap=name != "Value", justify="right" if name in {"Partitions", "Replicas"} else "left"
        )
    for state in states:
        colour = "red" if state.problem else "green"
        table.add_row(
            state.spec.name,
            str(state.found.partitions) if state.found else "-",
            str(state.found.replicas) if state.found else "-",
            state.spec.cleanup,
            Text(state.status, style=colour),
            state.spec.value,
        )
    show(table)


async def _states(settings: Settings, create: bool) -> list[TopicState]:
    from schemas.topics import Topics
    from streams.cli import kafka
    from streams.cli.topic_check import topic_states
    from streams.engine.topics import ensure_topic, ensure_topics

    async with kafka.connected(settings, kafka.admin(settings)) as client:
        if create:
            topics, replicas = Topics(settings.topic_prefix), settings.replication_factor
            partitions = await ensure_topics(client, topics, settings.partitions, replicas, create=True)
            for spec in topics.of_webhooks():
                await ensure_topic(client, spec, partitions, replicas, create=True)
        return await topic_states(settings, client, of_webhooks=True)
