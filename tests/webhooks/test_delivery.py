"""From an event to its end at one endpoint: tried again, given up, left alone."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest
from aiokafka.structs import ConsumerRecord
from prometheus_client import CollectorRegistry

from schemas.webhooks import Envelope
from streams.webhooks import delivery
from streams.webhooks.delivery import NOT_AN_EVENT, Delivery, Event
from streams.webhooks.metrics import Metrics
from streams.webhooks.retries import Retries
from streams.webhooks.sending import Outcome, Verdict, read_status

DELIVERED = Outcome(Verdict.DELIVERED)
FAILED = Outcome(Verdict.RETRY, "http_503", "the endpoint answered 503")
QUICK = Retries(0.01, 0.04, 60.0)


class Endpoint:
    """Answers with each outcome in turn, the last again and again; remembers when it was asked for what."""

    def __init__(self, *outcomes: Outcome, takes_s: float = 0.0) -> None:
        self.outcomes = outcomes
        self.takes_s = takes_s
        self.asked: list[tuple[float, str]] = []
        self.at_once = 0
        self.most_at_once = 0

    async def send(self, event: Envelope) -> Outcome:
        self.asked.append((time.monotonic(), event.id))
        outcome = self.outcomes[min(len(self.asked), len(self.outcomes)) - 1]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.at_once -= 1
        return outcome


class Kept:
    def __init__(self) -> None:
        self.kept: list[tuple[int, str, str, str]] = []

    async def keep(self, record: ConsumerRecord, endpoint: str, cause: str, message: str) -> None:
        self.kept.append((record.offset, endpoint, cause, message))


class Scene:
    """A delivery, and what became of it."""

    def __init__(
        self, *outcomes: Outcome, retries: Retries = QUICK, concurrency: int = 4, takes_s: float = 0.0
    ) -> None:
        self.registry = CollectorRegistry()
        self.endpoint = Endpoint(*outcomes, takes_s=takes_s)
        self.dead = Kept()
        metrics = Metrics(self.registry, "0").endpoint("crm")
        self.delivery = Delivery("crm", self.endpoint, self.dead, retries, metrics, concurrency)

    async def deliver(self, number: int = 0, within_s: float = 5.0) -> None:
        async with asyncio.timeout(within_s):
            await self.delivery.deliver(event(number))

    def counted(self) -> dict[str, float]:
        found = {
            result: self.registry.get_sample_value(
                "nps_webhook_deliveries_total", {"endpoint": "crm", "result": result}
            )
            for result in ("delivered", "retried", "dead_lettered", "gone")
        }
        return {result: count for result, count in found.items() if count}


def event(number: int = 0) -> Event:
    record = ConsumerRecord("events", 0, number, 1, 1, b"k", b"{}", 0, 1, 2, [])
    return Event(record, Envelope(f"e-{number}", "t", b"{}"))


async def test_delivered_at_once() -> None:
    scene = Scene(DELIVERED)
    await scene.deliver()
    assert len(scene.endpoint.asked) == 1
    assert scene.counted() == {"delivered": 1}
    assert scene.registry.get_sample_value("nps_webhook_seconds_count", {"endpoint": "crm"}) == 1


async def test_tried_again_with_the_same_id_until_it_is_taken() -> None:
    scene = Scene(FAILED, FAILED, FAILED, DELIVERED)
    await scene.deliver()
    times = [at for at, _ in scene.endpoint.asked]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert len(waits) == 3
    assert all(wait >= least for wait, least in zip(waits, (0.0095, 0.0195, 0.0195), strict=True)), waits
    assert {id_ for _, id_ in scene.endpoint.asked} == {"e-0"}
    assert scene.counted() == {"delivered": 1, "retried": 3}
    assert scene.dead.kept == []


async def test_what_is_refused_is_a_dead_letter_at_once() -> None:
    scene = Scene(read_status(400, None, 0))
    await scene.deliver(7)
    assert scene.dead.kept == [(7, "crm", "http_400", "the endpoint answered 400")]
    assert len(scene.endpoint.asked) == 1
    assert scene.counted() == {"dead_lettered": 1}


async def test_what_fails_for_too_long_is_a_dead_letter_after_one_last_try() -> None:
    scene = Scene(FAILED, retries=Retries(0.05, 0.05, 0.3))
    began = time.monotonic()
    await scene.deliver()
    assert scene.dead.kept == [(0, "crm", "http_503", "the endpoint answered 503")]
    assert scene.endpoint.asked[-1][0] - began >= 0.29
    assert 4 <= len(scene.endpoint.asked) <= 9


async def test_with_no_time_for_retries_there_is_one_attempt() -> None:
    scene = Scene(FAILED, retries=Retries(1, 1, 0))
    await scene.deliver()
    assert (len(scene.endpoint.asked), len(scene.dead.kept)) == (1, 1)


async def test_what_is_no_event_is_a_dead_letter_and_not_sent() -> None:
    scene = Scene(DELIVERED)
    await scene.delivery.deliver(event(3)._replace(envelope=None, problem="the record has no value"))
    assert scene.dead.kept == [(3, "crm", NOT_AN_EVENT, "the record has no value")]
    assert scene.endpoint.asked == []


async def test_an_endpoint_that_asks_for_rest_gets_it_from_everything() -> None:
    scene = Scene(read_status(429, "1", 0), DELIVERED)
    first = asyncio.create_task(scene.deliver(1))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(scene.deliver(2))
    await asyncio.gather(first, second)
    (at, _), *later = scene.endpoint.asked
    assert all(other - at >= 0.99 for other, _ in later)
    assert {id_ for _, id_ in later} == {"e-1", "e-2"}


async def test_no_more_requests_at_once_than_are_allowed() -> None:
    scene = Scene(DELIVERED, concurrency=3, takes_s=0.02)
    await asyncio.gather(*(scene.deliver(number) for number in range(12)))
    assert scene.endpoint.most_at_once == 3


async def test_waiting_for_a_retry_takes_no_request_away() -> None:
    scene = Scene(FAILED, DELIVERED, retries=Retries(30, 30, 60), concurrency=1)
    stuck = asyncio.create_task(scene.deliver(1, within_s=60))
    await asyncio.sleep(0.05)
    await scene.deliver(2)
    assert scene.counted() == {"delivered": 1, "retried": 1}
    stuck.cancel()


async def test_an_endpoint_that_is_gone_is_asked_once(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(read_status(410, None, 0), DELIVERED)
    tasks = [asyncio.create_task(scene.deliver(number, within_s=60)) for number in range(3)]
    await asyncio.sleep(0.1)
    asked = len(scene.endpoint.asked)
    late = asyncio.create_task(scene.deliver(9, within_s=60))
    await asyncio.sleep(0.1)
    assert len(scene.endpoint.asked) == asked, "nothing is sent any more"
    assert scene.delivery.disabled
    assert not scene.dead.kept, "its events wait"
    assert scene.counted()["gone"] == 1
    (said,) = [line.getMessage() for line in caplog.records if "410" in line.getMessage()]
    assert said.startswith("crm: the endpoint answered 410 (gone) and is disabled")
    for task in (*tasks, late):
        task.cancel()


async def test_each_kind_of_failure_has_its_line_of_log_and_the_next_tells_of_those_left_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SAY_EVERY_S", 0.3)
    refused = read_status(400, None, 0)
    scene = Scene(FAILED, DELIVERED, refused, refused, FAILED, DELIVERED, refused)
    for number in range(5):
        if number == 4:
            await asyncio.sleep(0.35)
        await scene.deliver(number)
    dead = "ERROR crm: events are dead-lettered, such as events-0 @ {}: the endpoint answered 400"
    assert [f"{line.levelname} {line.getMessage()}" for line in caplog.records] == [
        "WARNING crm: deliveries fail and are tried again: the endpoint answered 503",
        dead.format(1),
        dead.format(4) + " (and 1 more since the last such line)",
    ]


async def test_closing_waits_for_what_is_under_way_and_begins_nothing() -> None:
    closing = Scene(DELIVERED, takes_s=0.2)
    under_way = asyncio.create_task(closing.deliver(1))
    await asyncio.sleep(0.05)
    await closing.delivery.close(5.0)
    assert closing.counted() == {"delivered": 1}
    late = asyncio.create_task(closing.deliver(2, within_s=60))
    await asyncio.sleep(0.05)
    assert len(closing.endpoint.asked) == 1
    await under_way
    late.cancel()
    closing.delivery.open()
    await closing.deliver(3)


async def test_closing_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(DELIVERED, takes_s=60)
    task = asyncio.create_task(scene.deliver(1, within_s=60))
    await asyncio.sleep(0.02)
    await scene.delivery.close(0.05)
    assert "1 requests were under way" in caplog.text
    task.cancel()
