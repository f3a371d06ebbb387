"""docs/crm.md says what is so: its programs run, its file of endpoints is one, its names exist."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from schemas.events import PASSIVE_DETECTED, PASSIVE_WITHDRAWN, SCORE_CHANGED
from schemas.follow_up import accept_follow_up
from schemas.webhooks import Envelope, body
from streams.broker import free_port
from streams.cli.application import app
from streams.settings import Settings
from streams.webhooks.config import read_config
from streams.webhooks.metrics import RESULTS
from streams.webhooks.sample import sample
from streams.webhooks.sending import Outcome, Sender, Verdict
from streams.webhooks.signing import Secret, signed_headers
from tests.webhooks.endpoints import endpoint
from tests.webhooks.receiver import OTHER_SECRET, SECRET

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "crm.md").read_text(encoding="utf-8")


def programs(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCS, flags=re.DOTALL | re.MULTILINE)


def test_settings_commands_links_and_metrics_exist() -> None:
    named = set(re.findall(r"\bNPS_([A-Z_]+[A-Z])\b", DOCS)) - {"WEBHOOKS_RETRY_"}
    assert {name.lower() for name in named} <= set(Settings.model_fields)
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", DOCS) if "://" not in link]
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
    for command in set(re.findall(r"nps (webhooks [a-z]+|intake|schemas)", DOCS)):
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0, command
    assert all(f"`{result}`" in DOCS for result in RESULTS)


def test_the_file_of_endpoints_is_one(tmp_path: Path) -> None:
    (text,) = programs("toml")
    (tmp_path / "webhooks.toml").write_text(text)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "zendesk").write_text(SECRET)
    environment = {"HUBSPOT_SECRET": SECRET, "ZENDESK_URL": "https://zendesk.example/x"}
    assert [each.name for each in read_config(tmp_path / "webhooks.toml", (), environment)] == ["hubspot", "zendesk"]


def test_the_compose_profile_is_of_commands_and_settings_that_exist() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    found = {name: service for name, service in services.items() if service.get("profiles") == ["crm"]}
    assert {name: service["command"] for name, service in found.items()} == {
        "webhooks": ["webhooks", "run"],
        "intake": ["intake"],
    }
    for service in found.values():
        assert {name.removeprefix("NPS_").lower() for name in service["environment"]} <= set(Settings.model_fields)
        port = service["environment"]["NPS_HTTP_PORT"]
        assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    folder, mounted, _ = found["webhooks"]["volumes"][0].split(":")
    file = found["webhooks"]["environment"]["NPS_WEBHOOKS_FILE"].removeprefix(f"{mounted}/")
    assert read_config(ROOT / folder / file, (), {"WEBHOOK_SECRET": SECRET})


def test_the_follow_up_is_one() -> None:
    (example,) = programs("json")
    follow_up = accept_follow_up(b"c-1001", example.encode(), 1_800_000_000_000)
    assert (follow_up.status, follow_up.detected_event_id) == ("contacted", "3d4cb1d5-1b7a-5b46-9b9c-4d4e2c7b9a10")


def test_the_verification_by_hand() -> None:
    (program,) = [each for each in programs("python") if "def verify" in each]
    scope: dict[str, Any] = {}
    exec(program, scope)
    verify = scope["verify"]
    text = b'{"type":"x"}'
    headers = signed_headers([Secret(OTHER_SECRET), Secret(SECRET)], "e-1", int(time.time()), text)
    assert verify(SECRET, headers, text)
    assert verify(OTHER_SECRET, headers, text)
    assert not verify(SECRET, headers, text + b" ")
    assert not verify(SECRET, {**headers, "webhook-id": "e-2"}, text)
    assert not verify("whsec_" + "A" * 32, headers, text)
    old = signed_headers([Secret(SECRET)], "e-1", int(time.time()) - 301, text)
    assert not verify(SECRET, old, text)


# --- the bridge ---


class Vendor:
    """Stands in for a CRM: remembers calls, and answers what the bridge reads."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[str, str, Any, dict[str, str]]] = queue.Queue()
        self.tickets: list[dict[str, Any]] = []
        self.down = False
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                sent = json.loads(self.rfile.read(length)) if length else None
                down = vendor.down
                self.send_response(503 if down else 200)
                self.end_headers()
                if not down:
                    vendor.calls.put((self.command, self.path, sent, dict(self.headers)))
                    self.wfile.write(json.dumps(vendor.reply(self.command, self.path, sent)).encode())

            do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def reply(self, method: str, path: str, sent: Any) -> Any:
        """As Zendesk's tickets; the others' answers are not read."""
        if method == "POST" and path == "/api/v2/tickets":
            self.tickets.append(sent["ticket"])
        found = [
            {"id": number, **ticket}
            for number, ticket in enumerate(self.tickets, start=1)
            if path.endswith(f"external_id={ticket['external_id']}")
        ]
        return {"tickets": found}

    def next_calls(self) -> list[tuple[str, str, Any]]:
        """Those since the last look."""
        found = []
        while not self.calls.empty():
            method, path, sent, headers = self.calls.get()
            assert headers["Authorization"] == "Bearer vendor-token"
            found.append((method, path, sent))
        return found


