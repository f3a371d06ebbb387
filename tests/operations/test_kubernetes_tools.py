"""Where people run `nps` beside the Kafka of Strimzi: a container for each role, and none until it is wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.operations.kubernetes import (
    ROOT,
    Manifest,
    container_of,
    files_mounted,
    of_kind,
    production_with_crm,
    the_worker,
)

TOLD = (ROOT / "docs" / "operations.md").read_text("utf-8")


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return production_with_crm(tmp_path_factory.mktemp("production"))


def tools(production: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Each container, and its deployment."""
    for name in ("nps-tools", "nps-webhooks-replay"):
        deployment = of_kind(production, "Deployment")[name]
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            yield container, deployment


def test_there_is_one_for_each_role_that_people_have(production: list[Manifest]) -> None:
    programs = {"nps-worker", "nps-webhooks", "nps-intake", "nps-publisher", "nps-crm"}
    names = {f"nps-{container['name']}" for container, _ in tools(production)}
    assert names == set(of_kind(production, "KafkaUser")) - programs


def test_each_is_its_user_and_has_every_file_that_a_setting_names(production: list[Manifest]) -> None:
    image = container_of(the_worker(production))["image"]
    for container, deployment in tools(production):
        assert container["image"] == image
        assert deployment["spec"]["replicas"] == 0
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"], "of whom 0440 lets read"
        volumes = {each["name"]: each for each in pod["volumes"]}
        assert volumes[container["name"]]["secret"]["secretName"] == f"nps-{container['name']}"
        (source,) = container["envFrom"]
        settings = of_kind(production, "ConfigMap")[source["configMapRef"]["name"]]["data"]
        environment = settings | {each["name"]: each.get("value") for each in container["env"]}
        assert {path for name, path in environment.items() if name.endswith("_FILE")} <= files_mounted(
            production, deployment, container
        )


def test_the_commands_of_the_page_name_what_is_there(production: list[Manifest]) -> None:
    there = {(deployment["metadata"]["name"], container["name"]) for container, deployment in tools(production)}
    named = set(re.findall(r"deployment/(nps-tools) -c (\S+)", TOLD))
    assert named == {each for each in there if each[0] == "nps-tools"}
    assert "deployment/nps-webhooks-replay" in TOLD
