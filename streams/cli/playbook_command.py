"""`nps playbook`: what is recommended for which passive customer, and what to ask."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.console import JsonFlag, show, show_json

LanguageOption = Annotated[
    str | None,
    typer.Option("--language", metavar="TAG", help="Only the question that a customer with this language is asked."),
]
TomlFlag = Annotated[bool, typer.Option("--toml", help="Print the default playbook's file, to begin one's own with.")]


def playbook(language: LanguageOption = None, as_json: JsonFlag = False, as_toml: TomlFlag = False) -> None:
    """Show the playbook: by why a customer is passive, what is recommended for a 7 and an 8, and what to ask.

    It is the one in NPS_PLAYBOOK_FILE, or the default. Events carry the action and the question.
    """
    from importlib.resources import files

    from schemas.playbook import REASONS
    from streams.settings import Settings

    if as_toml:
        if as_json or language is not None:
            raise typer.BadParameter("--toml prints the default as it is; leave the other options out")
        typer.echo(files("schemas").joinpath("playbook.toml").read_text(encoding="utf-8"), nl=False)
        return
    known = Settings.from_environment().playbook()
    listed = [
        {
            "reason": reason,
            "recommended_action_7": known.recommended_action(reason, 7),
            "recommended_action_8": known.recommended_action(reason, 8),
            "follow_up_question": (
                known.questions[reason] if language is None else known.follow_up_question(reason, language)
            ),
        }
        for reason in REASONS
    ]
    if as_json:
        show_json(listed)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("Reason", "For a 7", "For an 8", "What to ask", box=None, pad_edge=False, header_style="bold")
    for row in listed:
        asked = row["follow_up_question"]
        text = asked if isinstance(asked, str) else "\n".join(f"{tag}: {each}" for tag, each in sorted(asked.items()))
        table.add_row(
            str(row["reason"]), str(row["recommended_action_7"]), str(row["recommended_action_8"]), Text(text)
        )
    show(table)
