"""docs/crm.md says what is so: its programs run, its file of endpoints is one, its names exist."""

from __future__ import annotations

import asyncio
import json
import re
import time
import tomllib
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from typer.testing import CliRunner

from schemas.events import EVENT_TYPES, FOLLOW_UP_OVERDUE, PASSIVE_DETECTED, PASSIVE_WITHDRAWN, SCORE_CHANGED
from schemas.follow_up import FollowUp, accept_follow_up
from schemas.times import US_PER_DAY, format_rfc3339
from schemas.webhooks import Envelope, body
from streams.cli.application import app
from streams.rules.follow_ups import MATCHED, decide_follow_up
from streams.settings import Settings
from streams.webhooks.config import read_config
from streams.webhooks.metrics import RESULTS
from streams.webhooks.sending import Sender, Verdict
from streams.webhooks.signing import Secret, signed_headers
from tests.intake.serving import TOKEN, serving
from tests.rules.build import CUSTOMER, feed, response
from tests.webhooks.endpoints import endpoint
from tests.webhooks.receiver import OTHER_SECRET, SECRET
from tests.webhooks.vendor import (
    ANSWERED_AT,
    CRMS,
    CUSTOMER_AND_SURVEY,
    DETECTED,
    DETECTION,
    DOCS,
    DUE_AT,
    NOTES,
    ROOT,
    ZENDESK_FIELDS,
    Calls,
    about,
    bridge,
    programs,
    running,
    send,
)


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
    assert set(tomllib.loads(text)["endpoints"]["hubspot"]["types"]) == set(EVENT_TYPES), "it shows what the default is"


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
    example, _ = programs("json")
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
    for name, given in headers.items():
        for odd in ("", "x", "é", "\udce9", "9" * 400, "9" * 5000, "nan", given + "é"):
            assert not verify(SECRET, {**headers, name: odd}, text), (name, odd)
        assert not verify(SECRET, {other: value for other, value in headers.items() if other != name}, text), name
    assert not verify(SECRET, {}, text)


# --- the bridge ---


@pytest.mark.parametrize("crm", CRMS)
async def test_the_bridge_opens_raises_and_closes_one_task_for_a_detection(crm: str, tmp_path: Path) -> None:
    detected = about(PASSIVE_DETECTED, **DETECTED)
    overdue = about(FOLLOW_UP_OVERDUE)
    converted = about(SCORE_CHANGED)
    withdrawn = about(PASSIVE_WITHDRAWN)
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
            for _ in range(2):
                assert (await sender.send(overdue)).verdict is Verdict.DELIVERED
            raised = vendor.next_calls()
            vendor.down = True
            assert (await sender.send(converted)).cause == "http_503", "it comes again"
            vendor.down = False
            assert (await sender.send(converted)).verdict is Verdict.DELIVERED
            closed = vendor.next_calls()
            assert (await sender.send(withdrawn)).verdict is Verdict.DELIVERED
            dropped = vendor.next_calls()
            assert (await sender.send(about(SCORE_CHANGED, detected_event_id=None))).cause == ""
            assert vendor.next_calls() == [], "nothing was open"
    check = {"hubspot": check_hubspot, "salesforce": check_salesforce, "zendesk": check_zendesk}[crm]
    check(opened, repeated, raised, closed, dropped)


@pytest.mark.parametrize("crm", CRMS)
async def test_the_bridge_opens_what_is_overdue_and_not_known_and_closes_nothing_of_the_kind(
    crm: str, tmp_path: Path
) -> None:
    with bridge(crm, tmp_path) as (vendor, url):
        async with Sender(endpoint(tmp_path, url), 5, 1) as sender:
            for event_type in (SCORE_CHANGED, PASSIVE_WITHDRAWN, FOLLOW_UP_OVERDUE):
                assert (await send(sender, about(event_type))).verdict is Verdict.DELIVERED
            *_, (_, _, sent) = vendor.next_calls()
    if crm == "hubspot":
        assert sent["inputs"][0]["properties"]["hs_timestamp"] == DUE_AT
        assert set(vendor.tasks) == {DETECTION}
    elif crm == "salesforce":
        assert (sent["Overdue__c"], sent["Due_At__c"]) == (True, DUE_AT)
    else:
        assert (sent["ticket"]["priority"], sent["ticket"]["due_at"]) == ("urgent", DUE_AT)
        assert len(vendor.tickets) == 1


OPENED = {"trigger": "first_response", "responded_at": "2026-01-01T00:00:00Z"}
RENEWED = {"trigger": "still_passive", "responded_at": "2026-02-10T00:00:00Z"}
ODD_CUSTOMER = 'O\'Hara \\ "c-1"'


