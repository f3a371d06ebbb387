"""Every command, wired. Modules named here are light; each imports what it works with when it runs."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from streams.cli.broker_command import broker_app
from streams.cli.console import example
from streams.cli.conversions_command import conversions
from streams.cli.dead_letters_command import dead_letters_app
from streams.cli.demo_command import demo
from streams.cli.doctor_command import doctor
from streams.cli.errors import Commands
from streams.cli.events_command import events
from streams.cli.intake_command import intake
from streams.cli.playbook_command import playbook
from streams.cli.publish_command import publish
from streams.cli.repartition_command import repartition
from streams.cli.schemas_command import schemas
from streams.cli.scores_command import scores
from streams.cli.settings_command import settings
from streams.cli.simulate_command import simulate
from streams.cli.topics_command import topics
from streams.cli.webhooks_command import webhooks_app
from streams.cli.worker_command import worker

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


app.command(epilog=example("nps worker", "nps worker --processes 4"))(worker)
app.add_typer(broker_app, name="broker")
app.command(epilog=example("nps topics", "nps topics --create", "nps topics --json"))(topics)
app.command(
    epilog=example(
        "nps publish responses.ndjson",
        "nps publish export.csv --refused refused.ndjson",
        "zcat 2024.ndjson.gz | nps publish - --record-time responded-at",
    )
)(publish)
app.command(epilog=example("nps simulate --rate 50", "nps simulate --days 90 --responses 100000 --seed 7"))(simulate)
app.command(epilog=example("nps demo"))(demo)
app.command(epilog=example("nps scores", "nps scores --survey relationship --segment country=NO --watch"))(scores)
app.command(epilog=example("nps conversions", "nps conversions --survey relationship --window 90d --by reason,action"))(
    conversions
)
app.command(
    epilog=example("nps events", "nps events --type score-changed --from-beginning --no-follow --json > changes.ndjson")
)(events)
app.add_typer(dead_letters_app, name="dead-letters")
app.command(
    epilog=example("NPS_TOPIC_PREFIX=nps2. nps repartition --from-prefix nps. --follow"),
)(repartition)
app.add_typer(webhooks_app, name="webhooks")
app.command(epilog=example("NPS_INTAKE_TOKENS=$(cat token) NPS_HTTP_PORT=6068 nps intake"))(intake)
app.command(epilog=example("nps playbook", "nps playbook --language nb-NO", "nps playbook --toml > playbook.toml"))(
    playbook
)
app.command(epilog=example("nps schemas", "nps schemas response.v1", "nps schemas asyncapi > asyncapi.yaml"))(schemas)
app.command(epilog=example("nps settings", "NPS_WINDOWS=1d,7d nps settings --json", "nps settings --markdown"))(
    settings
)
app.command(epilog=example("nps doctor", "nps doctor --json"))(doctor)


def _let_help_flow(group: typer.Typer) -> None:
    """Join the lines of each paragraph of help: Typer would keep the line ends of the docstrings."""
    for command in group.registered_commands:
        if command.callback is not None:
            paragraphs = inspect.cleandoc(command.callback.__doc__ or "").split("\n\n")
            command.help = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
    for each in group.registered_groups:
        if each.typer_instance is not None:
            _let_help_flow(each.typer_instance)


_let_help_flow(app)
