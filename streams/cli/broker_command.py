"""`nps broker`: a real single-node Apache Kafka for development, on loopback, that runs on after the command ends."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.console import Failure, JsonFlag, example, say, show_json

if TYPE_CHECKING:
    from streams.broker import RunningBroker

DEFAULT_PORT = 9092

DataDir = Annotated[
    Path, typer.Option("--data-dir", help="Directory of the broker's data and log.", file_okay=False, resolve_path=True)
]
DEFAULT_DATA_DIR = Path(".nps/broker")

broker_app = typer.Typer(
    no_args_is_help=True,
    help="Run a real single-node Apache Kafka (KRaft), for development, on this machine only.",
    epilog=example("nps broker start", "nps broker status --json", "nps broker stop"),
)


@broker_app.command(epilog=example("nps broker start", "nps broker start --port 19092 --data-dir /var/tmp/kafka"))
def start(
    port: Annotated[int, typer.Option(help="Loopback port to listen on.", min=1, max=65_535)] = DEFAULT_PORT,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Start the broker in the background; the first time Kafka is fetched. Data of an earlier start is kept."""
    from streams.broker import Broker, find_broker
    from streams.cli.stopping import interruptible

    running = find_broker(data_dir)
    if running is not None:
        if running.bootstrap_servers.endswith(f":{port}"):
            say(f"The broker runs already: {running.bootstrap_servers}, pid {running.pid}.")
            return
        ends = "nps broker stop"
        if data_dir != DEFAULT_DATA_DIR.resolve():
            ends += f" --data-dir {shlex.quote(str(data_dir))}"
        raise Failure(f"a broker runs in {data_dir} already, on {running.bootstrap_servers}: {ends} ends it")
    broker = Broker(data_dir, port=port, detached=True)
    with interruptible():  # while nobody can find it yet
        broker.start()
    say(f"Apache Kafka is up on {broker.bootstrap_servers} (pid {broker.pid}, log {broker.log_file}).")
    if port != DEFAULT_PORT:
        say(f"Tell the other commands: export NPS_BOOTSTRAP_SERVERS={broker.bootstrap_servers}")


@broker_app.command(epilog=example("nps broker stop"))
def stop(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Stop the broker that was started in this data directory; its data stays."""
    from streams.broker import stop_broker

    stopped = stop_broker(data_dir)
    say(f"No broker runs in {data_dir}." if stopped is None else f"The broker is stopped (pid {stopped.pid}).")


@broker_app.command(epilog=example("nps broker status", "nps broker status --json"))
def status(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: JsonFlag = False) -> None:
    """Say whether the broker runs, and where; exit code 1 when it does not."""
    from streams.broker import find_broker

    running = find_broker(data_dir)
    if as_json:
        show_json({"running": False} if running is None else {"running": True} | _facts(running))
    elif running is None:
        say(f"No broker runs in {data_dir}; nps broker start starts one.")
    else:
        for name, value in _facts(running).items():
            typer.echo(f"{name.replace('_', ' '):<18} {value}")
    if running is None:
        raise typer.Exit(1)


def _facts(running: RunningBroker) -> dict[str, object]:
    facts = asdict(running)
    started_at_s = facts.pop("started_at_s")
    return facts | {"uptime_s": round(time.time() - started_at_s)}