@pytest.mark.parametrize("crm", CRMS)
@pytest.mark.parametrize("customer", ["c-1", ODD_CUSTOMER])
async def test_a_detection_takes_the_place_of_the_open_ones_of_its_customer_and_survey(
    crm: str, customer: str, tmp_path: Path
) -> None:
    own = {"customer_id": customer, "survey_id": "s"}
    first, moved, settled, reminded, newest = "d-1", "d-2", "d-3", "d-4", "d-5"
    other_survey, other_customer = "d-6", "d-7"
    with bridge(crm, tmp_path) as (vendor, url):
        async with Sender(endpoint(tmp_path, url), 5, 1) as sender:

            async def tell(event_type: str, detection: str, **fields: Any) -> None:
                assert (await send(sender, about(event_type, detection, **own | fields))).verdict is Verdict.DELIVERED

            for detection in (first, moved, settled):
                await tell(PASSIVE_DETECTED, detection, **OPENED)
            await tell(PASSIVE_DETECTED, other_survey, **OPENED, survey_id="S")
            await tell(PASSIVE_DETECTED, other_customer, **OPENED, customer_id=customer.upper())
            await tell(FOLLOW_UP_OVERDUE, reminded)
            vendor.move(moved, "contacted")
            vendor.move(settled, "resolved")
            for _ in range(2):
                await tell(PASSIVE_DETECTED, newest, **RENEWED)
            stands = vendor.stands()
            await tell(SCORE_CHANGED, newest)
            ended = vendor.stands()
    assert stands == {
        first: "superseded",
        moved: "superseded",
        settled: "resolved",
        reminded: "superseded",
        newest: "opened",
        other_survey: "opened",
        other_customer: "opened",
    }
    assert ended == stands | {newest: "converted"}


@pytest.mark.parametrize("crm", CRMS)
async def test_an_earlier_detection_that_comes_again_leaves_the_newest_open(crm: str, tmp_path: Path) -> None:
    with bridge(crm, tmp_path) as (vendor, url):
        async with Sender(endpoint(tmp_path, url), 5, 1) as sender:
            await send(sender, about(PASSIVE_DETECTED, "newest", **RENEWED))
            late = about(PASSIVE_DETECTED, "given-up", **OPENED | {"trigger": "from_detractor"})
            assert (await sender.send(late)).verdict is Verdict.DELIVERED
            stands = vendor.stands()
    assert stands == {"newest": "opened", "given-up": "opened"}


@pytest.mark.parametrize("crm", CRMS)
@pytest.mark.parametrize(("category", "stands"), [("promoter", "converted"), ("detractor", "left")])
async def test_the_end_says_how(crm: str, category: str, stands: str, tmp_path: Path) -> None:
    with bridge(crm, tmp_path) as (vendor, url):
        async with Sender(endpoint(tmp_path, url), 5, 1) as sender:
            await send(sender, about(PASSIVE_DETECTED, "d-1", **OPENED))
            await send(sender, about(SCORE_CHANGED, "d-1", category=category))
            assert vendor.stands() == {"d-1": stands}


async def test_a_task_without_a_due_time_is_due_when_the_customer_answered(tmp_path: Path) -> None:
    with bridge("hubspot", tmp_path) as (vendor, url):
        async with Sender(endpoint(tmp_path, url), 5, 1) as sender:
            await send(sender, about(PASSIVE_DETECTED, trigger="first_response", follow_up_due_at=None))
            ((_, _, sent),) = vendor.next_calls()
    assert sent["inputs"][0]["properties"]["hs_timestamp"] == ANSWERED_AT


def check_hubspot(opened: Calls, repeated: Calls, raised: Calls, closed: Calls, dropped: Calls) -> None:
    ((method, path, sent),) = opened
    assert (method, path) == ("POST", "/crm/v3/objects/tasks/batch/upsert")
    (task,) = sent["inputs"]
    assert (task["idProperty"], task["id"]) == ("nps_event_id", DETECTION)
    properties = task["properties"]
    assert properties["nps_event_id"] == DETECTION
    assert (properties["nps_customer_id"], properties["nps_survey_id"]) == CUSTOMER_AND_SURVEY
    assert properties["hs_task_subject"] == "nps-webhooks-test gave a 8"
    assert properties["hs_task_priority"] == "HIGH"
    assert properties["hs_task_body"] == NOTES
    assert properties["hs_timestamp"] == DUE_AT, "it is the task's due date"
    assert (properties["hs_task_status"], properties["nps_status"]) == ("NOT_STARTED", "opened")
    assert repeated == opened, "an upsert of the same"
    assert raised[0] == raised[1]
    (reminder,) = raised[0][2]["inputs"]
    assert reminder["id"] == DETECTION
    assert reminder["properties"]["hs_task_subject"] == "Overdue: nps-webhooks-test gave a 8"
    assert reminder["properties"]["hs_task_priority"] == "HIGH"
    assert not {"hs_task_status", "nps_status", "hs_task_body"} & set(reminder["properties"]), "they stay as they are"
    ((method, path, sent),) = closed
    assert (method, path) == ("PATCH", f"/crm/v3/objects/tasks/{DETECTION}?idProperty=nps_event_id")
    assert sent["properties"] == {"nps_status": "converted", "hs_task_status": "COMPLETED"}
    assert dropped[0][2]["properties"] == {"nps_status": "withdrawn", "hs_task_status": "COMPLETED"}