@contextmanager
def bridge(crm: str, folder: Path) -> Iterator[tuple[Vendor, str]]:
    """The documented program, and the CRM behind it."""
    (program,) = [each for each in programs("python") if "class Bridge" in each]
    (folder / "bridge.py").write_text(program)
    vendor = Vendor()
    threading.Thread(target=vendor.server.serve_forever, daemon=True).start()
    port = free_port()
    environment = {
        **os.environ,
        "CRM": crm,
        "CRM_URL": f"http://127.0.0.1:{vendor.server.server_address[1]}",
        "CRM_TOKEN": "vendor-token",
        "WEBHOOK_SECRET": SECRET,
        "PORT": str(port),
    }
    running = subprocess.Popen([sys.executable, str(folder / "bridge.py")], env=environment)
    try:
        yield vendor, f"http://127.0.0.1:{port}/nps"
    finally:
        running.kill()
        running.wait()
        vendor.server.shutdown()
        vendor.server.server_close()


async def send(sender: Sender, event: Envelope) -> Outcome:
    """Send, while the bridge may still be starting."""
    deadline = time.monotonic() + 30
    while (outcome := await sender.send(event)).cause == "unreachable":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return outcome


def about(event_type: str, detection: str, **fields: Any) -> Envelope:
    """A sample that is about a detection."""
    made = sample(event_type)
    data = json.loads(made.body)["data"] | fields
    own = {PASSIVE_DETECTED: "event_id", SCORE_CHANGED: "detected_event_id", PASSIVE_WITHDRAWN: "withdrawn_event_id"}
    data[own[event_type]] = detection
    return Envelope(made.id, event_type, body(event_type, "2026-01-01T00:00:00Z", json.dumps(data).encode()))


@pytest.mark.parametrize("crm", ["hubspot", "salesforce", "zendesk"])
async def test_the_bridge_opens_and_closes_one_task_for_a_detection(crm: str, tmp_path: Path) -> None:
    detection = "3d4cb1d5-1b7a-5b46-9b9c-4d4e2c7b9a10"
    detected = about(PASSIVE_DETECTED, detection, comment="It does what it should.", reason="expectations_met")
    converted = about(SCORE_CHANGED, detection)
    withdrawn = about(PASSIVE_WITHDRAWN, detection)
    with bridge(crm, tmp_path) as (vendor, url):
        async with (
            Sender(endpoint(tmp_path, url), 5, 1) as sender,
            Sender(endpoint(tmp_path, url, 'secrets = ["env:OTHER_SECRET"]'), 5, 1) as stranger,
        ):
            assert (await send(sender, detected)).verdict is Verdict.DELIVERED
            opened = vendor.next_calls()
            assert (await stranger.send(detected)).cause == "http_401"
            assert vendor.next_calls() == [], "a signature of somebody else opens nothing"
            assert (await sender.send(detected)).verdict is Verdict.DELIVERED
            repeated = vendor.next_calls()
            vendor.down = True
            assert (await sender.send(converted)).cause == "http_503", "it comes again"
            vendor.down = False
            assert (await sender.send(converted)).verdict is Verdict.DELIVERED
            closed = vendor.next_calls()
            assert (await sender.send(withdrawn)).verdict is Verdict.DELIVERED
            assert (await sender.send(about(SCORE_CHANGED, detection, detected_event_id=None))).cause == ""
    check = {"hubspot": check_hubspot, "salesforce": check_salesforce, "zendesk": check_zendesk}[crm]
    check(detection, opened, repeated, closed)


Calls = list[tuple[str, str, Any]]


def check_hubspot(detection: str, opened: Calls, repeated: Calls, closed: Calls) -> None:
    ((method, path, sent),) = opened
    assert (method, path) == ("POST", "/crm/v3/objects/tasks/batch/upsert")
    (task,) = sent["inputs"]
    assert (task["idProperty"], task["id"], task["properties"]["nps_event_id"]) == (
        "nps_event_id",
        detection,
        detection,
    )
    assert task["properties"]["hs_task_subject"] == "nps-webhooks-test gave a 8"
    assert task["properties"]["hs_task_priority"] == "HIGH"
    assert task["properties"]["hs_task_body"] == "It does what it should."
    assert task["properties"]["hs_timestamp"].endswith("Z")
    assert repeated == opened, "an upsert of the same"
    (task,) = closed[0][2]["inputs"]
    assert (task["id"], task["properties"]["hs_task_status"]) == (detection, "COMPLETED")


def check_salesforce(detection: str, opened: Calls, repeated: Calls, closed: Calls) -> None:
    ((method, path, sent),) = opened
    assert (method, path) == ("PATCH", f"/services/data/v62.0/sobjects/Nps_Case__c/Detection_Id__c/{detection}")
    assert (sent["Status__c"], sent["Score__c"], sent["Reason__c"]) == ("Open", 8, "expectations_met")
    assert "Detection_Id__c" not in sent, "Salesforce refuses the key in the body"
    assert repeated == opened
    assert (closed[0][1], closed[0][2]["Status__c"]) == (path, "Converted")


def check_zendesk(detection: str, opened: Calls, repeated: Calls, closed: Calls) -> None:
    look_up, (method, path, sent) = opened
    assert look_up == ("GET", f"/api/v2/tickets?external_id={detection}", None)
    assert (method, path, sent["ticket"]["external_id"]) == ("POST", "/api/v2/tickets", detection)
    assert sent["ticket"]["tags"] == ["nps_8"]
    assert sent["ticket"]["comment"] == {"body": "It does what it should.", "public": False}
    assert repeated == [look_up], "no second ticket"
    assert closed[1][:2] == ("PUT", "/api/v2/tickets/1")
    assert closed[1][2]["ticket"]["status"] == "solved"
