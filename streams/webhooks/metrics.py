"""What `nps webhooks` tells Prometheus, by endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.exposition import encoder_for, tell_of_process

RESULTS: Final = ("delivered", "retried", "dead_lettered", "gone")
"""What an attempt led to; `retried`: it failed and is made again later."""
SECONDS_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class EndpointState:
    """An endpoint at the moment of a scrape."""

    name: str
    pending: int
    """Events read for it and neither delivered nor dead-lettered."""
    lag_records: int
    """Records of the event topics, of the partitions owned here, that are not committed for it."""
    disabled: bool
    heard_at_s: float
    """When Kafka last told where the endpoint's topics end (epoch), the group having given us a share; or the start."""


class EndpointMetrics:
    """Of one endpoint."""

    def __init__(self, deliveries: Counter, seconds: Histogram, deleted: Counter, name: str) -> None:
        self._results = {result: deliveries.labels(name, result) for result in RESULTS}
        self._seconds = seconds.labels(name)
        self._deleted = deleted.labels(name)

    def ended(self, result: str) -> None:
        """Count what an attempt led to."""
        self._results[result].inc()

    def took(self, seconds: float) -> None:
        """Count the time from the beginning of a request to its answer, or to its failure."""
        self._seconds.observe(seconds)

    def deleted(self, records: int) -> None:
        """Count records that Kafka deleted before they were brought to an end."""
        self._deleted.inc(records)


class Metrics:
    """All of them, on a registry of its own."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self._registry = registry
        tell_of_process(registry)
        self._deliveries = Counter(
            "nps_webhook_deliveries_total",
            "Attempts to deliver an event, by what they led to.",
            ["endpoint", "result"],
            registry=registry,
        )
        self._seconds = Histogram(
            "nps_webhook_seconds",
            "Time of an attempt, from the request to the endpoint's answer.",
            ["endpoint"],
            buckets=SECONDS_BOUNDS,
            registry=registry,
        )
        self._deleted = Counter(
            "nps_webhook_deleted_records_total",
            "Records of the event topics that Kafka deleted before they were brought to an end, by their offsets.",
            ["endpoint"],
            registry=registry,
        )
        self._current = _Current(registry, version)

    def endpoint(self, name: str) -> EndpointMetrics:
        """Return those of an endpoint, which are at 0 from then on."""
        return EndpointMetrics(self._deliveries, self._seconds, self._deleted, name)

    def attach(self, states: Callable[[], Iterable[EndpointState]]) -> None:
        """Let scrapes ask for the endpoints as they are."""
        self._current.states = states

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its content type, as an Accept header prefers."""
        encode, content_type = encoder_for(accept)
        self._current.look()
        return await asyncio.to_thread(encode, self._registry), content_type


class _Current(Collector):
    """Gauges made at each scrape."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self.states: Callable[[], Iterable[EndpointState]] = list
        self._seen: list[EndpointState] = []
        self._version = version
        registry.register(self)

    def look(self) -> None:
        """Ask on the event loop's thread: the encoder has another."""
        self._seen = list(self.states())

    def describe(self) -> Iterable[Metric]:
        """Return the families; their samples are of no matter here."""
        return self.collect()

    def collect(self) -> Iterable[Metric]:
        """Return all gauges."""
        yield InfoMetricFamily("nps_build", "The release that runs.", {"version": self._version})
        pending = GaugeMetricFamily(
            "nps_webhook_pending", "Events held for the endpoint until they are delivered.", labels=["endpoint"]
        )
        lag = GaugeMetricFamily(
            "nps_webhook_lag_records",
            "Records of the event topics that are not yet committed for the endpoint, of the partitions owned here.",
            labels=["endpoint"],
        )
        disabled = GaugeMetricFamily(
            "nps_webhook_disabled", "1 once the endpoint has answered 410 (gone), else 0.", labels=["endpoint"]
        )
        heard = GaugeMetricFamily(
            "nps_webhook_heard_timestamp_seconds",
            "When Kafka last answered for the endpoint, as a member of its group; before that, when the process began.",
            labels=["endpoint"],
        )
        for state in self._seen:
            pending.add_metric([state.name], state.pending)
            lag.add_metric([state.name], state.lag_records)
            disabled.add_metric([state.name], int(state.disabled))
            heard.add_metric([state.name], state.heard_at_s)
        yield from (pending, lag, disabled, heard)