def check_salesforce(opened: Calls, repeated: Calls, raised: Calls, closed: Calls, dropped: Calls) -> None:
    ((method, path, sent),) = opened
    assert (method, path) == ("PATCH", f"/services/data/v62.0/sobjects/Nps_Case__c/Detection_Id__c/{DETECTION}")
    assert (sent["Status__c"], sent["Score__c"], sent["Reason__c"]) == ("Opened", 8, "expectations_met")
    assert (sent["Customer_Id__c"], sent["Survey_Id__c"]) == CUSTOMER_AND_SURVEY
    assert (sent["Recommended_Action__c"], sent["Due_At__c"]) == ("tailored_offer", DUE_AT)
    assert sent["Follow_Up_Question__c"] == DETECTED["follow_up_question"]
    assert "Detection_Id__c" not in sent, "Salesforce refuses the key in the body"
    assert repeated == opened
    assert raised[0] == raised[1]
    assert (raised[0][1], raised[0][2]["Overdue__c"], raised[0][2]["Due_At__c"]) == (path, True, DUE_AT)
    assert "Status__c" not in raised[0][2], "it stays as it is"
    assert (closed[0][1], closed[0][2]["Status__c"]) == (path, "Converted")
    assert "Due_At__c" not in closed[0][2], "it stays as it is"
    assert dropped[0][2]["Status__c"] == "Withdrawn"


def check_zendesk(opened: Calls, repeated: Calls, raised: Calls, closed: Calls, dropped: Calls) -> None:
    look_up, (method, path, sent) = opened
    assert look_up == ("GET", f"/api/v2/tickets?external_id={DETECTION}", None)
    assert (method, path, sent["ticket"]["external_id"]) == ("POST", "/api/v2/tickets", DETECTION)
    assert sent["ticket"]["tags"] == ["nps_8"]
    assert sent["ticket"]["comment"] == {"body": NOTES, "public": False}
    assert (sent["ticket"]["type"], sent["ticket"]["due_at"]) == ("task", DUE_AT)
    written = {field["id"]: field["value"] for field in sent["ticket"]["custom_fields"]}
    assert (written[101], written[102]) == CUSTOMER_AND_SURVEY
    assert written[103] == "nps_opened"
    assert repeated == [look_up], "no second ticket"
    assert [call[:2] for call in raised] == [look_up[:2], ("PUT", "/api/v2/tickets/1"), look_up[:2]], "said once"
    assert raised[1][2]["ticket"]["priority"] == "urgent"
    assert raised[1][2]["ticket"]["comment"] == {"body": f"overdue, {DUE_AT}", "public": False}
    assert closed[1][:2] == ("PUT", "/api/v2/tickets/1")
    assert closed[1][2]["ticket"]["status"] == "solved"
    assert closed[1][2]["ticket"]["custom_fields"] == [{"id": 103, "value": "nps_converted"}]
    assert dropped[1][2]["ticket"]["custom_fields"] == [{"id": 103, "value": "nps_withdrawn"}]


def test_the_tables_name_what_the_programs_write_and_read() -> None:
    table = "\n".join(re.findall(r"^\|.*\|$", DOCS, flags=re.MULTILINE))
    code = "".join(each for each in programs("python") if "class Bridge" in each or "class TaskMoved" in each)
    named = set(re.findall(r'"(hs_\w+|nps_(?!opened|other|\{)\w+|\w+__c)"', code)) - {"hs_task_type"}
    assert len(named) > 20
    assert [name for name in sorted(named) if name not in table] == []


# --- the way back ---

TIMES = ("hs_lastmodifieddate", "LastModifiedDate", "updated_at")
"""What the CRMs call the time of a change."""


