"""What `nps webhooks run` reads: damaged records, foreign ones, and none for days."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path

import pytest

from schemas.events import PASSIVE_DETECTED
from schemas.topics import Topics
from tests.support.raw_batches import RawBatch, RawRecord, raw_batch, send_raw
from tests.support.worker import ROOT
from tests.webhooks.events import PARTITIONS, WebhooksProcess
from tests.webhooks.receiver import Answer, always
from tests.webhooks.scene import Scene, numbers, until

pytestmark = pytest.mark.kafka

CUSTOMERS = [f"c{number}" for number in range(8)]


def test_what_came_along_with_damaged_records_is_not_lost(scene: Scene) -> None:
    scene.publisher.send_all(CUSTOMERS, 5)
    with scene.process("crm", module="tests.webhooks.torn_webhooks") as process:
        came = scene.receiver.wait_for(5 * len(CUSTOMERS), scene.path("crm"))
        until(lambda: scene.lag("crm") == 0)
        assert "Kafka cannot be read" in process.log()
    assert numbers(came) == {customer: list(range(5)) for customer in CUSTOMERS}


def test_a_coordinator_that_is_loading_is_no_group_that_never_committed(scene: Scene) -> None:
    """Taken for one, the endpoint would begin anew: with what is new, as is usual, and what came while nobody ran would
    never be sent; or here with everything, once more.
    """
    with scene.process("crm") as process:
        sent = scene.publisher.send_all(CUSTOMERS, 1)
        until(lambda: scene.lag("crm") == 0)
        assert process.sigterm() == 0
    sent |= scene.publisher.send_all(CUSTOMERS, 3)
    with scene.process("crm", module="tests.webhooks.loading_webhooks") as process:
        until(lambda: scene.lag("crm") == 0)
        # Nor does an answer that aiokafka does not know end the reading.
        until(lambda: "an unknown answer to a heartbeat" in process.log())
        time.sleep(1.5)
        sent |= scene.publisher.send_all(CUSTOMERS, 1)
        until(lambda: scene.lag("crm") == 0)
    assert Counter(request.id for request in scene.receiver.came(scene.path("crm"))) == Counter(sent)


def heard(process: WebhooksProcess) -> float:
    return process.metrics()["nps_webhook_heard_timestamp_seconds", (("endpoint", "crm"),)]


def test_a_process_tells_when_it_last_heard_from_kafka(scene: Scene) -> None:
    with scene.process("crm") as process:
        process.wait_ready()
        until(lambda: time.time() - heard(process) < 1, 15)
        first = heard(process)
        until(lambda: heard(process) > first, 15)


@pytest.mark.slow
def test_nor_has_it_heard_where_nothing_has_a_leader(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group has given it a share, and nobody says where to begin: nothing is read, and nothing else shows it."""
    away = tmp_path / "away"
    away.write_text("*")
    monkeypatch.setenv("AWAY", str(away))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with scene.process("crm", module="tests.webhooks.leaderless_webhooks") as process:
        process.wait_ready()
        first = heard(process)
        time.sleep(11)  # two looks at the ends
        assert heard(process) == first
        away.unlink()
        until(lambda: heard(process) > first, 15)


