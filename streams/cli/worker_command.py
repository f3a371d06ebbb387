"""`nps worker`: process responses."""

from __future__ import annotations


def worker() -> None:
    """Run a worker: it takes its share of the partitions, processes responses, and answers HTTP, until SIGTERM.

    Run as many as there are partitions, at most; give each its own NPS_STATE_DIR and, on one machine, NPS_HTTP_PORT.
    """
    from streams.settings import Settings

    settings = Settings.from_environment()  # before the rest is imported: a wrong setting is said at once
    from streams.app import run_worker

    run_worker(settings)
