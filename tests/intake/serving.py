"""`nps intake` without Kafka: its endpoints on a real socket, and a publisher that remembers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry

from schemas.topics import Topics
from streams.http.server import HttpServer
from streams.intake.endpoints import IntakeEndpoints
from streams.intake.limits import TokenBucket
from streams.intake.metrics import Metrics
from streams.intake.publishing import Record, Unavailable
from tests.support.threads import in_a_thread

TOKEN = "a-token-for-the-crm"
OTHER_TOKEN = "a-token-for-the-survey-tool"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
NDJSON = {**AUTHORIZED, "Content-Type": "application/x-ndjson"}
JSON = {**AUTHORIZED, "Content-Type": "application/json"}


class Published:
    """Takes records, or fails."""

    def __init__(self) -> None:
        self.records: list[tuple[str, Record]] = []
        self.fails = False

    async def publish(self, topic: str, records: Sequence[Record]) -> None:
        if self.fails:
            raise Unavailable("planted")
        self.records += [(topic, record) for record in records]


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Intake:
    """A running one."""

    def __init__(self, rate: float = 1000.0, burst: int = 100_000) -> None:
        self.published = Published()
        self.clock = Clock()
        self.registry = CollectorRegistry()
        self.endpoints = IntakeEndpoints(
            Topics(),
            self.published,
            [TOKEN, OTHER_TOKEN],
            lambda: TokenBucket(rate, burst, self.clock),
            Metrics(self.registry, "0"),
        )
        self.server = HttpServer("127.0.0.1", 0, self.endpoints.to_read(), self.endpoints.to_write())

    @property
    def values(self) -> list[bytes]:
        return [record.value for _, record in self.published.records]


@asynccontextmanager
async def serving(rate: float = 1000.0, burst: int = 100_000) -> AsyncIterator[Intake]:
    intake = Intake(rate, burst)
    await intake.server.start()
    try:
        yield intake
    finally:
        await intake.server.stop()


@contextmanager
def serving_in_a_thread() -> Iterator[Intake]:
    """For clients that block."""
    with in_a_thread(serving(rate=1e6, burst=10_000_000)) as intake:
        yield intake


def response(id_: str = "r-1", **fields: Any) -> dict[str, Any]:
    """One that is taken."""
    given = {"response_id": id_, "customer_id": "c-1", "survey_id": "s", "score": 8}
    return {**given, "responded_at": datetime.now(UTC).isoformat(), **fields}


def lines(*records: dict[str, Any] | bytes) -> bytes:
    return b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in records)
