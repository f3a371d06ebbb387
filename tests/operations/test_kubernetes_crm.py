"""The component for a CRM without Kafka: valid, and what the programs, the image and the compose file have."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from schemas.intake import DOORS
from schemas.topics import Topics
from streams.settings import Settings
from streams.webhooks.config import read_endpoints
from tests.operations.kubernetes import (
    KUBERNETES,
    POD_LABELS,
    ROOT,
    Manifest,
    built_of,
    container_of,
    files_mounted,
    of_kind,
    production_with_crm,
    read,
)

COMPONENT = KUBERNETES / "components" / "crm"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
PROGRAMS = ("webhooks", "intake")


def documents() -> list[Manifest]:
    return [document for path in COMPONENT.glob("*.yaml") if path.stem != "kustomization" for document in read(path)]


def program(name: str) -> Manifest:
    return of_kind(documents(), "Deployment")[f"nps-{name}"]


def test_the_manifests_fit_the_schema_of_kubernetes() -> None:
    found = documents()
    assert len(found) == 7
    for manifest in found:
        for version in ("1.30", "1.37"):
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_run_as_in_the_compose_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    container, composed = container_of(program(name)), COMPOSE[name]
    assert container["image"] == composed["image"]
    assert container["args"] == composed["command"]
    environment = {each["name"]: each.get("value", "x" * 32) for each in container["env"]}
    port = environment["NPS_HTTP_PORT"]
    assert port == str(composed["environment"]["NPS_HTTP_PORT"])
    assert container["ports"] == [{"name": "http", "containerPort": int(port)}]
    (into,) = of_kind(documents(), "NetworkPolicy")["nps-crm"]["spec"]["ingress"]
    assert int(port) in {each["port"] for each in into["ports"]}
    if name == "webhooks":
        (mount,) = [each for each in container["volumeMounts"] if each["name"] == "endpoints"]
        directory, _, file = environment["NPS_WEBHOOKS_FILE"].rpartition("/")
        assert directory == mount["mountPath"]
        environment["NPS_WEBHOOKS_FILE"] = str(COMPONENT / file)
        environment["WEBHOOK_SECRET"] = "whsec_" + base64.b64encode(bytes(32)).decode()
    for setting, value in environment.items():
        monkeypatch.setenv(setting, value)
    settings = Settings.from_environment()
    if name == "webhooks":
        assert [endpoint.name for endpoint in read_endpoints(settings)] == ["crm"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_pod_is_confined_found_and_free_of_service_variables(name: str) -> None:
    spec = program(name)["spec"]
    pod, container = spec["template"]["spec"], container_of(program(name))
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    labels = spec["template"]["metadata"]["labels"].items()
    assert spec["selector"]["matchLabels"].items() <= labels
    if name == "intake":
        service = of_kind(documents(), "Service")["nps-intake"]["spec"]
        assert service["selector"].items() <= labels


def test_a_drain_of_nodes_takes_one_of_each_at_a_time() -> None:
    budgets = of_kind(documents(), "PodDisruptionBudget")
    assert set(budgets) == {f"nps-{name}" for name in PROGRAMS}
    for name in PROGRAMS:
        budget, spec = budgets[f"nps-{name}"]["spec"], program(name)["spec"]
        assert budget["selector"] == spec["selector"]
        assert budget["maxUnavailable"] < spec["replicas"]


def test_it_builds_on_the_base(tmp_path: Path) -> None:
    overlay = tmp_path / "overlays" / "crm"
    overlay.mkdir(parents=True)
    relative = os.path.relpath(KUBERNETES, overlay)
    (overlay / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: nps\n"
        f"resources: [{relative}/base]\ncomponents: [{relative}/components/crm]\n"
    )
    built = built_of(overlay)
    assert set(of_kind(built, "Deployment")) == {"nps-webhooks", "nps-intake"}
    volumes = of_kind(built, "Deployment")["nps-webhooks"]["spec"]["template"]["spec"]["volumes"]
    (endpoints,) = [each["configMap"]["name"] for each in volumes if each["name"] == "endpoints"]
    assert endpoints in of_kind(built, "ConfigMap"), "with the hash of its content"


# In production, beside Strimzi, the Prometheus Operator and KEDA


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return production_with_crm(tmp_path_factory.mktemp("production"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_file_that_a_setting_names_is_mounted(name: str, production: list[Manifest]) -> None:
    workload = of_kind(production, "Deployment")[f"nps-{name}"]
    container = container_of(workload)
    (source,) = container["envFrom"]
    settings = of_kind(production, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    environment = {**settings, **{each["name"]: each.get("value", "") for each in container["env"]}}
    named = {setting: path for setting, path in environment.items() if setting.endswith("_FILE")}
    assert {"NPS_SSL_CA_FILE", "NPS_SSL_CERT_FILE", "NPS_SSL_KEY_FILE"} <= set(named)
    assert set(named.values()) <= files_mounted(production, workload, container), named
    assert environment["NPS_CREATE_TOPICS"] == "false"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_a_user_of_its_own_and_can_read_its_certificate(name: str, production: list[Manifest]) -> None:
    pod = of_kind(production, "Deployment")[f"nps-{name}"]["spec"]["template"]["spec"]
    secrets = {each["name"]: each["secret"] for each in pod["volumes"] if "secret" in each}
    assert {name: each["secretName"] for name, each in secrets.items()} == {
        "kafka-ca": "nps-cluster-ca-cert",
        "kafka-user": f"nps-{name}",
    }
    assert f"nps-{name}" in of_kind(production, "KafkaUser")
    assert {each["defaultMode"] for each in secrets.values()} == {0o440}
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"], "of whom 0440 lets read"


def test_no_secret_of_ours_has_the_name_of_a_kafka_user_s(production: list[Manifest]) -> None:
    """Strimzi writes a secret of that name, and would write over it."""
    deployments = of_kind(production, "Deployment").values()
    containers = [each for deployment in deployments for each in deployment["spec"]["template"]["spec"]["containers"]]
    ours = {
        each["valueFrom"]["secretKeyRef"]["name"]
        for container in containers
        for each in container["env"]
        if "valueFrom" in each
    }
    assert len(ours) == 2
    assert ours & set(of_kind(production, "KafkaUser")) == set()
    told = (COMPONENT / "kustomization.yaml").read_text("utf-8")
    assert set(re.findall(r"create secret generic (\S+)", told)) == ours


def test_the_topics_that_they_do_not_create_are_there(production: list[Manifest]) -> None:
    topics = Topics()
    needed = {*topics.events, topics.webhook_dead_letter, *(door.topic(topics) for door in DOORS)}
    assert needed <= set(of_kind(production, "KafkaTopic"))


def test_production_with_them_fits_the_schema_of_kubernetes(production: list[Manifest]) -> None:
    core = [each for each in production if each["kind"] in ("Deployment", "PodDisruptionBudget", "NetworkPolicy")]
    assert len(core) == 4 + 3 + 4
    for manifest in core:
        kubernetes_validate.validate(manifest, "1.30", strict=True)
        assert manifest["metadata"]["namespace"] == "nps"


@pytest.mark.parametrize("name", PROGRAMS)
def test_prometheus_finds_each_under_the_job_that_rules_ask_for(name: str, production: list[Manifest]) -> None:
    monitor = of_kind(production, "PodMonitor")["nps-crm"]["spec"]
    workload = of_kind(production, "Deployment")[f"nps-{name}"]
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    for each in monitor["selector"]["matchExpressions"]:
        assert each["operator"] == "In"
        assert labels[each["key"]] in each["values"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {each["name"] for each in container_of(workload)["ports"]}
    assert endpoint["honorLabels"], "the operator has a label `endpoint` of its own"
    (relabeling,) = endpoint["relabelings"]
    label = "app.kubernetes.io/component"
    assert relabeling["sourceLabels"] == ["__meta_kubernetes_pod_label_" + re.sub(r"\W", "_", label)]
    assert relabeling["targetLabel"] == "job"
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    jobs = {each["job_name"]: each for each in scraped["scrape_configs"]}
    (target,) = jobs[relabeling["replacement"].replace("$1", labels[label])]["dns_sd_configs"]
    assert [{"name": endpoint["port"], "containerPort": target["port"]}] == container_of(workload)["ports"]


def test_the_workers_are_of_no_other_job(production: list[Manifest]) -> None:
    monitor = of_kind(production, "PodMonitor")["nps-crm"]["spec"]
    (expression,) = monitor["selector"]["matchExpressions"]
    assert POD_LABELS[expression["key"]] not in expression["values"]
