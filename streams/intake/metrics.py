"""What `nps intake` tells Prometheus."""

from __future__ import annotations

import asyncio
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
)

from schemas.intake import DOORS
from streams.exposition import encoder_for, tell_of_process

STATUSES: Final = (202, 401, 408, 413, 415, 422, 429, 500, 503, 504)
"""Of the answers that are counted, from 0 on."""
RESULTS: Final = ("accepted", "refused")
SECONDS_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """All of them, on a registry of its own."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self._registry = registry
        tell_of_process(registry)
        Info("nps_build", "The release that runs.", registry=registry).info({"version": version})
        self._records = Counter(
            "nps_intake_records_total",
            "Records that were sent, by what became of them.",
            ["path", "result"],
            registry=registry,
        )
        self._requests = Counter(
            "nps_intake_requests_total",
            "Requests, by the status of the answer.",
            ["path", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "nps_intake_seconds",
            "From a request to its answer, Kafka's acknowledgement included.",
            ["path"],
            buckets=SECONDS_BOUNDS,
            registry=registry,
        )
        for door in DOORS:
            for result in RESULTS:
                self._records.labels(door.path, result)
            for status in STATUSES:
                self._requests.labels(door.path, str(status))
            self._seconds.labels(door.path)

    def records(self, path: str, result: str, count: int) -> None:
        """Count records that were acknowledged (`accepted`), or broke a rule (`refused`)."""
        self._records.labels(path, result).inc(count)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its content type, as an Accept header prefers."""
        encode, content_type = encoder_for(accept)
        return await asyncio.to_thread(encode, self._registry), content_type
