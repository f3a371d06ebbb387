"""Every command, wired. Modules named here are light; each imports what it works with when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.broker_command import broker_app
from streams.cli.console import example
from streams.cli.errors import Commands
from streams.cli.settings_command import settings

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("nps demo", "nps publish responses.ndjson", "nps scores --segment country=NO"),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"nps-streams {version('nps-streams')}")
        raise typer.Exit


@app.callback()
def nps(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Net Promoter Score on Apache Kafka: rolling scores, passive customers found, conversions seen; exactly once.

    Settings come from NPS_… environment variables (nps settings lists them).
    """


app.command("settings", epilog=example("nps settings", "NPS_WINDOWS=1d,7d nps settings --json", "nps settings --markdown"))(settings)
app.add_typer(broker_app, name="broker")
