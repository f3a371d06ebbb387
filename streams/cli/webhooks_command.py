"""`nps webhooks`: events to a CRM without Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.console import Failure, JsonFlag, example, plural, say, show, show_json

if TYPE_CHECKING:
    from streams.webhooks.config import Endpoint

EndpointArgument = Annotated[str, typer.Argument(metavar="ENDPOINT", help="An endpoint's name in NPS_WEBHOOKS_FILE.")]

webhooks_app = typer.Typer(
    help="Deliver events over HTTP, signed as Standard Webhooks says. Without a command: run.",
    epilog=example("nps webhooks list", "nps webhooks test hubspot", "nps webhooks run"),
)


@webhooks_app.callback(invoke_without_command=True)
def webhooks(context: typer.Context) -> None:
    """Run where no command is named."""
    if context.invoked_subcommand is None:
        run()


@webhooks_app.command("run", epilog=example("NPS_WEBHOOKS_FILE=webhooks.toml nps webhooks run"))
def run() -> None:
    """Deliver events to every endpoint in NPS_WEBHOOKS_FILE, until SIGTERM.

    Each endpoint has a consumer group of its own, <group>-webhooks-<endpoint>: none waits for another. Start it on
    several machines and they share the work. Metrics are at NPS_HTTP_PORT (on a worker's machine choose another).
    """
    from streams.settings import Settings

    settings = Settings.from_environment()
    from streams.webhooks.app import run_webhooks

    raise typer.Exit(run_webhooks(settings))


@webhooks_app.command("list", epilog=example("nps webhooks list", "nps webhooks list --json"))
def list_(as_json: JsonFlag = False) -> None:
    """List the endpoints, having checked the file and the secrets that it names. Secrets are not shown."""
    from rich.table import Table
    from rich.text import Text

    rows = [
        {
            "endpoint": endpoint.name,
            "host": endpoint.host,
            "types": sorted(endpoint.filter.types or ()),
            "surveys": sorted(endpoint.filter.surveys or ()),
            "segments": {name.removeprefix("segment_"): sorted(held) for name, held in endpoint.filter.segments},
            "secrets": len(endpoint.secrets),
            "start": endpoint.start,
        }
        for endpoint in _endpoints()
    ]
    if as_json:
        show_json(rows)
        return
    table = Table("Endpoint", "Host", "Types", "Surveys", "Segments", "Secrets", box=None, pad_edge=False)
    for row in rows:
        segments = [f"{name}={'|'.join(held)}" for name, held in row["segments"].items()]  # type: ignore[attr-defined]
        texts = [row["types"], row["surveys"], segments]
        table.add_row(
            str(row["endpoint"]),
            str(row["host"]),
            *(Text(", ".join(text) if text else "all") for text in texts),  # type: ignore[arg-type]
            str(row["secrets"]),
        )
    show(table)


@webhooks_app.command(
    "test", epilog=example("nps webhooks test hubspot", "nps webhooks test hubspot --type nps.score-changed.v1")
)
def send_sample(
    endpoint: EndpointArgument,
    event_type: Annotated[
        str | None, typer.Option("--type", help="Type of event; the first wanted if not set.")
    ] = None,
) -> None:
    """Send one signed sample to an endpoint and tell its answer. Needs no Kafka.

    The customer, the survey and the response of a sample are called nps-webhooks-test.
    """
    import asyncio

    from schemas.events import EVENT_MODELS
    from streams.settings import Settings
    from streams.webhooks.sample import sample
    from streams.webhooks.sending import Sender, Verdict

    if event_type is not None and event_type not in EVENT_MODELS:
        raise typer.BadParameter(f"{event_type} is no type of event; known are {', '.join(EVENT_MODELS)}")
    settings = Settings.from_environment()
    found = _endpoint(endpoint)
    chosen = event_type or next(name for name in EVENT_MODELS if not found.filter.types or name in found.filter.types)

    async def send() -> None:
        event = sample(chosen)
        async with Sender(found, settings.webhooks_timeout_s, 1) as sender:
            outcome = await sender.send(event)
        if outcome.verdict is not Verdict.DELIVERED:
            raise Failure(f"{endpoint} did not take the sample: {outcome.message}")
        say(f"{endpoint} took the sample: {chosen}, webhook-id {event.id}")

    asyncio.run(send())


@webhooks_app.command("replay", epilog=example("nps webhooks replay hubspot --dry-run", "nps webhooks replay hubspot"))
def replay(
    endpoint: EndpointArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be sent again.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Send the dead letters of an endpoint to it again, each once.

    Where a replay ended, the next begins; the consumer group <group>-webhooks-<endpoint>.replay keeps the place. What
    the endpoint refuses again becomes a new dead letter, and the exit code is 1. If it does not answer, the replay
    stops there (1, too), and what it took before is not sent again.
    """
    import asyncio

    from streams.cli.webhooks_replay import replay
    from streams.settings import Settings

    result = asyncio.run(replay(Settings.from_environment(), _endpoint(endpoint), dry_run))
    if as_json:
        show_json({"found": result.found, "delivered": result.delivered, "refused": result.refused})
    if dry_run:
        say(f"{plural(result.found, 'dead letter')} would be sent again")
    else:
        refused = f", {result.refused:,} refused again" if result.refused else ""
        say(f"{plural(result.delivered, 'dead letter')} delivered{refused}")
    if result.stopped:
        raise Failure(f"the replay stopped: {result.stopped}; start it again when {endpoint} answers")
    if result.refused:
        raise typer.Exit(1)


def _endpoints() -> list[Endpoint]:
    from streams.settings import Settings
    from streams.webhooks.config import read_endpoints

    return read_endpoints(Settings.from_environment())


def _endpoint(name: str) -> Endpoint:
    found = {endpoint.name: endpoint for endpoint in _endpoints()}
    if name not in found:
        raise Failure(f"there is no endpoint {name} in NPS_WEBHOOKS_FILE; there are {', '.join(found)}")
    return found[name]
