"""`nps intake` in front of a real Kafka."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.topics import Topics
from streams.broker import Broker
from tests.intake.serving import TOKEN, lines, response
from tests.security.commands import nps
from tests.support.kafka_reading import read_records
from tests.support.worker import WorkerProcess
from tests.webhooks.events import create_topics

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(broker: Broker, unique_prefix: str, free_port: int) -> dict[str, str]:
    return {
        "NPS_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "NPS_TOPIC_PREFIX": unique_prefix,
        "NPS_HTTP_PORT": str(free_port),
        "NPS_INTAKE_TOKENS": TOKEN,
    }


@pytest.fixture
def intake(settings: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    create_topics(settings["NPS_BOOTSTRAP_SERVERS"], settings["NPS_TOPIC_PREFIX"], partitions=7)
    with WorkerProcess(settings, tmp_path / "intake.log", ("streams.cli", "intake")) as process:
        process.wait_ready()
        yield process


def post(port: str, body: bytes) -> tuple[int, dict[str, object]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/responses",
        body,
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_what_is_accepted_is_in_kafka_where_the_java_client_would_put_it(
    settings: dict[str, str], intake: WorkerProcess
) -> None:
    servers, topic = settings["NPS_BOOTSTRAP_SERVERS"], Topics(settings["NPS_TOPIC_PREFIX"]).responses
    given = [response(f"r-{number}", customer_id=f"c-{number}") for number in range(100)]
    began_ms = time.time() * 1000
    assert post(settings["NPS_HTTP_PORT"], lines(*given)) == (202, {"accepted": 100})
    records = list(read_records(servers, topic))
    assert sorted(record.value or b"" for record in records) == sorted(lines(each).rstrip() for each in given)
    assert all(began_ms - 1 <= record.timestamp_ms <= time.time() * 1000 for record in records)

    assert post(settings["NPS_HTTP_PORT"], lines(*given, {"score": 8}))[0] == 422
    assert len(list(read_records(servers, topic))) == 100, "a body with a bad line leaves nothing"

    nps(settings, "publish", "-", stdin=lines(*given).decode())  # judged, keyed and placed by the same rules
    placed: dict[bytes | None, set[int]] = {}
    for record in read_records(servers, topic):
        placed.setdefault(record.key, set()).add(record.partition)
    assert set(placed) == {f"c-{number}".encode() for number in range(100)}
    assert all(len(partitions) == 1 for partitions in placed.values())
    assert len(set.union(*placed.values())) == 7
    assert intake.sigterm() == 0
    assert TOKEN not in intake.log()


def test_without_tokens_or_topics_it_does_not_start(settings: dict[str, str]) -> None:
    refused = nps(settings, "intake")
    assert refused.returncode == 1
    assert "these topics do not exist" in refused.stderr.splitlines()[-1]
    del settings["NPS_INTAKE_TOKENS"]
    refused = nps(settings, "intake")
    assert refused.returncode == 1
    assert refused.stderr.startswith("nps: NPS_INTAKE_TOKENS: must be set for nps intake")
