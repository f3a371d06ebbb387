"""`nps settings`: every setting as it is now, for people, programs and the README."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from streams.cli.console import JsonFlag, show, show_json

if TYPE_CHECKING:
    from streams.settings import Settings

HIDDEN = "********"

MarkdownFlag = Annotated[bool, typer.Option("--markdown", help="Print a Markdown table of names and defaults.")]


class Row(NamedTuple):
    """One setting in text, as it would stand in the environment."""

    name: str
    value: str
    default: str
    unit: str
    description: str
    source: str
    """`environment` or `default`."""


def settings(as_json: JsonFlag = False, as_markdown: MarkdownFlag = False) -> None:
    """List every setting: its value now, where that comes from, its unit and meaning.

    Settings are environment variables. A wrong or unknown one is reported here as at the start of a worker.
    Secrets are never shown.
    """
    from streams.settings import Settings

    if as_json and as_markdown:
        raise typer.BadParameter("--json and --markdown exclude each other")
    if as_markdown:
        typer.echo(markdown(rows(Settings.model_construct())))
        return
    listed = rows(Settings.from_environment())
    if as_json:
        show_json([row._asdict() for row in listed])
        return
    from rich.table import Table

    table = Table("Setting", "Value", "Unit", "Meaning", box=None, pad_edge=False)
    for row in listed:
        changed = row.source == "environment"
        value = f"[bold green]{_escape(row.value)}[/]" if changed else _escape(row.value) or "[dim]not set[/]"
        table.add_row(row.name, value, row.unit, _escape(row.description))
    show(table)


def rows(current: Settings) -> list[Row]:
    """Every setting, in the order of the class."""
    return [
        Row(
            name=f"NPS_{name.upper()}",
            value=text(getattr(current, name)),
            default=text(field.default),
            unit=str(field.json_schema_extra["unit"]) if isinstance(field.json_schema_extra, dict) else "",
            description=field.description or "",
            source="environment" if name in current.model_fields_set else "default",
        )
        for name, field in type(current).model_fields.items()
    ]


def markdown(listed: list[Row]) -> str:
    """The table of the README: names, defaults, units and meanings, nothing of this machine."""
    lines = ["| setting | default | unit | meaning |", "|---|---|---|---|"]
    for row in listed:
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.name}` | {default} | {row.unit} | {row.description.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def text(value: object) -> str:
    """A value as it would stand in the environment; a secret hidden."""
    from pydantic import SecretStr

    from streams.rules.windows import Window

    match value:
        case None:
            return ""
        case SecretStr():
            return HIDDEN
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case Window():
            return value.name
        case frozenset():
            return ",".join(sorted(value))
        case tuple():
            return ",".join("+".join(part) if type(part) is tuple else text(part) for part in value)
        case _:
            return str(value)


def _escape(plain: str) -> str:
    from rich.markup import escape

    return escape(plain)
