"""The variables at the top of the dashboards. Queries name them as `$job`, `$survey`, …"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.panels import DATASOURCE

DEPLOYMENT: Final = 'job="$job", namespace="$namespace"'
"""Selects the workers of one deployment."""
OF_WORKERS: Final = "nps_partitions"
"""What every worker exports, and neither webhooks nor the intake do."""
WEBHOOKS: Final = 'job="$webhooks_job", namespace="$namespace"'
"""Selects every `nps webhooks` of one deployment."""
OF_WEBHOOKS: Final = "nps_webhook_pending"
"""What every `nps webhooks` exports, and nobody else."""
INTAKE: Final = 'job="$intake_job", namespace="$namespace"'
"""Selects every `nps intake` of one deployment."""
OF_INTAKE: Final = "nps_intake_requests_total"
"""What every `nps intake` exports, and nobody else."""


def _option(value: str, text: str | None = None) -> models.VariableOption:
    return models.VariableOption(selected=True, text=text or value, value=value)


def datasource() -> dashboard.DatasourceVariable:
    """Which Prometheus; `prometheus` is the uid that provisioning gives it."""
    return (
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(_option("prometheus", "Prometheus"))
    )


def of_label(name: str, label: str, title: str, metric: str, description: str) -> dashboard.QueryVariable:
    """The values that a label of a metric has, looked up whenever the time range changes."""
    variable = dashboard.QueryVariable(name).label(title).description(description).datasource(DATASOURCE)
    variable.query(f"label_values({metric}, {label})").refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return variable.sort(models.VariableSort.ALPHABETICAL_ASC)


def _several(variable: dashboard.QueryVariable, all_value: str) -> dashboard.QueryVariable:
    """Of the values several may be chosen, and all are at first."""
    variable.multi(True).include_all(True).all_value(all_value)
    return variable.current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))


def job() -> dashboard.QueryVariable:
    """Which workers: two deployments under one Prometheus are never added up."""
    return of_label("job", "job", "Job", OF_WORKERS, "The scrape job of one deployment's workers")


def namespace() -> dashboard.QueryVariable:
    """Where the job has several namespaces, which of them; series without that label are found with None."""
    described = "Of the workers, where Prometheus knows one"
    return of_label("namespace", "namespace", "Namespace", f'{OF_WORKERS}{{job="$job"}}', described)


def survey() -> dashboard.QueryVariable:
    """Which survey."""
    return of_label(
        "survey", "survey", "Survey", f"nps_window_responses{{{DEPLOYMENT}}}", "The survey that scores are of"
    )


def segment() -> dashboard.QueryVariable:
    """Which segments: a block of panels is shown for each."""
    metric = f'nps_window_responses{{{DEPLOYMENT}, survey="$survey"}}'
    described = "Each chosen one has its own block of scores; all is everybody"
    variable = of_label("segment", "segment", "Segments", metric, described)
    return variable.multi(True).current(models.VariableOption(selected=True, text=["all"], value=["all"]))


def window() -> dashboard.QueryVariable:
    """Which rolling window."""
    metric = f"nps_window_responses{{{DEPLOYMENT}}}"
    variable = of_label("window", "window", "Window", metric, "The rolling window that scores are of")
    return variable.sort(models.VariableSort.NUMERICAL_ASC).current(_option("30d"))


def dimension() -> dashboard.QueryVariable:
    """What to compare by: the names before `=` of segments; combinations (`a=b+c=d`) are left out."""
    metric = f'nps_window_responses{{{DEPLOYMENT}, survey="$survey"}}'
    variable = of_label("dimension", "segment", "Compare by", metric, "The segments that are compared, by their name")
    return _several(variable.regex("/^([^=+]+)=[^+]*$/"), "[^=+]+")


def instance() -> dashboard.QueryVariable:
    """Which workers of the deployment."""
    metric = f"{OF_WORKERS}{{{DEPLOYMENT}}}"
    return _several(of_label("instance", "instance", "Worker", metric, "Workers by their address"), ".*")


def webhooks_job() -> dashboard.QueryVariable:
    """Which `nps webhooks`."""
    return of_label("webhooks_job", "job", "Webhooks' job", OF_WEBHOOKS, "The scrape job of one deployment's webhooks")


def intake_job() -> dashboard.QueryVariable:
    """Which `nps intake`."""
    return of_label("intake_job", "job", "Intake's job", OF_INTAKE, "The scrape job of one deployment's intake")


def crm_namespace() -> dashboard.QueryVariable:
    """As `namespace`, of webhooks and intake, of which one may not be run."""
    described = "Of webhooks and intake, where Prometheus knows one"
    return of_label("namespace", "namespace", "Namespace", 'up{job=~"$webhooks_job|$intake_job"}', described)


def endpoint() -> dashboard.QueryVariable:
    """Which endpoints of webhooks."""
    described = "Endpoints of webhooks by their name"
    return _several(of_label("endpoint", "endpoint", "Endpoint", f"{OF_WEBHOOKS}{{{WEBHOOKS}}}", described), ".*")
