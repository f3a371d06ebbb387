"""The shell lines of docs/crm.md do what is said beside them, and its table has what `nps intake` answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from schemas.openapi import document
from schemas.response import accept
from schemas.topics import Topics
from streams.broker import Broker
from tests.intake.serving import AUTHORIZED, JSON, Intake, lines, response, serving
from tests.support.kafka_reading import read_records
from tests.webhooks.events import create_topics
from tests.webhooks.receiver import Receiver
from tests.webhooks.vendor import DOCS, programs

NOW_MS = 1_800_000_000_000


def the_one(language: str, with_text: str) -> str:
    (program,) = [program for program in programs(language) if with_text in program]
    return program


def shell(text: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run lines as a person does who types them; the exit code, and all that is shown. What they have left in the
    background is ended.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, **environment, "PATH": path}
    shown = folder / "shown"
    with shown.open("w") as file:
        process = subprocess.Popen(
            ["bash", "-e", "-c", text], cwd=folder, env=environment, stdout=file, stderr=file, start_new_session=True
        )
        try:
            code = process.wait(90)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return code, shown.read_text()


def test_the_first_steps_with_webhooks(receiver: Receiver, tmp_path: Path) -> None:
    file = the_one("toml", "endpoints.hubspot")
    steps = the_one("sh", "nps webhooks list")
    address, run = "https://bridge.example.com/nps", "NPS_HTTP_PORT=6067 nps webhooks run\n"
    assert address in file
    assert steps.endswith(run), "it needs Kafka, and other tests run it"
    (tmp_path / "webhooks.toml").write_text(file.replace(address, receiver.url("/nps")))
    code, shown = shell(steps.removesuffix(run), tmp_path, {"NPS_WEBHOOKS_PRIVATE_HOSTS": "127.0.0.1"})
    assert code == 0, shown
    assert re.search(r"^hubspot +127\.0\.0\.1 ", shown, re.MULTILINE)
    assert re.search(r"^zendesk +zendesk-bridge\.example\.com ", shown, re.MULTILINE)
    assert "hubspot took the sample" in shown
    assert len(receiver.taken("/nps")) == 1
    assert (tmp_path / "secrets" / "zendesk").stat().st_mode & 0o077 == 0, "nobody else may read it"


@pytest.mark.kafka
def test_the_first_steps_with_the_intake(broker: Broker, unique_prefix: str, free_port: int, tmp_path: Path) -> None:
    assert shutil.which("curl")
    create_topics(broker.bootstrap_servers, unique_prefix)
    steps = the_one("sh", "nps intake")
    assert steps.count("6068") == 2
    (promised,) = re.findall(r"^# (.*)$", steps, re.MULTILINE)
    settings = {"NPS_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "NPS_TOPIC_PREFIX": unique_prefix}
    # The example's time may lie ahead, where it would be refused.
    now = steps.replace("6068", str(free_port)).replace("2026-11-22T08:30:00Z", response()["responded_at"])
    code, shown = shell(now, tmp_path, settings)
    assert code == 0, shown
    assert promised in shown
    (record,) = read_records(broker.bootstrap_servers, Topics(unique_prefix).responses)
    assert accept(record.key, record.value or b"", NOW_MS).customer_id == "c-42"


def posts() -> list[dict[str, Any]]:
    """What takes records, as the OpenAPI document has it."""
    return [path["post"] for path in document()["paths"].values() if "post" in path]


def statuses() -> set[int]:
    """Those of the table of answers."""
    table = re.search(r"^\| status \| meaning \|\n(?:^\|.*\n)+", DOCS, re.MULTILINE)
    assert table
    cells = [row.split("|")[1] for row in table[0].splitlines()[2:]]
    return {int(number) for cell in cells for number in cell.split(",")}


async def broken(intake: Intake) -> int:
    """What is answered to what is no HTTP."""
    host, port = intake.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"this is no HTTP\r\n\r\n")
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


async def test_the_table_has_every_answer_of_the_intake(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("planted")

    async with serving() as intake, aiohttp.ClientSession(intake.server.url, headers=JSON) as client:
        came = {await broken(intake)}
        for method, path in (("GET", "/v1/responses"), ("POST", "/healthz"), ("POST", "/v1/nothing")):
            async with client.request(method, path) as answer:
                came.add(answer.status)
        monkeypatch.setattr(intake.published, "publish", fails)
        async with client.post("/v1/responses", json=response()) as answer:
            came.add(answer.status)
    assert came == {400, 404, 405, 500}
    described = {int(status) for post in posts() for status in post["responses"]}
    assert statuses() == came | described


async def test_the_page_names_the_media_types_that_the_intake_takes() -> None:
    one = "application/json"
    assert f"Content-Type: {one}" in the_one("sh", "nps intake")
    of_lines = re.findall(r"`(?:Content-Type: )?(application/[a-z-]+)`", DOCS)
    assert set(of_lines) >= {media_type for post in posts() for media_type in post["requestBody"]["content"]} - {one}
    assert set(of_lines) >= {"application/x-ndjson", "application/jsonl", "application/x-jsonlines"}
    for named in of_lines:
        async with serving() as intake, aiohttp.ClientSession(intake.server.url, headers=AUTHORIZED) as client:
            headers = {"Content-Type": named}
            async with client.post("/v1/responses", data=lines(response(), response("r-2")), headers=headers) as answer:
                assert (answer.status, len(intake.values)) == (202, 2), named
