"""What every process that Prometheus reads has in common."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder


def tell_of_process(registry: CollectorRegistry) -> None:
    """Add the metrics of the process itself."""
    # Else each counter brings a second series that nothing reads. The switch is the process's.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)


def encoder_for(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """Return what encodes a registry as an Accept header prefers, and the content type."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # the header names a version that is none
        return choose_encoder("")
