"""A set of topics, a receiver, and `nps webhooks` between them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from schemas.topics import Topics
from streams.broker import Broker, free_port
from tests.support.kafka_reading import committed_offsets, end_offsets, read_records
from tests.webhooks.events import Publisher, WebhooksProcess, environment, write_config
from tests.webhooks.receiver import Receiver, Request


@dataclass
class Scene:
    """A set of topics, a receiver, and the process between them."""

    broker: Broker
    prefix: str
    receiver: Receiver
    folder: Path
    publisher: Publisher

    def path(self, name: str) -> str:
        """Where an endpoint listens: a test's own place at the shared receiver."""
        return f"/{self.prefix}{name}"

    def settings(self, *names: str, more: str = "", **settings: str) -> dict[str, str]:
        config = write_config(self.folder, {name: self.receiver.url(self.path(name)) for name in names}, more)
        return environment(self.broker.bootstrap_servers, self.prefix, free_port(), config, **settings)

    def process(self, *names: str, more: str = "", module: str = "streams.cli", **settings: str) -> WebhooksProcess:
        return WebhooksProcess(self.settings(*names, more=more, **settings), self.folder / "webhooks.log", module)

    def dead_letters(self) -> list[dict[str, str]]:
        """Headers of all dead letters, the last of a name."""
        records = read_records(self.broker.bootstrap_servers, Topics(self.prefix).webhook_dead_letter)
        return [{name: value.decode() for name, value in record.headers if value is not None} for record in records]

    def lag(self, endpoint: str) -> int:
        """Events that are not committed for an endpoint."""
        lag = 0
        for topic in Topics(self.prefix).events:
            ends = end_offsets(self.broker.bootstrap_servers, topic)
            group = f"{self.prefix.rstrip('.')}-webhooks-{endpoint}"
            at = committed_offsets(self.broker.bootstrap_servers, group, topic)
            lag += sum(end - (at[partition] or 0) for partition, end in ends.items())
        return lag


def until(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def numbers(taken: list[Request]) -> dict[str, list[int]]:
    """Customer → the numbers of the events, in the order in which they were taken, each the first time."""
    seen: set[str] = set()
    found: dict[str, list[int]] = defaultdict(list)
    for request in taken:
        if request.id not in seen:
            seen.add(request.id)
            found[request.data["customer_id"]].append(request.data["number"])
    return dict(found)
