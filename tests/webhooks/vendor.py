"""The programs of docs/crm.md, running, and the CRM behind them."""

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
from urllib.parse import parse_qs, urlsplit

from schemas.events import FOLLOW_UP_OVERDUE, PASSIVE_DETECTED, PASSIVE_WITHDRAWN
from schemas.webhooks import Envelope, body
from streams.broker import free_port
from streams.webhooks.sample import sample
from streams.webhooks.sending import Outcome, Sender
from tests.webhooks.receiver import SECRET

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "crm.md").read_text(encoding="utf-8")

CRMS = ("hubspot", "salesforce", "zendesk")
Calls = list[tuple[str, str, Any]]


def programs(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCS, flags=re.DOTALL | re.MULTILINE)


ZENDESK_FIELDS = {"nps_customer_id": 101, "nps_survey_id": 102, "nps_status": 103, "nps_action": 104, "nps_reason": 105}
ZENDESK_FIELDS |= {"nps_responded_at": 106}
"""As what Zendesk's trigger sends has them, too."""


class Vendor:
    """Stands in for a CRM: remembers calls, and answers what the bridge reads."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[str, str, Any, dict[str, str]]] = queue.Queue()
        self.tasks: dict[str, dict[str, Any]] = {}
        """HubSpot's, by their detection."""
        self.cases: dict[str, dict[str, Any]] = {}
        """Salesforce's, by their detection."""
        self.tickets: list[dict[str, Any]] = []
        self.down = False
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                sent = json.loads(self.rfile.read(length)) if length else None
                if vendor.down:
                    status, reply = 503, None
                else:
                    status, reply = vendor.reply(self.command, self.path, sent)
                    vendor.calls.put((self.command, self.path, sent, dict(self.headers)))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(reply).encode())

            do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def reply(self, method: str, path: str, sent: Any) -> tuple[int, Any]:
        """As the CRM to which this path belongs."""
        if path.startswith("/crm/v3/objects/tasks/"):
            return self.hubspot(method, path.removeprefix("/crm/v3/objects/tasks/"), sent)
        if path.startswith("/services/data/v62.0/"):
            return self.salesforce(path.removeprefix("/services/data/v62.0/"), sent)
        return self.zendesk(method, path, sent)

    def hubspot(self, method: str, path: str, sent: Any) -> tuple[int, Any]:
        if path == "search":
            (group,) = sent["filterGroups"]
            wanted = {each["propertyName"]: each["value"] for each in group["filters"] if each["operator"] == "EQ"}
            asked = sent["properties"]
            found = [task for task in self.tasks.values() if same(task, wanted)]
            return 200, {"results": [{"properties": {name: task.get(name) for name in asked}} for task in found]}
        if path == "batch/upsert":
            for task in sent["inputs"]:
                if task["id"] not in self.tasks and "hs_timestamp" not in task["properties"]:
                    return 400, {"message": "hs_timestamp is required"}
                self.tasks.setdefault(task["id"], {}).update(task["properties"])
            return 200, None
        known = method == "PATCH" and self.tasks.get(path.partition("?")[0])
        if not known:
            return 404, None
        known |= sent["properties"]
        return 200, None

    def salesforce(self, path: str, sent: Any) -> tuple[int, Any]:
        if path.startswith("sobjects/"):
            id_ = path.rpartition("/")[2]
            self.cases.setdefault(id_, {"Detection_Id__c": id_}).update(sent)
            return 200, None
        (query,) = parse_qs(urlsplit(path).query)["q"]
        text = r"'((?:[^'\\]|\\.)*)'"
        asked = re.fullmatch(
            rf"SELECT (.*) FROM Nps_Case__c WHERE Customer_Id__c = {text} AND Survey_Id__c = {text}", query
        )
        if asked is None:
            return 400, [{"errorCode": "MALFORMED_QUERY"}]
        ids = [re.sub(r"\\(.)", r"\1", each) for each in asked.groups()[1:]]
        wanted = dict(zip(("Customer_Id__c", "Survey_Id__c"), ids, strict=True))
        found = [case for case in self.cases.values() if same(case, wanted)]
        names = asked[1].split(", ")
        return 200, {"records": [{name: as_salesforce(case.get(name)) for name in names} for case in found]}

    def zendesk(self, method: str, path: str, sent: Any) -> tuple[int, Any]:
        if path.startswith("/api/v2/search?"):
            (query,) = parse_qs(urlsplit(path).query)["query"]
            wanted = {int(number): value for number, value in re.findall(r'custom_field_(\d+):"(.*?)"', query)}
            assert query.startswith("type:ticket status<solved "), "not of what is solved"
            found = [{"id": number, **ticket} for number, ticket in enumerate(self.tickets, start=1)]
            unsolved = [ticket for ticket in found if ticket.get("status") != "solved"]
            return 200, {"results": [ticket for ticket in unsolved if same(words_of(ticket), wanted)]}
        if method == "POST":
            self.tickets.append(dict(sent["ticket"]))
        elif method == "PUT":
            ticket, change = self.tickets[int(path.rpartition("/")[2]) - 1], dict(sent["ticket"])
            held = held_by(ticket) | held_by(change)
            ticket |= change | {"custom_fields": [{"id": number, "value": value} for number, value in held.items()]}
        found = [
            {"id": number, **ticket}
            for number, ticket in enumerate(self.tickets, start=1)
            if path.endswith(f"external_id={ticket['external_id']}")
        ]
        return 200, {"tickets": found}

    def stands(self) -> dict[str, str]:
        """How the task of each detection stands, as a person would see it."""
        found = {id_: task.get("nps_status") for id_, task in self.tasks.items()}
        found |= {id_: case.get("Status__c") for id_, case in self.cases.items()}
        found |= {ticket["external_id"]: held_by(ticket)[103] for ticket in self.tickets}
        stands = {id_: (status or "").lower().removeprefix("nps_") for id_, status in found.items()}
        finished = {id_ for id_, task in self.tasks.items() if task.get("hs_task_status") == "COMPLETED"}
        finished |= {ticket["external_id"] for ticket in self.tickets if ticket.get("status") == "solved"}
        ended = {id_ for id_, status in stands.items() if status in ("converted", "left", "withdrawn", "superseded")}
        assert self.cases or finished == ended, "what has ended is done with"
        return stands

    def move(self, detection: str, status: str) -> None:
        """What a person does."""
        if detection in self.tasks:
            self.tasks[detection]["nps_status"] = status
        elif detection in self.cases:
            self.cases[detection]["Status__c"] = status.capitalize()
        for ticket in self.tickets:
            if ticket["external_id"] == detection:
                held = held_by(ticket) | {103: f"nps_{status}"}
                ticket["custom_fields"] = [{"id": number, "value": value} for number, value in held.items()]

    def next_calls(self) -> Calls:
        """Those since the last look."""
        found = []
        while not self.calls.empty():
            method, path, sent, headers = self.calls.get()
            assert headers["Authorization"] == "Bearer vendor-token"
            found.append((method, path, sent))
        return found


