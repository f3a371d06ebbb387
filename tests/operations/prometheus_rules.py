"""The rules of deploy/prometheus/rules for the Prometheus Operator, which takes them as objects of Kubernetes.

`python -m tests.operations.prometheus_rules` prints deploy/kubernetes/components/monitoring/prometheusrules.yaml.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parents[2] / "deploy/prometheus/rules"
LABELS = {
    "app.kubernetes.io/name": "nps-streams",
    "app.kubernetes.io/part-of": "nps",
    "app.kubernetes.io/component": "worker",
}


class _Dumper(yaml.SafeDumper):
    """Writes an expression of several lines as it is written in the rules."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def rules() -> list[dict[str, Any]]:
    """A PrometheusRule for each file, by name."""
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": f"nps-{path.stem}", "labels": dict(LABELS)},
            "spec": {"groups": yaml.safe_load(path.read_text("utf-8"))["groups"]},
        }
        for path in sorted(RULES.glob("*.yml"))
    ]


def manifest() -> str:
    """The text of prometheusrules.yaml."""
    documents = yaml.dump_all(rules(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return f"# python -m tests.operations.prometheus_rules\n{documents}"


if __name__ == "__main__":
    print(manifest(), end="")
