"""What a real Prometheus answers to the queries of panels, as Grafana would ask them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tests.support.dashboards import PanelQuery
from tests.support.prometheus_server import PrometheusServer, Series


@dataclass(frozen=True)
class View:
    """A dashboard, looked at at an instant, with a time range that ends there."""

    prometheus: PrometheusServer
    began_s: float
    ended_s: float
    interval_s: float
    """Between two scrapes, and two points of a curve."""
    chosen: Mapping[str, str]
    """At the top of the dashboard: variable → value."""

    def ask(self, query: PanelQuery, **others: str) -> list[Series]:
        """What the query finds; `others` are chosen instead."""
        steps = math.ceil((self.ended_s - self.began_s) / self.interval_s)
        values = {
            **self.chosen,
            "__rate_interval": f"{10 * self.interval_s:.0f}s",
            "__range": f"{math.ceil(self.ended_s - self.began_s)}s",
            **others,
        }
        promql = query.with_variables(values)
        if query.instant:
            return self.prometheus.query(promql, self.ended_s)
        # The last step is the end itself.
        began_s = self.ended_s - steps * self.interval_s
        return self.prometheus.query_range(promql, began_s, self.ended_s, self.interval_s)


def assert_shows_something(query: PanelQuery, found: list[Series]) -> None:
    """There is data, with the labels that the legend names."""
    assert found
    for label in (part.partition("}}")[0] for part in query.legend.split("{{")[1:]):
        assert all(series.labels.get(label) for series in found), f"no {label} for the legend"
    # Quantiles and shares of nothing are NaN as long as nothing has happened.
    assert all(not math.isnan(series.value) for series in found) or (
        not query.instant and any(not math.isnan(value) for series in found for _, value in series.samples)
    )
