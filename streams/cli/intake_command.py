"""`nps intake`: records over HTTP, for who has no Kafka."""

from __future__ import annotations

import typer


def intake() -> None:
    """Take survey responses and follow-ups over HTTP and publish them, until SIGTERM.

    POST /v1/responses and /v1/follow-ups take one object (application/json) or one a line (application/x-ndjson), up
    to 1 MiB, with a bearer token of NPS_INTAKE_TOKENS. The answer is 202 once Kafka has acknowledged everything. If a
    record breaks a rule the whole body is refused, with the lines and why. GET /openapi.json describes it for programs.
    On a worker's machine choose another NPS_HTTP_PORT.
    """
    from streams.settings import Settings

    settings = Settings.from_environment()
    from streams.intake.app import run_intake

    raise typer.Exit(run_intake(settings))
