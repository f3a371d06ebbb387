"""`nps dead-letters`: what was refused and why, and another try once the cause is gone."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.choices import DeadLetterReason
from streams.cli.console import JsonFlag, example, plural, say, show, show_json, show_json_line, stderr

ReasonOption = Annotated[DeadLetterReason | None, typer.Option(help="Only dead letters of this reason.")]

dead_letters_app = typer.Typer(
    no_args_is_help=True,
    help="Show records that were no responses, and try them again.",
    epilog=example("nps dead-letters list", "nps dead-letters replay --dry-run"),
)


FollowUpsFlag = Annotated[bool, typer.Option("--follow-ups", help="Those of follow-ups, in place of responses.")]


@dead_letters_app.command(
    "list", epilog=example("nps dead-letters list --limit 10", "nps dead-letters list --reason invalid_json --json")
)
def list_(
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many, the newest.")] = 50,
    follow_ups: FollowUpsFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """List dead letters, oldest first: when, from where, why. Their content is not shown.

    With --json each line is one dead letter.
    """
    import asyncio

    from rich.table import Table
    from rich.text import Text

    from streams.cli.dead_letters import newest
    from streams.settings import Settings

    found, total = asyncio.run(newest(Settings.from_environment(), reason, limit, follow_ups=follow_ups))
    if as_json:
        for letter in found:
            show_json_line(letter.as_json())
    elif found:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("Time", "Reason", "From", "Message"):
            table.add_column(name, no_wrap=name != "Message")
        for letter in found:
            source = f"{letter.source_topic}-{letter.source_partition} @ {letter.source_offset}"
            table.add_row(letter.time, letter.reason, Text(source), Text(letter.message))
        show(table)
    shown = f", the newest {len(found):,} shown" if total > len(found) else ""
    say(f"{plural(total, 'dead letter')}{f' ({reason})' if reason else ''}{shown}")


@dead_letters_app.command(
    "replay", epilog=example("nps dead-letters replay --dry-run", "nps dead-letters replay --reason from_future")
)
def replay(
    reason: ReasonOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be published again.")] = False,
    follow_ups: FollowUpsFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Publish dead letters again, each once: the original key, value and headers, at the present time.

    Where a replay ended, the next begins, for each reason apart; the consumer group <group>-dead-letter-replay keeps
    the place. After a crash some may be published twice, which changes nothing: they are recognised by their ids. One
    that is refused again is a new dead letter. What is too_large or has no key stays so and is left out.
    """
    import asyncio

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from streams.cli.dead_letters import replay
    from streams.settings import Settings

    if reason is DeadLetterReason.TOO_LARGE:
        raise typer.BadParameter("what is too_large stays too large: publishing it again cannot help")
    if reason is DeadLetterReason.UNKNOWN_CASE and not follow_ups:
        raise typer.BadParameter("unknown_case is a reason of follow-ups: add --follow-ups")
    settings = Settings.from_environment()
    console = stderr()
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("replay", total=None)
        replayed = asyncio.run(
            replay(
                settings,
                reason,
                dry_run,
                lambda done, total: progress.update(task, completed=done, total=total),
                follow_ups=follow_ups,
            )
        )
    count = sum(replayed.values())
    if as_json:
        show_json({"replayed": 0 if dry_run else count, "found": count, "reasons": dict(sorted(replayed.items()))})
    reasons = f" ({', '.join(f'{name} {number:,}' for name, number in sorted(replayed.items()))})" if count else ""
    say(f"{plural(count, 'dead letter')} {'would be published' if dry_run else 'published'} again{reasons}")
