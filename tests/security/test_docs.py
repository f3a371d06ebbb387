"""The documents on security say what is so."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.access import Roles
from schemas.topics import Topics
from streams.broker_jars import fetch_jars, java_command
from streams.settings import Settings
from tests.security.acl_table import table
from tests.security.conftest import SecureBroker

ROOT = Path(__file__).parents[2]
DOCS = {
    name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("security.md", "erasure.md", "reliability.md")
}


@pytest.mark.parametrize("name", ["security.md", "reliability.md"])
def test_the_table_of_rights_is_the_one_that_is_tested(name: str) -> None:
    shown = DOCS[name].partition("<!-- acls: python -m tests.security.acl_table -->\n")[2]
    assert shown.partition("<!-- end of acls -->")[0].strip() == table(), "print it anew"


def test_the_example_grants_a_worker_exactly_its_rights() -> None:
    commands = re.findall(r"^kafka-acls .*--allow-principal User:nps-worker (.*)$", DOCS["security.md"], re.MULTILINE)
    granted = {
        f"--operation {operation} {resource}"
        for command in commands
        for operation in re.findall(r"--operation (\w+)", command)
        for resource in _resources(command)
    }
    assert granted == {right.as_option() for right in Roles(Topics(), "nps").worker(creates_topics=False)}


def _resources(command: str) -> list[str]:
    pattern = " --resource-pattern-type prefixed" if "prefixed" in command else ""
    return [
        f"--{kind} {name}{pattern}" for kind, name in re.findall(r"--(topic|group|transactional-id) (\S+)", command)
    ]


def test_kafka_s_own_tools_come_in_with_the_properties_of_the_page(secure_broker: SecureBroker, tmp_path: Path) -> None:
    [page] = re.findall(r"```properties\n(.*?)```", DOCS["security.md"], re.DOTALL)
    store, certificates = tmp_path / "operator.pem", secure_broker.certificates
    store.write_bytes(certificates.client_key.read_bytes() + certificates.client_cert.read_bytes())
    files = {"/etc/nps/kafka-ca/ca.crt": certificates.ca, "/secure/operator.pem": store}
    for named, file in files.items():
        assert named in page
        page = page.replace(named, str(file))
    properties = tmp_path / "admin.properties"
    properties.write_text(page)
    asked = ["--bootstrap-server", secure_broker.broker.address_of("TLS_CLIENTS"), "--command-config", str(properties)]
    tool = [java_command(), "-cp", f"{fetch_jars()}/*", "org.apache.kafka.tools.TopicCommand", *asked, "--list"]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", DOCS)
def test_settings_and_files_that_are_named_exist(name: str) -> None:
    named = set(re.findall(r"\bNPS_([A-Z_]+[A-Z])\b", DOCS[name]))
    assert {each.lower() for each in named} <= set(Settings.model_fields)
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", DOCS[name]) if "://" not in link]
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_the_bill_of_materials_holds_every_dependency(tmp_path: Path) -> None:
    out = tmp_path / "sbom.json"
    recipe = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "cyclonedx-py" in line)
    options = recipe.split("cyclonedx-py ")[1].split(" --output-file")[0].split()
    program = Path(sys.executable).parent / "cyclonedx-py"
    subprocess.run([program, *options, "--output-file", out], cwd=ROOT, check=True, capture_output=True)
    listed = {(each["name"], each["version"]) for each in json.loads(out.read_text())["components"]}
    pinned = re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE)
    assert listed == set(pinned)
