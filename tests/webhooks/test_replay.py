"""`nps webhooks replay`: dead letters are sent again, each once, whatever ends a replay early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from standardwebhooks import Webhook

from schemas.events import PASSIVE_DETECTED, cloud_event_headers
from schemas.topics import Topics
from schemas.webhooks import dead_letter_headers
from tests.security.commands import nps
from tests.webhooks.events import WebhooksProcess
from tests.webhooks.receiver import SECRET, Answer, Request, Script, always
from tests.webhooks.scene import Scene, numbers, until

pytestmark = pytest.mark.kafka

CUSTOMERS = [f"c{number}" for number in range(8)]


def write_dead_letters(scene: Scene, customers: int, each: int = 1) -> None:
    """Those of the endpoint crm: so many customers, each with events that are numbered from 0, customers mixed."""
    topics, servers = Topics(scene.prefix), scene.broker.bootstrap_servers
    admin = AdminClient({"bootstrap.servers": servers})
    (created,) = admin.create_topics([NewTopic(topics.webhook_dead_letter, 2, 1)]).values()
    created.result(30)
    producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random"})
    for number in range(each):
        for customer in (f"c{place}" for place in range(customers)):
            why = dead_letter_headers("crm", "http_400", "it answered 400", topics.passive_detected, 0, number)
            event = cloud_event_headers(PASSIVE_DETECTED, f"{customer}-{number}", "/nps", 0, customer, 0)
            data = json.dumps({"customer_id": customer, "number": number})
            producer.produce(topics.webhook_dead_letter, data, customer, headers=[*event, *why])
    assert producer.flush(30) == 0


def taking(count: int) -> Script:
    """Take so many, then be away."""
    left = iter(range(count))
    return lambda request, before: Answer(200 if next(left, None) is not None else 500)


def refusing_some_then_away(request: Request, before: int) -> Answer:
    """By the customer's number: refused, taken, away."""
    return Answer((400, 200, 503)[min(int(request.data["customer_id"][1:]) // 4, 2)])


def taken_ids(scene: Scene) -> Counter[str]:
    return Counter(request.id for request in scene.receiver.taken(scene.path("crm")))


def test_dead_letters_are_replayed_to_their_endpoint(scene: Scene) -> None:
    for name in ("crm", "other"):
        scene.receiver.scripts[scene.path(name)] = always(Answer(404))
    settings = scene.settings("crm", "other")
    with WebhooksProcess(settings, scene.folder / "webhooks.log") as process:
        ids = scene.publisher.send_all(CUSTOMERS, 3)
        until(lambda: process.status("/readyz") == 200 and process.delivered("other", "dead_lettered") == len(ids))
        until(lambda: process.delivered("crm", "dead_lettered") == len(ids))
    asked = len(scene.receiver.came(scene.path("other")))

    scene.receiver.scripts[scene.path("crm")] = always(Answer(503))
    stopped = nps(settings, "webhooks", "replay", "crm")
    assert stopped.returncode == 1
    assert "the replay stopped: the endpoint answered 503; start it again when crm answers" in stopped.stderr

    def picky(request: Request, before: int) -> Answer:
        return Answer(404 if request.data["customer_id"] == "c0" else 200)

    scene.receiver.scripts[scene.path("crm")] = picky
    before = len(scene.receiver.came(scene.path("crm")))
    done = nps(settings, "webhooks", "replay", "crm", "--json")
    assert json.loads(done.stdout) == {"found": len(ids), "delivered": len(ids) - 3, "refused": 3}, done.stderr
    assert (done.returncode, done.stderr) == (1, f"{len(ids) - 3} dead letters delivered, 3 refused again\n")
    late = scene.receiver.came(scene.path("crm"))[before:]
    assert numbers(late) == {customer: [0, 1, 2] for customer in CUSTOMERS}
    for request in late:
        Webhook(SECRET).verify(request.body, request.headers)

    dry = nps(settings, "webhooks", "replay", "crm", "--dry-run", "--json")
    assert json.loads(dry.stdout) == {"found": 3, "delivered": 0, "refused": 0}, "only those that were refused again"
    assert len(scene.receiver.came(scene.path("other"))) == asked
    origins = [(letter["ce_id"], letter["__connect.errors.topic"]) for letter in scene.dead_letters()]
    assert len(origins) == 2 * len(ids) + 3
    assert {topic for _, topic in origins} == {Topics(scene.prefix).passive_detected}, "where the event is, every time"


def test_what_was_delivered_before_a_replay_stops_is_not_sent_again(scene: Scene) -> None:
    write_dead_letters(scene, 12)
    settings = scene.settings("crm", more="concurrency = 2")
    scene.receiver.scripts[scene.path("crm")] = taking(6)
    stopped = nps(settings, "webhooks", "replay", "crm")
    assert stopped.returncode == 1
    assert stopped.stderr.startswith("6 dead letters delivered\nnps: the replay stopped: the endpoint answered 500")
    asked = len(scene.receiver.came(scene.path("crm")))
    assert 6 < asked <= 6 + 2, "no more than were under way when it failed"

    scene.receiver.scripts[scene.path("crm")] = always(Answer())
    dry = nps(settings, "webhooks", "replay", "crm", "--dry-run")
    assert dry.stderr == "6 dead letters would be sent again\n"
    done = nps(settings, "webhooks", "replay", "crm")
    assert (done.returncode, done.stderr) == (0, "6 dead letters delivered\n")
    assert taken_ids(scene) == Counter(f"c{number}-0" for number in range(12))


def test_an_endpoint_that_asks_for_patience_does_not_end_a_replay(scene: Scene) -> None:
    write_dead_letters(scene, 12)

    def busy(request: Request, before: int) -> Answer:
        first = (Answer(429, {"Retry-After": "1"}), Answer(reset=True))
        return first[before] if before < len(first) and request.data["customer_id"] in {"c3", "c7"} else Answer()

    scene.receiver.scripts[scene.path("crm")] = busy
    done = nps(scene.settings("crm"), "webhooks", "replay", "crm")
    assert (done.returncode, done.stderr) == (0, "12 dead letters delivered\n")
    assert taken_ids(scene) == Counter(f"c{number}-0" for number in range(12))


def test_what_is_refused_again_before_a_replay_stops_is_kept_once(scene: Scene) -> None:
    write_dead_letters(scene, 12)
    settings = scene.settings("crm", more="concurrency = 1")
    scene.receiver.scripts[scene.path("crm")] = refusing_some_then_away
    stopped = nps(settings, "webhooks", "replay", "crm", "--json")
    assert stopped.returncode == 1
    told = json.loads(stopped.stdout)
    assert told["refused"] > 0
    assert len(scene.dead_letters()) == 12 + told["refused"]

    scene.receiver.scripts[scene.path("crm")] = always(Answer())
    assert nps(settings, "webhooks", "replay", "crm").returncode == 0
    assert taken_ids(scene) == Counter(f"c{number}-0" for number in range(12))


def test_a_customer_whose_delivery_fails_keeps_the_order_in_the_next_replay(scene: Scene) -> None:
    def away_for_one(request: Request, before: int) -> Answer:
        return Answer(503 if request.id == "c1-1" else 200)

    write_dead_letters(scene, 4, each=4)
    settings = scene.settings("crm", more="concurrency = 4")
    scene.receiver.scripts[scene.path("crm")] = away_for_one
    assert nps(settings, "webhooks", "replay", "crm").returncode == 1
    scene.receiver.scripts[scene.path("crm")] = always(Answer())
    assert nps(settings, "webhooks", "replay", "crm").returncode == 0
    assert set(taken_ids(scene).values()) == {1}
    taken = scene.receiver.taken(scene.path("crm"))
    assert numbers(taken) == {f"c{place}": [0, 1, 2, 3] for place in range(4)}


@pytest.mark.parametrize(
    ("how", "again", "status"),
    [(signal.SIGINT, 2, 130), (signal.SIGTERM, 2, 130), (signal.SIGKILL, 40, -9)],
    ids=["Ctrl-C", "SIGTERM", "kill -9"],
)
def test_a_replay_that_is_broken_off_goes_on_where_it_was(
    scene: Scene, how: signal.Signals, again: int, status: int
) -> None:
    """At least once: of what was under way nobody knows, and kill -9 takes the last half second with it."""
    write_dead_letters(scene, 100)
    settings = scene.settings("crm", more="concurrency = 2")
    scene.receiver.scripts[scene.path("crm")] = lambda request, before: Answer(after_s=0.05)
    command = [sys.executable, "-m", "streams.cli", "webhooks", "replay", "crm"]
    with subprocess.Popen(command, env={**os.environ, **settings}, stderr=subprocess.DEVNULL) as running:
        scene.receiver.wait_for(60, scene.path("crm"))
        running.send_signal(how)
        assert running.wait(20) == status
    assert len(taken_ids(scene)) < 100, "it was broken off"
    done = nps(settings, "webhooks", "replay", "crm")
    assert done.returncode == 0
    assert len(taken_ids(scene)) == 100
    assert taken_ids(scene).total() <= 100 + again
