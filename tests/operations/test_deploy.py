"""What is deployed: the compose file, the image, Prometheus and Grafana fit each other and this program."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.settings import Settings
from tests.support import dashboards
from tests.support.prometheus_binaries import Binaries

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sys.executable).parent
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = load(COMPOSE)
    return loaded


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def nps_names(text: str) -> set[str]:
    return set(re.findall(r"\bNPS_[A-Z0-9_]+\b", text))


def test_the_compose_file_fits_the_compose_schema() -> None:
    run(SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_the_dockerfile_passes_hadolint() -> None:
    run(SCRIPTS / "hadolint", DOCKERFILE)


@pytest.mark.parametrize("path", [COMPOSE, DOCKERFILE], ids=lambda path: path.name)
def test_every_setting_named_is_one(path: Path) -> None:
    names = nps_names(path.read_text())
    assert "NPS_STATE_DIR" in names  # the pattern finds them
    assert names <= {f"NPS_{name.upper()}" for name in Settings.model_fields}


def test_the_worker_accepts_what_compose_sets(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in compose["services"]["worker"]["environment"].items():
        monkeypatch.setenv(name, str(value))
    settings = Settings.from_environment()
    assert settings.bootstrap_servers == "kafka:19092"
    assert "INTERNAL://kafka:19092" in compose["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(published) == 6
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published)


def test_every_service_is_checked_and_confined(compose: dict[str, Any]) -> None:
    dockerfile = DOCKERFILE.read_text()
    for name, service in compose["services"].items():
        ours = service["image"].startswith("nps-streams:")
        assert "healthcheck" in service or (ours and "\nHEALTHCHECK " in dockerfile), name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_volumes_are_named_and_mounted_files_exist(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in compose["volumes"], volume


def test_images_are_pinned_to_a_version(compose: dict[str, Any]) -> None:
    images = [service["image"] for service in compose["services"].values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), flags=re.MULTILINE)
    assert len(images) == 8
    for image in images:
        assert re.search(r":v?\d+\.\d+\.\d+", image), image


def test_kafka_is_the_version_that_tests_run_on(compose: dict[str, Any]) -> None:
    from streams.broker import KAFKA_VERSION

    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert f"<kafka.version>{KAFKA_VERSION}</kafka.version>" in (ROOT / "deploy" / "broker" / "pom.xml").read_text()


def test_the_image_runs_as_an_unprivileged_user_with_the_state_directory_on_the_volume(compose: dict[str, Any]) -> None:
    dockerfile = DOCKERFILE.read_text()
    user = re.findall(r"^USER (\d+)$", dockerfile, flags=re.MULTILINE)
    assert user
    assert int(user[-1]) > 0
    state_dir = compose["services"]["worker"]["environment"]["NPS_STATE_DIR"]
    assert any(state_dir.startswith(volume.split(":")[1]) for volume in compose["services"]["worker"]["volumes"])


def test_the_health_check_of_the_image_asks_the_worker(compose: dict[str, Any]) -> None:
    """Run the very command, against a server that knows only /healthz, and against none."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    found = re.search(r"^HEALTHCHECK .*?CMD (\[.*?\])$", DOCKERFILE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    command = [sys.executable, *yaml.safe_load(found[1])[1:]]
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        environment = {"NPS_HTTP_PORT": str(server.server_port)}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        healthy = subprocess.run(command, env=environment, capture_output=True, timeout=20)
        server.shutdown()
    assert healthy.returncode == 0, healthy.stderr
    assert subprocess.run(command, env=environment, capture_output=True, timeout=20).returncode != 0


@pytest.mark.parametrize(
    ("job", "service"), [("nps", "worker"), ("nps-webhooks", "webhooks"), ("nps-intake", "intake")]
)
def test_prometheus_scrapes_each_process_where_it_listens(job: str, service: str, compose: dict[str, Any]) -> None:
    jobs = {job["job_name"]: job for job in load(ROOT / "deploy/prometheus/prometheus.yml")["scrape_configs"]}
    (target,) = jobs[job]["dns_sd_configs"]  # by name: what is not up is no target, and raises no alert
    assert target["names"] == [service]
    assert target["type"] == "A"
    assert target["port"] == compose["services"][service]["environment"]["NPS_HTTP_PORT"]


def test_prometheus_accepts_its_configuration(prometheus: Binaries) -> None:
    run(prometheus.promtool, "check", "config", ROOT / "deploy/prometheus/prometheus.yml")


def test_grafana_finds_prometheus_and_its_dashboards(compose: dict[str, Any]) -> None:
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = load(provisioning / "datasources/prometheus.yml")["datasources"]
    assert re.fullmatch(r"http://prometheus:9090", source["url"])
    (provider,) = load(provisioning / "dashboards/nps.yml")["providers"]
    grafana = compose["services"]["grafana"]
    folders = {volume.split(":")[1]: ROOT / volume.split(":")[0] for volume in grafana["volumes"]}
    assert folders[provider["options"]["path"]] == dashboards.DIRECTORY
    assert folders["/etc/grafana/provisioning"] == provisioning
    for uid, dashboard in dashboards.dashboards().items():
        chosen = dashboards.variables(dashboard)["datasource"]
        assert (chosen["query"], chosen["current"]["value"]) == (source["type"], source["uid"]), uid
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    shown_first = json.loads((folders[str(home.parent)] / home.name).read_text())
    assert shown_first["uid"] == "nps-programme"


def test_rates_on_dashboards_rest_on_the_scrape_interval() -> None:
    (source,) = load(ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    scraped = load(ROOT / "deploy/prometheus/prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
