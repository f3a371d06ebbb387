"""Commands of `nps` in this process, and the settings of a test's own topics."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from streams.broker import Broker
from streams.cli.application import app


def settings_of(broker: Broker, group_id: str, prefix: str, partitions: int) -> dict[str, str]:
    """Return what a command is told by its environment; the topics need not exist."""
    return {
        "NPS_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "NPS_GROUP_ID": group_id,
        "NPS_TOPIC_PREFIX": prefix,
        "NPS_PARTITIONS": str(partitions),
    }


def with_topics(settings: dict[str, str]) -> dict[str, str]:
    """Return the same settings, once the topics are there."""
    assert run(settings, "topics", "--create").exit_code == 0
    return settings


def run(environment: dict[str, str], *arguments: str) -> Result:
    """Run a command line."""
    return CliRunner().invoke(app, list(arguments), env=environment)
