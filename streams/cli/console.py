"""How commands speak: data on stdout (tables for people, JSON for programs), everything else on stderr.

Kept light: it is imported before the command is known. Whatever takes time to import is imported inside commands.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from typing import TextIO

    from rich.console import Console, RenderableType

WIDE = 100_000
"""Columns of an output that is no terminal: nothing is wrapped or cut when it goes into a pipe or a file."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


class Failure(Exception):
    """What was asked for cannot be done; the sentence says why and, where it can, what to do. Exit code 1."""


def example(*commands: str) -> str:
    """The examples at the end of a command's help."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"[cyan]{command}[/cyan]" for command in commands)])


def stdout() -> Console:
    """For tables."""
    from rich.console import Console

    return Console(highlight=False, width=_width(sys.stdout))


def stderr() -> Console:
    """For progress and remarks."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, width=_width(sys.stderr))


def _width(stream: TextIO | None) -> int | None:
    """None: the terminal's. (A stream that the shell has closed is None.)"""
    return None if stream is not None and stream.isatty() else WIDE


def show(what: RenderableType) -> None:
    """Print a table or other renderable as data."""
    stdout().print(what)


def show_json(value: Any) -> None:
    """Print one JSON document, indented: it is read by people and programs alike."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def show_json_line(value: Any) -> None:
    """Print one JSON document as a line of a stream of them."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def say(sentence: str) -> None:
    """Tell the person, not the pipe."""
    typer.echo(sentence, err=True)


def complain(sentences: Iterable[str]) -> None:
    """Say why the command failed."""
    for sentence in sentences:
        typer.echo(f"nps: {sentence}", err=True)


def plural(count: int, one: str, many: str = "") -> str:
    """`1 record`, `2,000 records`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
