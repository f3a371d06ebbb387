"""What the operators of Kafka, Prometheus and KEDA are told: in their form, with the names of this program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from schemas.access import Resource, Right, Roles
from schemas.topics import Topics
from streams.settings import Settings
from tests.operations import prometheus_rules, strimzi
from tests.operations.kubernetes import (
    KUBERNETES,
    POD_LABELS,
    ROOT,
    Manifest,
    built,
    container_of,
    of_kind,
    production_with,
    the_worker,
)

DEFAULTS = Settings()
TEXT, WHOLE = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}


def record(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """A schema that knows these fields and no others: a misspelt one must not pass."""
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


def listed(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


TEXTS = {"type": "object", "additionalProperties": TEXT}
EXPRESSION = record({"key": TEXT, "operator": {"enum": ["In", "NotIn"]}, "values": listed(TEXT)})
POLICY = record({"type": {"const": "Pods"}, "value": WHOLE, "periodSeconds": {"type": "integer", "maximum": 1800}})
DIRECTION = record({"stabilizationWindowSeconds": {"type": "integer", "maximum": 3600}, "policies": listed(POLICY)})
SCALING = record({"behavior": record({"scaleUp": DIRECTION, "scaleDown": DIRECTION})})
ACL = record(
    {
        "resource": record(
            {
                "type": {"enum": ["topic", "group", "cluster", "transactionalId"]},
                "name": TEXT,
                "patternType": {"enum": ["literal", "prefix"]},
            }
        ),
        "operations": listed({"enum": ["Read", "Write", "Create", "Describe", "DescribeConfigs"]}),
    }
)
LISTENER = record(
    {
        "name": {"type": "string", "pattern": "^[a-z0-9]{1,11}$"},
        "port": {"type": "integer", "minimum": 9092},
        "type": {"const": "internal"},
        "tls": {"const": True},
        "authentication": record({"type": {"const": "tls"}}),
    }
)
VOLUME = record(
    {
        "id": WHOLE,
        "type": {"const": "persistent-claim"},
        "size": {"type": "string", "pattern": "^[0-9]+Gi$"},
        "kraftMetadata": {"const": "shared"},
        "deleteClaim": {"const": False},
    }
)
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "ServiceMonitor": (
        "monitoring.coreos.com/v1",
        record(
            {
                "jobLabel": TEXT,
                "selector": record({"matchLabels": TEXTS}),
                "endpoints": listed(record({"port": TEXT, "path": TEXT, "interval": TEXT, "scrapeTimeout": TEXT})),
            }
        ),
    ),
    "PodMonitor": (
        "monitoring.coreos.com/v1",
        record(
            {
                "selector": record({"matchLabels": TEXTS, "matchExpressions": listed(EXPRESSION)}),
                "podMetricsEndpoints": listed(
                    record(
                        {
                            **dict.fromkeys(("port", "path", "interval", "scrapeTimeout"), TEXT),
                            "honorLabels": {"type": "boolean"},
                            "relabelings": listed(
                                record({"sourceLabels": listed(TEXT), "targetLabel": TEXT, "replacement": TEXT})
                            ),
                        }
                    )
                ),
            }
        ),
    ),
    "ScaledObject": (
        "keda.sh/v1alpha1",
        record(
            {
                "scaleTargetRef": record({"apiVersion": TEXT, "kind": TEXT, "name": TEXT}),
                "pollingInterval": WHOLE,
                "minReplicaCount": WHOLE,
                "maxReplicaCount": WHOLE,
                "advanced": record({"horizontalPodAutoscalerConfig": SCALING}),
                "triggers": listed(
                    record(
                        {
                            "type": {"enum": ["kafka", "cpu"]},
                            "metricType": {"enum": ["AverageValue", "Utilization"]},
                            "metadata": TEXTS,
                        },
                        {"authenticationRef": record({"name": TEXT})},
                    )
                ),
            }
        ),
    ),
    "TriggerAuthentication": (
        "keda.sh/v1alpha1",
        record({"secretTargetRef": listed(record({"parameter": TEXT, "name": TEXT, "key": TEXT}))}),
    ),
    "Kafka": (
        strimzi.API,
        record(
            {
                "kafka": record(
                    {
                        "listeners": listed(LISTENER),
                        "authorization": record({"type": {"const": "simple"}}),
                        "config": {"type": "object"},
                    }
                ),
                "entityOperator": record({"topicOperator": record({}), "userOperator": record({})}),
            }
        ),
    ),
    "KafkaNodePool": (
        strimzi.API,
        record(
            {
                "replicas": WHOLE,
                "roles": listed({"enum": ["controller", "broker"]}),
                "storage": record({"type": {"const": "jbod"}, "volumes": listed(VOLUME)}),
                "resources": record({"requests": TEXTS, "limits": TEXTS}),
            }
        ),
    ),
    "KafkaTopic": (strimzi.API, record({"partitions": WHOLE, "replicas": WHOLE, "config": {"type": "object"}})),
    "KafkaUser": (
        strimzi.API,
        record(
            {
                "authentication": record({"type": {"const": "tls"}}),
                "authorization": record({"type": {"const": "simple"}, "acls": listed(ACL)}),
            }
        ),
    ),
}


@pytest.fixture(scope="module")
def production() -> list[Manifest]:
    return built("production")


@pytest.mark.parametrize("kind", FORMS)
def test_each_has_its_form(kind: str, production: list[Manifest]) -> None:
    version, form = FORMS[kind]
    found = of_kind(production, kind)
    assert found
    for manifest in found.values():
        assert manifest["apiVersion"] == version
        jsonschema.validate(manifest["spec"], form)


# Strimzi


@pytest.mark.parametrize("what", ["topics", "users"])
def test_the_files_are_those_that_are_printed(what: str) -> None:
    file = KUBERNETES / "components" / "strimzi" / f"{what}.yaml"
    assert file.read_text("utf-8") == strimzi.manifest(what), f"python -m tests.operations.strimzi {what} > {file}"


def test_topics_are_those_of_the_registry(production: list[Manifest]) -> None:
    found = {name: manifest["spec"] for name, manifest in of_kind(production, "KafkaTopic").items()}
    registered = (*Topics().all(), *Topics().of_webhooks())
    assert set(found) == {spec.name for spec in registered}
    for spec in registered:
        topic = found[spec.name]
        assert topic["partitions"] == (1 if spec.single else DEFAULTS.partitions), spec.name
        assert {name: str(value) for name, value in topic["config"].items()} == spec.config, spec.name
        assert topic["replicas"] == of_kind(production, "KafkaNodePool")["nps"]["spec"]["replicas"]


def granted(user: Manifest) -> set[tuple[str, str, str, bool]]:
    return {
        (operation, acl["resource"]["type"], acl["resource"]["name"], acl["resource"]["patternType"] == "prefix")
        for acl in user["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    }


def needed(rights: tuple[Right, ...]) -> set[tuple[str, str, str, bool]]:
    strimzis = {Resource.TRANSACTIONAL_ID: "transactionalId"}
    return {
        (str(right.operation), strimzis.get(right.resource, str(right.resource)), right.name, right.prefixed)
        for right in rights
    }


def test_users_have_exactly_the_rights_of_the_acl_table(production: list[Manifest]) -> None:
    roles = Roles(Topics(), DEFAULTS.group_id)
    table = {
        "nps-worker": roles.worker(creates_topics=False),
        "nps-publisher": roles.publisher(),
        "nps-crm": roles.crm("crm"),
        "nps-operator": roles.operator(),
        "nps-dead-letters": roles.dead_letters(replays=True),
        "nps-follow-ups-dead-letters": roles.dead_letters(replays=True, follow_ups=True),
        "nps-webhooks": roles.webhooks(),
        "nps-webhooks-replay": roles.webhooks_replay(),
        "nps-intake": roles.intake(),
    }
    users = of_kind(production, "KafkaUser")
    assert {name: granted(user) for name, user in users.items()} == {
        name: needed(rights) for name, rights in table.items()
    }


def test_workers_find_the_cluster_and_who_they_are(production: list[Manifest]) -> None:
    (cluster,) = of_kind(production, "Kafka")
    (listener,) = of_kind(production, "Kafka")[cluster]["spec"]["kafka"]["listeners"]
    settings = next(each["data"] for name, each in of_kind(production, "ConfigMap").items() if "nps-settings" in name)
    assert settings["NPS_BOOTSTRAP_SERVERS"] == f"{cluster}-kafka-bootstrap:{listener['port']}"
    for kind in ("KafkaNodePool", "KafkaTopic", "KafkaUser"):
        for manifest in of_kind(production, kind).values():
            assert manifest["metadata"]["labels"]["strimzi.io/cluster"] == cluster
    volumes = the_worker(production)["spec"]["template"]["spec"]["volumes"]
    secrets = {each["name"]: each["secret"]["secretName"] for each in volumes if "secret" in each}
    assert secrets == {"kafka-ca": f"{cluster}-cluster-ca-cert", "kafka-user": "nps-worker"}
    assert secrets["kafka-user"] in of_kind(production, "KafkaUser")


# KEDA


def test_scaling_follows_the_lag_of_this_group_up_to_the_partitions(production: list[Manifest]) -> None:
    spec = of_kind(production, "ScaledObject")["nps-worker"]["spec"]
    target = of_kind(production, spec["scaleTargetRef"]["kind"])[spec["scaleTargetRef"]["name"]]
    assert "replicas" not in target["spec"], "KEDA owns it"
    lag, cpu = spec["triggers"]
    assert lag["metadata"]["topic"] == Topics().responses
    assert lag["metadata"]["consumerGroup"] == DEFAULTS.group_id
    responses = of_kind(production, "KafkaTopic")[Topics().responses]
    assert spec["minReplicaCount"] <= spec["maxReplicaCount"] == responses["spec"]["partitions"]
    assert lag["metadata"]["allowIdleConsumers"] == "false"
    assert "cpu" in container_of(target)["resources"]["requests"], "its use is measured against what is requested"
    assert 0 < int(cpu["metadata"]["value"]) < 100


def address_for_other_namespaces(manifests: list[Manifest]) -> str:
    """As the certificate of a Strimzi cluster has it; the short name is known within the namespace alone."""
    ((cluster, kafka),) = of_kind(manifests, "Kafka").items()
    (listener,) = kafka["spec"]["kafka"]["listeners"]
    return f"{cluster}-kafka-bootstrap.{kafka['metadata']['namespace']}.svc:{listener['port']}"


@pytest.mark.parametrize("namespace", ["nps", "surveys"])
def test_keda_asks_a_kafka_that_is_in_another_namespace_than_its_own(namespace: str, tmp_path: Path) -> None:
    manifests = production_with(tmp_path, ("\nnamespace: nps\n", f"\nnamespace: {namespace}\n"))
    assert namespace in of_kind(manifests, "Namespace")
    (lag, _) = of_kind(manifests, "ScaledObject")["nps-worker"]["spec"]["triggers"]
    assert lag["metadata"]["bootstrapServers"] == address_for_other_namespaces(manifests)
    assert f".{namespace}.svc:" in lag["metadata"]["bootstrapServers"]


def test_scaling_waits_out_a_restart_and_a_departure(production: list[Manifest]) -> None:
    spec = of_kind(production, "ScaledObject")["nps-worker"]["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    settings = next(each["data"] for name, each in of_kind(production, "ConfigMap").items() if "nps-settings" in name)
    session_s = int(settings["NPS_SESSION_TIMEOUT_MS"]) / 1000
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] > 2 * session_s
    assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 1800}]


def test_whoever_asks_for_the_lag_is_the_operator_of_the_acl_table(production: list[Manifest]) -> None:
    (lag, _) = of_kind(production, "ScaledObject")["nps-worker"]["spec"]["triggers"]
    authentication = of_kind(production, "TriggerAuthentication")[lag["authenticationRef"]["name"]]
    secrets = {each["parameter"]: (each["name"], each["key"]) for each in authentication["spec"]["secretTargetRef"]}
    assert secrets == {
        "ca": ("nps-cluster-ca-cert", "ca.crt"),
        "cert": ("nps-operator", "user.crt"),
        "key": ("nps-operator", "user.key"),
    }
    assert "nps-operator" in of_kind(production, "KafkaUser")


# Prometheus


def test_prometheus_finds_the_workers_under_the_name_that_rules_ask_for(production: list[Manifest]) -> None:
    spec = of_kind(production, "ServiceMonitor")["nps-worker"]["spec"]
    services = of_kind(production, "Service")
    found = [
        name
        for name, service in services.items()
        if spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ]
    assert found == ["nps-worker"], "every worker once, also one that is not ready"
    assert spec["selector"]["matchLabels"] == POD_LABELS
    service = services["nps-worker"]
    (endpoint,) = spec["endpoints"]
    assert endpoint["port"] in {each["name"] for each in service["spec"]["ports"]}
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    (job,) = [each for each in scraped["scrape_configs"] if each["job_name"] == "nps"]
    assert service["metadata"]["labels"][spec["jobLabel"]] == job["job_name"]
    assert endpoint["interval"] == scraped["global"]["scrape_interval"]


def test_rules_are_those_of_prometheus() -> None:
    assert prometheus_rules.rules()
    file = KUBERNETES / "components" / "monitoring" / "prometheusrules.yaml"
    assert file.read_text("utf-8") == prometheus_rules.manifest(), (
        f"python -m tests.operations.prometheus_rules > {file}, and name it in the kustomization.yaml beside it"
    )
    applied = of_kind(built("production"), "PrometheusRule")
    assert {name: manifest["spec"] for name, manifest in applied.items()} == {
        each["metadata"]["name"]: each["spec"] for each in prometheus_rules.rules()
    }
