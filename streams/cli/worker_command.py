"""`nps worker`: process responses."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.errors import explain, refuse


def worker(
    processes: Annotated[
        int,
        typer.Option(
            "--processes",
            "-p",
            min=1,
            max=256,
            metavar="N",
            help="Run so many workers under one parent, with state in NPS_STATE_DIR/worker-0 and so on, HTTP on "
            "NPS_HTTP_PORT and the ports after it. One that ends is started again.",
        ),
    ] = 1,
) -> None:
    """Run a worker: it takes its share of the partitions, processes responses, and answers HTTP, until SIGTERM.

    A worker uses one core: run as many as there are cores (--processes), on as many machines as you like, up to one
    worker for each partition. Each has its own NPS_STATE_DIR and, on one machine, NPS_HTTP_PORT.
    """
    from streams.settings import Settings

    settings = Settings.from_environment()  # before the rest is imported: a wrong setting is said at once
    if processes > 1:
        from streams.cli.workers import run_workers

        raise typer.Exit(run_workers(settings, processes))
    from streams.app import run_worker

    try:
        run_worker(settings)
    except Exception as error:
        sentences = explain(error)
        if sentences is None:
            raise
        refuse(settings.log_format, sentences)
        raise typer.Exit(1) from None