def as_the_crm_tells_it(crm: str, opened: Calls, changed: dict[str, str], at_us: int) -> dict[str, Any]:
    """What the CRM sends of the task that these calls have opened, once somebody has changed it."""
    _, path, sent = opened[-1]
    at = format_rfc3339(at_us)
    if crm == "hubspot":
        return {**sent["inputs"][0]["properties"], **changed, "hs_object_id": 981, "hs_lastmodifieddate": at_us // 1000}
    if crm == "salesforce":
        names = {"nps_status": "Status__c", "nps_action": "Action__c", "nps_reason": "Learned_Reason__c"}
        moved = {names[name]: value for name, value in changed.items()}
        moved["Status__c"] = moved["Status__c"].capitalize()
        time_ = at.replace("Z", "+0000")
        return {**sent, **moved, "Id": "a01", "Detection_Id__c": path.rpartition("/")[2], "LastModifiedDate": time_}
    ticket = sent["ticket"]
    held = {field["id"]: field["value"] for field in ticket["custom_fields"]}
    held |= {ZENDESK_FIELDS[name]: f"nps_{value}" for name, value in changed.items()}
    known = {"id": "1", "external_id": ticket["external_id"], "updated_at_with_timestamp": at}
    known |= {f"ticket_field_{number}": held.get(number, "") for number in ZENDESK_FIELDS.values()}
    _, template = programs("json")
    told: dict[str, Any] = json.loads(re.sub(r"\{\{ticket\.(\w+)\}\}", lambda found: known[found[1]], template))
    return told


async def tell(url: str, fields: Any, token: str = "the-crm's") -> int:
    """What the way back answers, while it may still be starting."""
    deadline = time.monotonic() + 30
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client:
        while True:
            try:
                async with client.post(url, json=fields) as answer:
                    return answer.status
            except aiohttp.ClientConnectionError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("crm", CRMS)
async def test_a_task_that_is_moved_comes_back_as_a_follow_up_of_its_case(crm: str, tmp_path: Path) -> None:
    (decision,) = feed(None, response("r1", 8, 2))
    (event,) = decision.events
    detected = Envelope(event.id, event.type, body(event.type, ANSWERED_AT, json.dumps(event.data).encode()))
    with bridge(crm, tmp_path) as (vendor, url):
        async with Sender(endpoint(tmp_path, url), 5, 1) as sender:
            await send(sender, detected)
            opened = vendor.next_calls()
    now_ms = time.time_ns() // 1_000_000
    at_us = now_ms * 1000 - US_PER_DAY
    chosen = {"nps_action": "tailored_offer", "nps_reason": "indifferent"}

    def told(status: str, **changed: str) -> dict[str, Any]:
        return as_the_crm_tells_it(crm, opened, {"nps_status": status, **changed}, at_us)

    async with serving() as intake:
        environment = {
            "CRM": crm,
            "INTAKE_URL": intake.server.url.rstrip("/"),
            "INTAKE_TOKEN": TOKEN,
            "TASK_TOKEN": "the-crm's",
        }
        with running("class TaskMoved", tmp_path, environment) as url:
            assert await tell(url, told("contacted", **chosen)) == 202
            assert await tell(url, told("contacted", **chosen)) == 202
            assert await tell(url, told("declined")) == 202
            for own in ("opened", "converted", "left", "withdrawn"):
                assert await tell(url, told(own, **chosen)) == 204, "nobody did anything"
            assert await tell(url, told("resolved", nps_action="a_cake")) == 422, "as the intake says"
            assert await tell(url, []) == 422, "no task"
            assert await tell(url, told("resolved") | dict.fromkeys(TIMES, "yesterday")) == 422
            assert await tell(url, told("contacted"), token="somebody's") == 401
            intake.published.fails = True
            assert await tell(url, told("resolved")) == 503, "it is to come again"
        records = [record for _, record in intake.published.records]
        assert {topic for topic, _ in intake.published.records} == {"nps.follow-ups"}
    contacted, repeat, declined = (accept_follow_up(record.key, record.value, now_ms) for record in records)
    assert repeat == contacted
    task = {"hubspot": "981", "salesforce": "a01", "zendesk": "1"}[crm]
    assert {name: getattr(contacted, name) for name in FollowUp.model_fields} == {
        "follow_up_id": f"task-{task}-contacted",
        "customer_id": CUSTOMER,
        "survey_id": "relational",
        "detected_event_id": event.id,
        "status": "contacted",
        "action": "tailored_offer",
        "reason": "indifferent",
        "occurred_at": at_us,
        "response_id": None,
        "revision": 0,
        "agent": None,
        "note": None,
    }
    assert (declined.follow_up_id, declined.action, declined.reason) == (f"task-{task}-declined", "other", None)
    assert decide_follow_up(decision.journey, contacted).outcome == MATCHED
    assert decide_follow_up(decision.journey, declined).outcome == MATCHED
