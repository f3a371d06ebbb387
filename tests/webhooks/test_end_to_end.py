"""`nps webhooks run` between a real Kafka and a real HTTP server that fails in every way that one can."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from standardwebhooks import Webhook

from schemas.events import EVENT_TYPES, FOLLOW_UP_OVERDUE, PASSIVE_DETECTED, PASSIVE_WITHDRAWN, SCORE_CHANGED
from schemas.topics import Topics
from streams.broker import free_port
from tests.security.commands import nps
from tests.support.kafka_reading import end_offsets
from tests.webhooks.events import WebhooksProcess
from tests.webhooks.receiver import OTHER_SECRET, SECRET, Answer, Request, always, first
from tests.webhooks.scene import Scene, numbers, until

pytestmark = pytest.mark.kafka

CUSTOMERS = [f"c{number}" for number in range(8)]


def test_each_event_is_delivered_signed_and_in_order(scene: Scene) -> None:
    """What there was before goes along with what comes; both secrets sign."""
    early = scene.publisher.send_all(CUSTOMERS, 5)
    settings = scene.settings("crm")
    config = Path(settings["NPS_WEBHOOKS_FILE"])
    config.write_text(config.read_text().replace('["env:SECRET"]', '["env:OTHER_SECRET", "env:SECRET"]'))
    with WebhooksProcess(settings, scene.folder / "webhooks.log") as process:
        process.wait_ready()
        late = [scene.publisher.send(customer, number) for number in range(5, 10) for customer in CUSTOMERS]
        scene.publisher.flush()
        came = scene.receiver.wait_for(80, scene.path("crm"))
        assert {request.id for request in came} == early | set(late)
        assert len(came) == 80, "nothing failed, so nothing came twice"
        assert numbers(came) == {customer: list(range(10)) for customer in CUSTOMERS}
        for request in came:
            for secret in (SECRET, OTHER_SECRET):
                parsed = Webhook(secret).verify(request.body, request.headers)
            assert parsed["type"] == PASSIVE_DETECTED
            assert parsed["data"]["event_id"] == request.headers["webhook-id"]
        until(lambda: scene.lag("crm") == 0)
        assert process.delivered("crm") == 80
        assert process.metrics()["nps_webhook_pending", (("endpoint", "crm"),)] == 0
        until(lambda: process.metrics()["nps_webhook_lag_records", (("endpoint", "crm"),)] == 0)
        assert json.loads(process.get("/readyz"))["endpoints"] == ["crm"]
        assert process.sigterm() == 0
    with process:  # what is committed is not sent again
        process.wait_ready()
        scene.publisher.send("c0", 10)
        scene.publisher.flush()
        scene.receiver.wait_for(81, scene.path("crm"))
        assert len(scene.receiver.came(scene.path("crm"))) == 81
    assert SECRET not in process.log()
    assert scene.receiver.url(scene.path("crm")) not in process.log()


def test_topics_without_sequences_are_read_in_the_order_of_time(scene: Scene) -> None:
    kinds = (PASSIVE_DETECTED, FOLLOW_UP_OVERDUE, SCORE_CHANGED, PASSIVE_WITHDRAWN)
    assert set(kinds) == set(EVENT_TYPES)
    for number in range(12):
        for customer in CUSTOMERS:
            scene.publisher.send(customer, number, kinds[number % 4])
        scene.publisher.flush()
        time.sleep(0.005)  # the broker's clock has whole milliseconds
    with scene.process("crm"):
        came = scene.receiver.wait_for(12 * len(CUSTOMERS), scene.path("crm"))
    assert numbers(came) == {customer: list(range(12)) for customer in CUSTOMERS}


FAILING = {
    "flaky": first(Answer(500), Answer(503)),
    "slow": first(Answer(after_s=2.0)),
    "throttling": lambda request, before: Answer(429, {"Retry-After": "1"}) if before == 0 else Answer(),
    "resetting": first(Answer(reset=True)),
    "refusing": always(Answer(400)),
    "moved": first(Answer(302, {"Location": "/elsewhere"})),
    "dead": always(Answer(500)),
    "gone": always(Answer(410)),
}


def test_endpoints_that_fail_in_every_way_hold_up_nobody(scene: Scene) -> None:
    for name, script in FAILING.items():
        scene.receiver.scripts[scene.path(name)] = script
    with scene.process("crm", *FAILING, webhooks_timeout_s="0.5") as process:
        process.wait_ready()
        began = time.monotonic()
        ids = scene.publisher.send_all(CUSTOMERS, 3)
        scene.receiver.wait_for(len(ids), scene.path("crm"), timeout_s=10)
        healthy_s = time.monotonic() - began

        for name in ("flaky", "slow", "throttling", "resetting", "moved"):
            until(lambda name=name: process.delivered(name) == len(ids))  # type: ignore[misc]
            taken = scene.receiver.taken(scene.path(name))
            assert {request.id for request in taken} == ids
            assert numbers(taken) == {customer: [0, 1, 2] for customer in CUSTOMERS}, name
            assert process.delivered(name, "retried") >= len(ids) / 3
        assert scene.receiver.came("/elsewhere") == []

        until(lambda: process.delivered("refusing", "dead_lettered") == len(ids))
        assert len(scene.receiver.came(scene.path("refusing"))) == len(ids), "once each"
        letters = scene.dead_letters()
        assert {letter["ce_id"] for letter in letters} == ids
        for letter in letters:
            assert letter["nps.webhook.endpoint"] == "refusing"
            assert letter["nps.webhook.cause"] == "http_400"
            assert letter["__connect.errors.topic"] == Topics(scene.prefix).passive_detected
            assert letter["__connect.errors.exception.message"] == "the endpoint answered 400"
        sources = {(letter["__connect.errors.partition"], letter["__connect.errors.offset"]) for letter in letters}
        assert len(sources) == len(ids)

        until(lambda: bool(scene.receiver.came(scene.path("gone"))))
        asked = len(scene.receiver.came(scene.path("gone")))
        assert asked <= 16, "no more than were under way"
        assert json.loads(process.get("/readyz"))["disabled"] == ["gone"]
        assert process.metrics()["nps_webhook_disabled", (("endpoint", "gone"),)] == 1
        assert "gone: the endpoint answered 410 (gone) and is disabled" in process.log()

        assert process.delivered("dead") == 0
        assert process.metrics()["nps_webhook_pending", (("endpoint", "dead"),)] == len(ids)
        for name in ("crm", "flaky", "refusing"):
            until(lambda name=name: scene.lag(name) == 0)  # type: ignore[misc]
        assert scene.lag("dead") == scene.lag("gone") == len(ids)
        assert process.sigterm() == 0
    assert healthy_s < 8

    # A correction, and what was held is delivered; the healthy one hears nothing twice.
    for name in ("dead", "gone"):
        scene.receiver.scripts[scene.path(name)] = always(Answer())
    before = {name: len(scene.receiver.came(scene.path(name))) for name in ("crm", "dead", "gone")}
    with process:
        for name in ("dead", "gone"):
            until(lambda name=name: process.status("/readyz") == 200 and process.delivered(name) == len(ids))  # type: ignore[misc]
            taken = scene.receiver.came(scene.path(name))[before[name] :]
            assert numbers(taken) == {customer: [0, 1, 2] for customer in CUSTOMERS}
    assert len(scene.receiver.came(scene.path("crm"))) == before["crm"]


def test_who_does_not_answer_for_long_enough_is_given_up_and_the_rest_follows(scene: Scene) -> None:
    def away_for_one(request: Request, before: int) -> Answer:
        return Answer(503 if request.data["number"] == 0 else 200)

    scene.receiver.scripts[scene.path("crm")] = away_for_one
    settings = scene.settings("crm", webhooks_retry_for_s="1")
    with WebhooksProcess(settings, scene.folder / "webhooks.log") as process:
        ids = scene.publisher.send_all(CUSTOMERS, 2)
        until(lambda: process.status("/readyz") == 200 and process.delivered("crm") == len(CUSTOMERS))
        until(lambda: scene.lag("crm") == 0)
    taken = scene.receiver.taken(scene.path("crm"))
    assert numbers(taken) == {customer: [1] for customer in CUSTOMERS}, "after the one before was given up"
    letters = scene.dead_letters()
    assert {letter["ce_id"] for letter in letters} == ids - {request.id for request in taken}
    assert {letter["nps.webhook.cause"] for letter in letters} == {"http_503"}
    for letter in letters:
        tried = [each for each in scene.receiver.came(scene.path("crm")) if each.id == letter["ce_id"]]
        assert len(tried) > 3

    scene.receiver.scripts[scene.path("crm")] = always(Answer())
    done = nps(settings, "webhooks", "replay", "crm", "--json")
    assert json.loads(done.stdout) == {"found": len(letters), "delivered": len(letters), "refused": 0}, done.stderr


def test_one_that_is_full_reads_no_further_and_loses_nothing(scene: Scene) -> None:
    scene.receiver.scripts[scene.path("dead")] = always(Answer(500))
    with scene.process("dead", "crm", webhooks_pending="20") as process:
        process.wait_ready()
        ids = scene.publisher.send_all([f"c{number}" for number in range(50)], 4)
        scene.receiver.wait_for(len(ids), scene.path("crm"))
        pending = process.metrics()["nps_webhook_pending", (("endpoint", "dead"),)]
        assert 10 < pending <= 20
        ids |= scene.publisher.send_all(["late"], 30)
        lag = "nps_webhook_lag_records", (("endpoint", "dead"),)
        until(lambda: process.metrics()[lag] == len(ids))
        scene.receiver.scripts[scene.path("dead")] = always(Answer())
        until(lambda: process.delivered("dead") == len(ids))
        until(lambda: scene.lag("dead") == 0)


def test_killed_in_the_middle_nothing_is_lost_and_order_is_held(scene: Scene) -> None:
    holding = threading.Event()

    def held_or_slow(request: Request, before: int) -> Answer:
        return Answer(503, after_s=10) if holding.is_set() else Answer(after_s=0.02)

    scene.receiver.scripts[scene.path("crm")] = held_or_slow
    customers = [f"c{number}" for number in range(20)]
    with scene.process("crm", webhooks_concurrency="4") as process:
        process.wait_ready()
        ids = scene.publisher.send_all(customers, 30)
        for share in (100, 300):
            scene.receiver.wait_for(share, scene.path("crm"), timeout_s=60)
            holding.set()
            time.sleep(1.2)  # whatever may be committed with these requests under way is committed
            process.sigkill()
            holding.clear()
            process.start()
        taken = scene.receiver.wait_for(len(ids), scene.path("crm"), timeout_s=60)
    assert {request.id for request in taken} == ids
    assert numbers(taken) == {customer: list(range(30)) for customer in customers}
    again = len(taken) - len(ids)
    assert again <= 2 * 20, "at least once is hardly more than once"


def test_one_event_that_is_refused_for_hours_makes_nothing_else_come_again(scene: Scene) -> None:
    """Its customer's place is held; the note beside it knows what was delivered since."""

    def stuck(request: Request, before: int) -> Answer:
        return Answer(500 if request.data["customer_id"] == "stuck" else 200)

    scene.receiver.scripts[scene.path("crm")] = stuck
    scene.publisher.send("stuck")
    ids = scene.publisher.send_all(CUSTOMERS, 10)
    with scene.process("crm") as process:
        scene.receiver.wait_for(len(ids), scene.path("crm"))
        until(lambda: process.delivered("crm") == len(ids))
        assert process.sigterm() == 0
    assert scene.lag("crm") > 0
    before = len(scene.receiver.came(scene.path("crm")))
    with process:
        process.wait_ready()
        scene.receiver.scripts[scene.path("crm")] = always(Answer())
        until(lambda: scene.lag("crm") == 0)
    late = scene.receiver.came(scene.path("crm"))[before:]
    assert {request.data["customer_id"] for request in late} == {"stuck"}


