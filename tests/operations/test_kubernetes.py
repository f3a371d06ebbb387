"""The manifests for Kubernetes are valid, fit each other, and name what the program, its image and Kafka have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import kubernetes_validate
import pytest
import yaml

from streams.app import LEAVE_TIMEOUT_S
from streams.broker import KAFKA_VERSION
from streams.http.endpoints import Endpoints
from streams.settings import Settings, SettingsError
from tests.operations.kubernetes import (
    KUBERNETES,
    OVERLAYS,
    POD_LABELS,
    ROOT,
    Manifest,
    built,
    container_of,
    files,
    of_kind,
    read,
    the_worker,
)

KUBERNETES_VERSIONS = ("1.30", "1.37")
"""The oldest with all that is used, and the newest whose schemas are here."""
OTHERS = {
    *("Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser"),
    *("ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PodMonitor", "PrometheusRule"),
}
"""Kinds that operators bring; `test_kubernetes_operators.py` looks at them."""
DOCKERFILE = (ROOT / "deploy/docker/Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))

overlays = pytest.mark.parametrize("overlay", OVERLAYS)


def workloads(manifests: list[Manifest]) -> list[Manifest]:
    return [manifest for manifest in manifests if "template" in manifest.get("spec", {})]


def environment_of(manifests: list[Manifest]) -> dict[str, str]:
    """What a worker's container gets, a secret's values left empty."""
    container = container_of(the_worker(manifests))
    (source,) = container["envFrom"]
    settings = of_kind(manifests, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    return {**settings, **{each["name"]: each.get("value", "") for each in container.get("env", [])}}


@overlays
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_manifest_fits_the_schema_of_kubernetes(overlay: str, version: str) -> None:
    core = [manifest for manifest in built(overlay) if manifest["kind"] not in OTHERS]
    assert {"StatefulSet", "Service", "PodDisruptionBudget", "NetworkPolicy"} <= {each["kind"] for each in core}
    for manifest in core:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_files_are_valid_where_nothing_can_build_them() -> None:
    whole = [
        each for path in files() if path.parent.name == "base" for each in read(path) if "Kustom" not in each["kind"]
    ]
    assert len(whole) == 6
    for manifest in whole:
        kubernetes_validate.validate(manifest, KUBERNETES_VERSIONS[-1], strict=True)


def test_every_setting_named_is_one() -> None:
    text = "\n".join(path.read_text("utf-8") for path in KUBERNETES.rglob("*.*") if path.is_file())
    names = set(re.findall(r"\bNPS_[A-Z0-9_]+\b", text)) - {"NPS_WORKER_SERVICE_HOST"}  # told of as a danger
    assert {"NPS_STATE_DIR", "NPS_BOOTSTRAP_SERVERS", "NPS_STATIC_MEMBERSHIP"} <= names
    assert names <= {f"NPS_{name.upper()}" for name in Settings.model_fields}


@overlays
def test_a_worker_accepts_its_settings(overlay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = built(overlay)
    environment = environment_of(manifests)
    pod = the_worker(manifests)["spec"]["template"]["spec"]
    mounts = {each["mountPath"]: each["name"] for each in container_of(the_worker(manifests))["volumeMounts"]}
    files_of = {
        each["name"]: {item["path"] for item in each["secret"]["items"]} for each in pod["volumes"] if "secret" in each
    }
    for name, value in environment.items():
        if name.endswith("_FILE"):
            directory, _, file = value.rpartition("/")
            assert file in files_of[mounts[directory]], name
            (tmp_path / file).write_text("pem")
            value = str(tmp_path / file)
        monkeypatch.setenv(name, value)
    settings = Settings.from_environment()
    assert settings.http_host == "0.0.0.0"
    assert settings.static_membership, "the state is on a volume that comes back"
    assert settings.state_dir.parent == Path("/var/lib/nps")
    claims = {each["metadata"]["name"] for each in the_worker(manifests)["spec"]["volumeClaimTemplates"]}
    assert mounts["/var/lib/nps"] in claims
    if overlay == "production":
        assert not settings.create_topics
        assert settings.security_protocol == "SSL"


@overlays
def test_names_of_services_never_become_settings(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes puts NPS_WORKER_SERVICE_HOST and the like into pods, unless told not to."""
    manifests = built(overlay)
    assert any(name.startswith("nps-") for name in of_kind(manifests, "Service"))
    monkeypatch.setenv("NPS_WORKER_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(SettingsError, match="NPS_WORKER_SERVICE_HOST: there is no such setting"):
        Settings.from_environment()
    assert the_worker(manifests)["spec"]["template"]["spec"]["enableServiceLinks"] is False


@overlays
def test_the_image_and_its_user_are_those_that_are_built(overlay: str) -> None:
    worker = the_worker(built(overlay))
    assert container_of(worker)["image"] == COMPOSE["services"]["worker"]["image"]
    (user,) = re.findall(r"^USER (\d+)$", DOCKERFILE, flags=re.MULTILINE)
    security = worker["spec"]["template"]["spec"]["securityContext"]
    assert {security[name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {int(user)}
    assert container_of(worker)["args"] == ["worker"]


@overlays
def test_every_pod_is_confined(overlay: str) -> None:
    for workload in workloads(built(overlay)):
        pod, name = workload["spec"]["template"]["spec"], workload["metadata"]["name"]
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
            assert re.search(r":v?\d+\.\d+\.\d+$", container["image"]), name
    assert container_of(the_worker(built(overlay)))["securityContext"]["readOnlyRootFilesystem"] is True


@overlays
def test_the_port_is_the_same_everywhere(overlay: str) -> None:
    manifests = built(overlay)
    port = int(environment_of(manifests)["NPS_HTTP_PORT"])
    assert container_of(the_worker(manifests))["ports"] == [{"name": "http", "containerPort": port}]
    assert f"EXPOSE {port}\n" in DOCKERFILE
    for name in ("nps-worker", "nps-scores"):
        (exposed,) = of_kind(manifests, "Service")[name]["spec"]["ports"]
        assert exposed["targetPort"] == exposed["name"] == "http"
    (ingress,) = of_kind(manifests, "NetworkPolicy")["nps-worker"]["spec"]["ingress"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": port}]


@overlays
def test_whoever_selects_workers_finds_them(overlay: str) -> None:
    manifests = built(overlay)
    worker = the_worker(manifests)
    labels = worker["spec"]["template"]["metadata"]["labels"].items()
    selectors = {
        "itself": worker["spec"]["selector"]["matchLabels"],
        "disruption": of_kind(manifests, "PodDisruptionBudget")["nps-worker"]["spec"]["selector"]["matchLabels"],
        **{name: of_kind(manifests, "Service")[name]["spec"]["selector"] for name in ("nps-worker", "nps-scores")},
        **{
            f"policy {name}": policy["spec"]["podSelector"]["matchLabels"]
            for name, policy in of_kind(manifests, "NetworkPolicy").items()
        },
    }
    assert len(selectors) == 6
    for name, selector in selectors.items():
        assert selector.items() <= labels, name
        assert selector == POD_LABELS, name
    assert worker["spec"]["serviceName"] in of_kind(manifests, "Service")
    account = worker["spec"]["template"]["spec"]["serviceAccountName"]
    assert account in of_kind(manifests, "ServiceAccount")


@overlays
def test_probes_ask_what_a_worker_answers_and_give_it_time(overlay: str) -> None:
    container = container_of(the_worker(built(overlay)))
    answered = Endpoints(*cast("tuple[Any, Any, Any, Any]", (None, None, None, None))).by_path()
    asked = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert asked == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert set(asked.values()) <= set(answered)
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 2 * Settings().broker_wait_s


@overlays
def test_a_worker_may_stop_in_order(overlay: str) -> None:
    pod = the_worker(built(overlay))["spec"]["template"]["spec"]
    pause_s = container_of(the_worker(built(overlay)))["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= pause_s + 2 * LEAVE_TIMEOUT_S


@overlays
def test_a_worker_reaches_its_kafka(overlay: str) -> None:
    manifests = built(overlay)
    _, port = environment_of(manifests)["NPS_BOOTSTRAP_SERVERS"].split(":")
    (egress,) = of_kind(manifests, "NetworkPolicy")["nps-worker-to-kafka"]["spec"]["egress"]
    assert egress["ports"] == [{"protocol": "TCP", "port": int(port)}]


def test_the_development_broker_is_the_one_that_tests_run_on() -> None:
    manifests = built("development")
    kafka = of_kind(manifests, "StatefulSet")["kafka"]
    assert container_of(kafka)["image"] == f"apache/kafka:{KAFKA_VERSION}" == COMPOSE["services"]["kafka"]["image"]
    host, port = environment_of(manifests)["NPS_BOOTSTRAP_SERVERS"].split(":")
    service = of_kind(manifests, "Service")[host]
    assert [each["port"] for each in service["spec"]["ports"]] == [int(port)]
    assert service["spec"]["selector"].items() <= kafka["spec"]["template"]["metadata"]["labels"].items()
    told = {each["name"]: each["value"] for each in container_of(kafka)["env"]}
    assert told["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{host}:{port}"
    (egress,) = of_kind(manifests, "NetworkPolicy")["nps-worker-to-kafka"]["spec"]["egress"]
    (peer,) = egress["to"]
    assert peer["podSelector"]["matchLabels"] == service["spec"]["selector"]


@overlays
def test_everything_is_in_the_overlay_s_namespace(overlay: str) -> None:
    manifests = built(overlay)
    (namespace,) = of_kind(manifests, "Namespace")
    assert {each["metadata"].get("namespace") for each in manifests if each["kind"] != "Namespace"} == {namespace}


def test_documents_that_manifests_point_to_are_there() -> None:
    pointed = {
        found
        for path in KUBERNETES.rglob("*.*")
        if path.is_file()
        for found in re.findall(r"docs/[\w/.-]+\.md(?:#[\w-]+)?", path.read_text("utf-8"))
    }
    assert pointed
    for each in pointed:
        document, _, anchor = each.partition("#")
        text = (ROOT / document).read_text("utf-8")
        headings = [heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)]
        assert not anchor or anchor in headings, each
