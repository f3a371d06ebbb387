"""The component for a CRM without Kafka: valid, and what the programs, the image and the compose file have."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from streams.settings import Settings
from streams.webhooks.config import read_endpoints
from tests.operations import kubernetes
from tests.operations.kubernetes import KUBERNETES, ROOT, Manifest, container_of, of_kind, read

COMPONENT = KUBERNETES / "components" / "crm"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
PROGRAMS = ("webhooks", "intake")


def documents() -> list[Manifest]:
    return [document for path in COMPONENT.glob("*.yaml") if path.stem != "kustomization" for document in read(path)]


def program(name: str) -> Manifest:
    return of_kind(documents(), "Deployment")[f"nps-{name}"]


def test_the_manifests_fit_the_schema_of_kubernetes() -> None:
    found = documents()
    assert len(found) == 5
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


def test_it_builds_on_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay = tmp_path / "overlays" / "crm"
    overlay.mkdir(parents=True)
    relative = os.path.relpath(KUBERNETES, overlay)
    (overlay / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: nps\n"
        f"resources: [{relative}/base]\ncomponents: [{relative}/components/crm]\n"
    )
    monkeypatch.setattr(kubernetes, "KUBERNETES", tmp_path)
    built = kubernetes.built("crm")
    assert set(of_kind(built, "Deployment")) == {"nps-webhooks", "nps-intake"}
    volumes = of_kind(built, "Deployment")["nps-webhooks"]["spec"]["template"]["spec"]["volumes"]
    (endpoints,) = [each["configMap"]["name"] for each in volumes if each["name"] == "endpoints"]
    assert endpoints in of_kind(built, "ConfigMap"), "with the hash of its content"
