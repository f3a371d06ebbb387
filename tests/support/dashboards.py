"""The committed dashboards as Grafana reads them: panels, their queries, what it puts in place of variables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

DIRECTORY = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"

Json = dict[str, Any]


class PanelQuery(NamedTuple):
    """One query of a panel, variables not yet replaced."""

    panel: str
    legend: str
    promql: str
    instant: bool
    """Asked for one moment; else for the time range."""

    def with_variables(self, values: Mapping[str, str]) -> str:
        """The PromQL that is sent; KeyError names a variable that has no value."""
        return re.sub(r"\$\{?(\w+)\}?", lambda found: values[found[1]], self.promql)


def dashboards() -> dict[str, Json]:
    """uid → dashboard, of every file."""
    loaded: list[Json] = [json.loads(path.read_text("utf-8")) for path in sorted(DIRECTORY.glob("*.json"))]
    return {dashboard["uid"]: dashboard for dashboard in loaded}


def panels(dashboard: Json) -> list[Json]:
    """Its panels, rows left out."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard: Json) -> list[PanelQuery]:
    """Every query of every panel."""
    return [
        PanelQuery(panel["title"], target["legendFormat"], target["expr"], bool(target.get("instant")))
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def variables(dashboard: Json) -> dict[str, Json]:
    """Name → variable."""
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}