@pytest.mark.parametrize("since", ["the start", "later"])
def test_a_partition_without_a_leader_holds_up_no_other(
    scene: Scene, since: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither beginning nor the look at how far behind an endpoint is asks about it."""
    away = tmp_path / "away"
    monkeypatch.setenv("AWAY", str(away))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    topic = Topics(scene.prefix).passive_detected

    def arrived() -> set[str]:
        return {request.id for request in scene.receiver.came(scene.path("crm"))}

    if since == "the start":
        away.write_text(topic)
    with scene.process("crm", module="tests.webhooks.leaderless_webhooks") as process:
        process.wait_ready()
        away.write_text(topic)
        sent: list[set[str]] = []
        for _ in range(12):  # longer than between two looks at the ends
            sent.append(scene.publisher.send_all(CUSTOMERS, 1))
            time.sleep(0.5)
        until(lambda: bool(sent[-1] & arrived()), 5)
        everything = set[str]().union(*sent)
        assert everything - arrived(), "nothing was on the partition that is away"
        away.unlink()
        until(lambda: everything <= arrived())
        assert process.sigterm() == 0


def event(id_: bytes, value: bytes, *more: tuple[bytes, bytes | None]) -> RawRecord:
    """A record with the headers of an event."""
    headers = ((b"ce_id", id_), (b"ce_type", PASSIVE_DETECTED.encode()), (b"ce_time", b"2026-01-01T00:00:00Z"))
    return b"foreign", value, (*headers, *more)


NOT_READ = {
    b"survey-a-list": b'{"survey_id":[],"segment_country":"NO"}',
    b"segment-a-list": b'{"survey_id":"s","segment_country":["NO"]}',
    b"deep": b'{"survey_id":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b"not-utf-8": b'{"survey_id":"\xff"}',
    b"not-json": b"<survey/>",
}
FOREIGN: list[RawRecord] = [
    *(event(id_, value) for id_, value in NOT_READ.items()),
    event(b"endless-sequence", b'{"survey_id":"s","segment_country":"NO"}', (b"ce_sequence", b"1" * 5_000)),
    (None, None, ()),
    (None, b"{}", ()),
    (b"foreign", None, ((b"ce_id", None),)),
    (b"foreign", b"{}", ((b"\xff\xfename", b"1"),)),
]


def test_foreign_records_among_events_end_nothing(scene: Scene) -> None:
    """What a filter cannot read is let through; what is no event is a dead letter; events go on."""
    topic = Topics(scene.prefix).passive_detected
    foreign = [
        RawBatch(number, raw_batch(FOREIGN, time.time_ns() // 1_000_000), len(FOREIGN)) for number in range(PARTITIONS)
    ]
    more = 'surveys = ["s"]\nsegments = { country = ["NO"] }'
    with scene.process("crm", more=more) as process:
        good = [scene.publisher.send(customer, 0, segment_country="NO") for customer in CUSTOMERS]
        scene.publisher.flush()
        asyncio.run(send_raw(scene.broker.bootstrap_servers, topic, foreign))
        good += [scene.publisher.send(customer, 1, segment_country="NO") for customer in CUSTOMERS]
        scene.publisher.flush()
        until(lambda: scene.lag("crm") == 0)
        assert process.sigterm() == 0
    came = Counter(request.id for request in scene.receiver.came(scene.path("crm")))
    ids = [id_.decode() for id_ in (*NOT_READ, b"endless-sequence")]
    assert came == Counter(good) + Counter(ids * PARTITIONS)
    causes = Counter(letter["nps.webhook.cause"] for letter in scene.dead_letters())
    assert causes == {"not_an_event": (len(FOREIGN) - len(ids)) * PARTITIONS}


def test_an_endpoint_that_takes_nothing_for_days_keeps_its_partitions(scene: Scene) -> None:
    scene.receiver.scripts[scene.path("away")] = always(Answer(503))
    scene.receiver.scripts[scene.path("gone")] = always(Answer(410))
    with scene.process("away", "gone", module="tests.support.idle_nps", webhooks_pending="20") as process:
        process.wait_ready()
        ids = scene.publisher.send_all([f"c{number}" for number in range(50)], 1)
        until(lambda: process.metrics()["nps_webhook_pending", (("endpoint", "away"),)] > 10)
        until(lambda: json.loads(process.get("/readyz"))["disabled"] == ["gone"])
        time.sleep(1.5)  # days, and several heartbeats
        assert process.status("/readyz") == 200, process.problem("/readyz")
        scene.receiver.scripts[scene.path("away")] = always(Answer())
        assert {request.id for request in scene.receiver.wait_for(50, scene.path("away"))} == ids
