"""Topics and users for Strimzi, from the registry of topics and the table of rights.

`python -m tests.operations.strimzi topics` (or `users`) prints the file of that name in
deploy/kubernetes/components/strimzi.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

import yaml

from schemas.access import Resource, Right, Roles
from schemas.topics import Topics
from streams.settings import Settings

CLUSTER = "nps"
API = "kafka.strimzi.io/v1"
REPLICAS = 3
CRM_GROUP = "crm"
RESOURCES = {Resource.TOPIC: "topic", Resource.GROUP: "group", Resource.TRANSACTIONAL_ID: "transactionalId"}
"""Our names → Strimzi's."""


def topics() -> list[dict[str, Any]]:
    """A KafkaTopic for each topic of the registry, that of webhooks too. Its name in Kubernetes is the same."""
    count = int(Settings.model_fields["partitions"].default)
    registry = Topics()
    return [
        {
            "apiVersion": API,
            "kind": "KafkaTopic",
            "metadata": _metadata(spec.name),
            "spec": {
                "partitions": spec.partitions(count),
                "replicas": REPLICAS,
                "config": {name: _typed(value) for name, value in sorted(spec.config.items())},
            },
        }
        for spec in (*registry.all(), *registry.of_webhooks())
    ]


def _typed(value: str) -> int | str:
    return int(value) if re.fullmatch(r"\d+", value) else value


def users() -> list[dict[str, Any]]:
    """A KafkaUser for each role, who is known by a client certificate."""
    roles = Roles(Topics(), "nps")
    return [
        _user("nps-worker", roles.worker(creates_topics=False)),  # Strimzi creates them
        _user("nps-publisher", roles.publisher()),
        _user("nps-crm", roles.crm(CRM_GROUP)),
        _user("nps-operator", roles.operator()),
        _user("nps-dead-letters", roles.dead_letters(replays=True)),
        _user("nps-follow-ups-dead-letters", roles.dead_letters(replays=True, follow_ups=True)),
        _user("nps-webhooks", roles.webhooks()),
        _user("nps-webhooks-replay", roles.webhooks_replay()),
        _user("nps-intake", roles.intake()),
    ]


def _user(name: str, rights: Iterable[Right]) -> dict[str, Any]:
    by_resource: dict[tuple[str, str, bool], list[str]] = {}
    for right in rights:
        by_resource.setdefault((RESOURCES[right.resource], right.name, right.prefixed), []).append(str(right.operation))
    acls = [
        {
            "resource": {"type": kind, "name": resource, "patternType": "prefix" if prefixed else "literal"},
            "operations": operations,
        }
        for (kind, resource, prefixed), operations in by_resource.items()
    ]
    return {
        "apiVersion": API,
        "kind": "KafkaUser",
        "metadata": _metadata(name),
        "spec": {"authentication": {"type": "tls"}, "authorization": {"type": "simple", "acls": acls}},
    }


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "labels": {"strimzi.io/cluster": CLUSTER}}


def manifest(what: str) -> str:
    """The text of topics.yaml or users.yaml."""
    documents = {"topics": topics, "users": users}[what]()
    return f"# python -m tests.operations.strimzi {what}\n" + yaml.safe_dump_all(documents, sort_keys=False, width=120)


if __name__ == "__main__":
    print(manifest(sys.argv[1]), end="")
