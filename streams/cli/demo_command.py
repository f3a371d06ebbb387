"""`nps demo`: a real Kafka, a worker and an hour of simulated survey life, sped up, on this machine alone."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from streams.cli.console import Failure

DEFAULT_SECONDS = 75


def demo(
    seconds: Annotated[
        int, typer.Option(min=10, max=3_600, help="How long the show goes on once everything runs.")
    ] = DEFAULT_SECONDS,
    seed: Annotated[int, typer.Option(help="The same seed has the same customers.")] = 1,
    partitions: Annotated[int, typer.Option(min=1, max=64, help="Partitions of the topics.")] = 4,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Port of the worker's HTTP. [default: a free one]")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines instead of a live table; so it is where stdout is no terminal.")
    ] = False,
) -> None:
    """Show the whole processor at work: twelve weeks of survey history, then an hour of life in about a minute.

    Starts a real Apache Kafka and a worker on free loopback ports in a temporary directory, feeds them, and shows what
    they make of it: scores with intervals, passives found and converted, dead letters. In the end it compares what was
    published with what was counted. It ends by itself or with Ctrl-C and leaves nothing behind. Needs Java and Maven.

    NPS_… settings are not used.
    """
    from streams.broker import broker_problem
    from streams.cli.demo_show import Options, run

    problem = broker_problem()
    if problem is not None:
        raise Failure(problem)
    if not run(Options(seconds, seed, partitions, port, plain or not sys.stdout.isatty())):
        raise typer.Exit(1)
