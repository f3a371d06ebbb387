"""What `kubectl apply -k` would send, for tests."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = tuple(sorted(path.name for path in (KUBERNETES / "overlays").iterdir()))
POD_LABELS = {"app.kubernetes.io/name": "nps-streams", "app.kubernetes.io/component": "worker"}

Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    """The documents of a file."""
    return [document for document in yaml.safe_load_all(path.read_text("utf-8")) if document]


def files() -> list[Path]:
    """Every YAML file, those of kustomize included."""
    return sorted(KUBERNETES.rglob("*.yaml"))


def built(overlay: str) -> list[Manifest]:
    """The overlay's manifests; skips the test where nothing can build them."""
    return built_of(KUBERNETES / "overlays" / overlay)


def built_of(directory: Path) -> list[Manifest]:
    """The same of an overlay anywhere."""
    builder = next((name for name in ("kubectl", "kustomize") if shutil.which(name)), None)
    if builder is None:
        pytest.skip("neither kubectl (1.27 or newer) nor kustomize (5 or newer) is here")
    return [dict(manifest) for manifest in _built(directory, builder)]


@functools.cache
def _built(directory: Path, builder: str) -> tuple[Manifest, ...]:
    command = [builder, "kustomize" if builder == "kubectl" else "build", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def production_with(directory: Path, *changes: tuple[str, str]) -> list[Manifest]:
    """The overlay `production` with changes to its kustomization.yaml, in a copy of everything in a directory."""
    copy = directory / "kubernetes"
    shutil.copytree(KUBERNETES, copy)
    file = copy / "overlays" / "production" / "kustomization.yaml"
    text = file.read_text("utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    file.write_text(text)
    return built_of(file.parent)


def production_with_crm(directory: Path) -> list[Manifest]:
    """The overlay with the lines about a CRM taken for what they say."""
    lines = ((f"# - ../../components/{name}\n", f"- ../../components/{name}\n") for name in ("crm", "crm-strimzi"))
    return production_with(directory, *lines)


def files_mounted(manifests: list[Manifest], workload: Manifest, container: Manifest) -> set[str]:
    """The path of every file of a container's volumes that are secrets and config maps."""
    held: dict[str, set[str]] = {}
    for volume in workload["spec"]["template"]["spec"]["volumes"]:
        if "secret" in volume:
            held[volume["name"]] = {item["path"] for item in volume["secret"]["items"]}
        elif "configMap" in volume:
            held[volume["name"]] = set(of_kind(manifests, "ConfigMap")[volume["configMap"]["name"]]["data"])
    mounts = [each for each in container["volumeMounts"] if each["name"] in held]
    assert all(mount["readOnly"] for mount in mounts)
    return {f"{mount['mountPath']}/{file}" for mount in mounts for file in held[mount["name"]]}


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """Those of a kind, by name."""
    return {manifest["metadata"]["name"]: manifest for manifest in manifests if manifest["kind"] == kind}


def the_worker(manifests: list[Manifest]) -> Manifest:
    """The workers' StatefulSet."""
    return of_kind(manifests, "StatefulSet")["nps-worker"]


def container_of(workload: Manifest) -> Manifest:
    """Its only container."""
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(container)
