"""What the AsyncAPI document says of the dead letters of webhooks is what is written."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from jsonschema import Draft202012Validator

from schemas.asyncapi import document
from schemas.events import PASSIVE_DETECTED, cloud_event_headers
from schemas.topics import Topics
from schemas.webhooks import CAUSE_HEADER, ERROR_HEADERS
from streams.webhooks import dead_letters as dead_letters_module
from streams.webhooks import sending
from streams.webhooks.dead_letters import DeadLetters
from streams.webhooks.delivery import NOT_AN_EVENT

TOPIC = Topics().webhook_dead_letter
DOCUMENT = document("1")
HEADERS: dict[str, Any] = DOCUMENT["components"]["messages"]["webhookDeadLetter"]["headers"]
CE = list(cloud_event_headers(PASSIVE_DETECTED, "id", "/nps", 0, "c-1", 0))


class Written:
    """A producer that remembers headers."""

    headers: list[tuple[str, bytes]]

    def __init__(self, **_: Any) -> None: ...

    async def send_and_wait(self, topic: str, value: bytes, key: bytes, headers: list[tuple[str, bytes]]) -> None:
        assert (topic, value, key) == (TOPIC, b"{}", b"c-1")
        Written.headers = headers


async def kept(monkeypatch: pytest.MonkeyPatch, topic: str, own: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The headers of the dead letter that is made of a record with headers of its own."""
    monkeypatch.setattr(dead_letters_module, "Producer", Written)
    record = ConsumerRecord(topic, 3, 7, 0, 0, b"c-1", b"{}", None, 3, 2, own)
    await DeadLetters({}, TOPIC).keep(record, "crm", "http_400", "the endpoint answered 400")
    return Written.headers


def test_its_channel_has_this_message_alone() -> None:
    (channel,) = (each for each in DOCUMENT["channels"].values() if each["address"] == TOPIC)
    assert channel["messages"] == {"webhookDeadLetter": {"$ref": "#/components/messages/webhookDeadLetter"}}


async def test_the_headers_that_are_appended_are_those_of_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = await kept(monkeypatch, Topics().passive_detected, CE)
    assert headers[: len(CE)] == CE
    appended = {name: value.decode() for name, value in headers[len(CE) :]}
    assert list(appended) == list(HEADERS["properties"]) == HEADERS["required"]
    assert appended.keys() == ERROR_HEADERS
    Draft202012Validator(HEADERS).validate({name: value.decode() for name, value in headers})


async def test_a_letter_that_was_replayed_has_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = await kept(monkeypatch, Topics().passive_detected, CE)
    assert await kept(monkeypatch, TOPIC, first) == first


def test_every_cause_is_described() -> None:
    causes = Draft202012Validator(HEADERS["properties"][CAUSE_HEADER])
    answers = {sending.read_status(status, None, 0.0).cause for status in range(300, 600)}
    words = {*re.findall(r'Outcome\(Verdict\.\w+, "(\w+)"', inspect.getsource(sending)), NOT_AN_EVENT}
    assert {"redirect", "timeout", "http_400"} <= {*words, *answers}
    for cause in (*answers, *words):
        causes.validate(cause)
    described = {word for choice in HEADERS["properties"][CAUSE_HEADER]["anyOf"] for word in choice.get("enum", ())}
    assert described == {*words, "redirect"}
    assert not causes.is_valid("planted")