def same(held: dict[Any, Any], wanted: dict[Any, Any]) -> bool:
    """As a search of a CRM sees it: upper and lower case are the same."""
    assert len(wanted) == 2, "customer and survey"
    return all(str(held.get(name)).casefold() == str(value).casefold() for name, value in wanted.items())


def held_by(ticket: dict[str, Any]) -> dict[int, Any]:
    return {field["id"]: field["value"] for field in ticket.get("custom_fields", ())}


def words_of(ticket: dict[str, Any]) -> dict[int, str]:
    """A search of Zendesk's is for words, and quotation marks are part of none."""
    return {number: str(value).replace('"', " ") for number, value in held_by(ticket).items()}


def as_salesforce(value: Any) -> Any:
    """It gives times back in its own way."""
    return value.replace("Z", ".000+0000") if re.fullmatch(r"[\d-]{10}T[\d:]{8}Z", str(value)) else value


@contextmanager
def running(marker: str, folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """The documented program that has this in it; gives its address, where it may be still starting."""
    (program,) = [each for each in programs("python") if marker in each]
    file = folder / "program.py"
    file.write_text(program)
    port = free_port()
    process = subprocess.Popen([sys.executable, str(file)], env={**os.environ, **environment, "PORT": str(port)})
    try:
        yield f"http://127.0.0.1:{port}/nps"
    finally:
        process.kill()
        process.wait()


@contextmanager
def bridge(crm: str, folder: Path) -> Iterator[tuple[Vendor, str]]:
    """The documented program, and the CRM behind it."""
    vendor = Vendor()
    threading.Thread(target=vendor.server.serve_forever, daemon=True).start()
    environment = {
        "CRM": crm,
        "CRM_URL": f"http://127.0.0.1:{vendor.server.server_address[1]}",
        "CRM_TOKEN": "vendor-token",
        "WEBHOOK_SECRET": SECRET,
        "ZENDESK_FIELDS": json.dumps(ZENDESK_FIELDS),
    }
    try:
        with running("class Bridge", folder, environment) as url:
            yield vendor, url
    finally:
        vendor.server.shutdown()
        vendor.server.server_close()


async def send(sender: Sender, event: Envelope) -> Outcome:
    """Send, while the bridge may still be starting."""
    deadline = time.monotonic() + 30
    while (outcome := await sender.send(event)).cause == "unreachable":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return outcome


DETECTION = "3d4cb1d5-1b7a-5b46-9b9c-4d4e2c7b9a10"
ANSWERED_AT, DUE_AT = "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"
DETECTED = {
    "trigger": "first_response",
    "comment": "It does what it should.",
    "reason": "expectations_met",
    "recommended_action": "tailored_offer",
    "follow_up_question": "What could we have done to surprise you?",
    "follow_up_due_at": DUE_AT,
}
NOTES = """\
Comment: It does what it should.
Reason: expectations_met
To do: tailored_offer
To ask: What could we have done to surprise you?"""
CUSTOMER_AND_SURVEY = ("nps-webhooks-test", "nps-webhooks-test")
"""The sample's."""


def about(event_type: str, detection: str = DETECTION, **fields: Any) -> Envelope:
    """A sample that is about a detection."""
    made = sample(event_type)
    own = {PASSIVE_DETECTED: "event_id", PASSIVE_WITHDRAWN: "withdrawn_event_id"}.get(event_type, "detected_event_id")
    data = json.loads(made.body)["data"] | {own: detection} | fields
    at = DUE_AT if event_type == FOLLOW_UP_OVERDUE else ANSWERED_AT
    return Envelope(made.id, event_type, body(event_type, at, json.dumps(data).encode()))