def test_two_processes_share_the_partitions_and_hand_them_over(scene: Scene) -> None:
    scene.receiver.scripts[scene.path("crm")] = lambda request, before: Answer(after_s=0.01)
    settings = scene.settings("crm")
    second = {**settings, "NPS_HTTP_PORT": str(free_port())}
    with (
        WebhooksProcess(settings, scene.folder / "first.log") as one,
        WebhooksProcess(second, scene.folder / "second.log") as other,
    ):
        one.wait_ready()
        other.wait_ready()
        ids = scene.publisher.send_all(CUSTOMERS, 20)
        scene.receiver.wait_for(len(ids) // 2, scene.path("crm"))
        assert other.sigterm() == 0
        came = scene.receiver.wait_for(len(ids), scene.path("crm"))
        assert numbers(came) == {customer: list(range(20)) for customer in CUSTOMERS}
        assert one.delivered("crm") > 0
        until(lambda: scene.lag("crm") == 0)
        assert "Traceback" not in one.log() + other.log()


def test_a_new_endpoint_begins_now_and_stays_there(scene: Scene) -> None:
    scene.publisher.send_all(CUSTOMERS, 3)
    settings = scene.settings("crm")
    config = Path(settings["NPS_WEBHOOKS_FILE"])
    config.write_text(config.read_text().replace('start = "beginning"', ""))
    process = WebhooksProcess(settings, scene.folder / "webhooks.log")
    with process:
        process.wait_ready()
        assert process.sigterm() == 0
    scene.publisher.send("while-away", 1)
    scene.publisher.flush()
    with process:
        came = scene.receiver.wait_for(1, scene.path("crm"))
    assert [request.data["customer_id"] for request in came] == ["while-away"]


def test_stopped_while_an_endpoint_is_slow(scene: Scene) -> None:
    scene.receiver.scripts[scene.path("crm")] = always(Answer(after_s=60))
    with scene.process("crm") as process:
        process.wait_ready()
        scene.publisher.send_all(CUSTOMERS, 1)
        scene.receiver.wait_for(8, scene.path("crm"))
        began = time.monotonic()
        assert process.sigterm(10) == 0
        assert time.monotonic() - began < 9
        assert "requests were under way and are broken off" in process.log()


def test_filters_let_through_what_is_wanted_and_what_is_no_event_is_a_dead_letter(scene: Scene) -> None:
    topic = Topics(scene.prefix).passive_detected
    wanted = f'types = ["{PASSIVE_DETECTED}"]\nsegments = {{ country = ["NO"] }}\nsurveys = ["s"]'
    scene.publisher._producer.produce(topic, b"{}", b"yes")
    scene.publisher.send("yes", 1, segment_country="NO")
    scene.publisher.send("no", 2, segment_country="SE")
    scene.publisher.send("no", 3, SCORE_CHANGED, segment_country="NO")
    scene.publisher.flush()
    with scene.process("crm", more=wanted):
        came = scene.receiver.wait_for(1, scene.path("crm"))
        until(lambda: scene.lag("crm") == 0)
    assert numbers(came) == {"yes": [1]}
    (letter,) = scene.dead_letters()
    assert letter["nps.webhook.cause"] == "not_an_event"


@pytest.mark.parametrize("note", ["moved by hand", '{"seen":1000000,"open":[0]}'])
def test_a_place_that_somebody_else_has_set_is_obeyed_and_its_note_is_not(scene: Scene, note: str) -> None:
    scene.publisher.send_all(["c0"], 6)
    group = f"{scene.prefix.rstrip('.')}-webhooks-crm"
    topic = Topics(scene.prefix).passive_detected
    (partition,) = [number for number, end in end_offsets(scene.broker.bootstrap_servers, topic).items() if end]
    consumer = Consumer({"bootstrap.servers": scene.broker.bootstrap_servers, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, partition, 4, note)], asynchronous=False)
    consumer.close()
    with scene.process("crm") as process:
        taken = scene.receiver.wait_for(2, scene.path("crm"))
        until(lambda: scene.lag("crm") == 0)
        assert "what follows may be sent again" in process.log()
    assert numbers(taken) == {"c0": [4, 5]}
