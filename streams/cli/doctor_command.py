"""`nps doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

import typer

from streams.cli.console import JsonFlag, plural, say, show, show_json

COLOURS = {"ok": "green", "info": "dim", "warn": "yellow", "fail": "bold red"}


def doctor(as_json: JsonFlag = False) -> None:
    """Check everything that can be checked from here, and say what to do: settings, broker, topics, publishers'
    partitioner, group and lag, clocks, state directory.

    Exit code 1 when a check failed; a warning alone does not fail. Looking changes nothing.
    """
    import asyncio

    from rich.table import Table
    from rich.text import Text

    from streams.cli.doctor import Verdict, examine

    findings = asyncio.run(examine())
    failed = sum(finding.verdict is Verdict.FAIL for finding in findings)
    warned = sum(finding.verdict is Verdict.WARN for finding in findings)
    if as_json:
        show_json([finding._asdict() for finding in findings])
    else:
        table = Table("Check", "", "Found", box=None, pad_edge=False, header_style="bold")
        for finding in findings:
            found = Text(finding.found)
            if finding.advice:
                found.append(f"\n→ {finding.advice}", style="cyan")
            table.add_row(finding.check, Text(finding.verdict, style=COLOURS[finding.verdict]), found)
        show(table)
    say("everything is fine" if not failed and not warned else f"{failed} failed, {plural(warned, 'warning')}")
    if failed:
        raise typer.Exit(1)
