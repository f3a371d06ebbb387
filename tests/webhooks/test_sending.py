"""One attempt, against a real HTTP server: what is sent, and what each way of failing is taken for."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from standardwebhooks import Webhook, WebhookVerificationError

from schemas.webhooks import Envelope
from streams.webhooks import addresses as addresses_module
from streams.webhooks.sending import Outcome, Sender, Verdict, read_status
from tests.webhooks.endpoints import endpoint
from tests.webhooks.receiver import OTHER_SECRET, SECRET, Answer, Receiver, always, receiving

EVENT = Envelope("event-1", "nps.passive-detected.v1", b'{"type":"nps.passive-detected.v1","data":{"a":"\xc3\xb8"}}')


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@asynccontextmanager
async def sending(folder: Path, url: str, more: str = "", timeout_s: float = 5.0) -> AsyncIterator[Sender]:
    async with Sender(endpoint(folder, url, more), timeout_s, 4) as sender:
        yield sender


async def send(folder: Path, url: str, more: str = "", timeout_s: float = 5.0) -> Outcome:
    async with sending(folder, url, more, timeout_s) as sender:
        return await sender.send(EVENT)


async def test_what_is_sent_is_what_the_official_package_verifies(
    receiver: Receiver, tmp_path: Path, unique: str
) -> None:
    began = int(time.time())
    assert await send(tmp_path, receiver.url(f"/{unique}")) == Outcome(Verdict.DELIVERED)
    (came,) = receiver.came(f"/{unique}")
    assert Webhook(SECRET).verify(came.body, came.headers) == json.loads(EVENT.body)
    assert came.body == EVENT.body
    assert came.headers["webhook-id"] == "event-1"
    assert began <= int(came.headers["webhook-timestamp"]) <= time.time()
    assert came.headers["content-type"] == "application/json"
    assert came.headers["user-agent"] == "nps-streams-webhooks"
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER_SECRET).verify(came.body, came.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(came.body.replace(b'"a"', b'"b"'), came.headers)


async def test_while_a_secret_is_changed_both_verify(receiver: Receiver, tmp_path: Path, unique: str) -> None:
    await send(tmp_path, receiver.url(f"/{unique}"), 'secrets = ["env:OTHER_SECRET", "env:SECRET"]')
    (came,) = receiver.came(f"/{unique}")
    for secret in (SECRET, OTHER_SECRET):
        assert Webhook(secret).verify(came.body, came.headers)


def _connections(sender: Sender) -> set[int]:
    """Those that are kept for further use."""
    connector: Any = sender._session and sender._session.connector
    return {id(protocol) for kept in connector._conns.values() for protocol, _ in kept}


async def test_a_connection_is_used_again(receiver: Receiver, tmp_path: Path, unique: str) -> None:
    receiver.scripts[f"/{unique}"] = always(Answer(500, body=b"x" * 10_000))
    async with sending(tmp_path, receiver.url(f"/{unique}")) as sender:
        await sender.send(EVENT)
        before = _connections(sender)
        await sender.send(EVENT)
        after = _connections(sender)
    assert before == after != set()


@pytest.mark.parametrize(
    ("answer", "verdict", "cause"),
    [
        (Answer(204, body=b""), Verdict.DELIVERED, ""),
        (Answer(500), Verdict.RETRY, "http_500"),
        (Answer(503), Verdict.RETRY, "http_503"),
        (Answer(408), Verdict.RETRY, "http_408"),
        (Answer(425), Verdict.RETRY, "http_425"),
        (Answer(429), Verdict.RETRY, "http_429"),
        (Answer(400), Verdict.REFUSED, "http_400"),
        (Answer(401), Verdict.REFUSED, "http_401"),
        (Answer(404), Verdict.REFUSED, "http_404"),
        (Answer(410), Verdict.GONE, "http_410"),
        (Answer(reset=True), Verdict.RETRY, "connection"),
    ],
)
async def test_an_answer_means(
    receiver: Receiver, tmp_path: Path, unique: str, answer: Answer, verdict: Verdict, cause: str
) -> None:
    receiver.scripts[f"/{unique}"] = always(answer)
    outcome = await send(tmp_path, receiver.url(f"/{unique}"))
    assert (outcome.verdict, outcome.cause) == (verdict, cause)
    assert len(receiver.came(f"/{unique}")) == 1, "one attempt is one request"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(receiver: Receiver, tmp_path: Path, unique: str, status: int) -> None:
    elsewhere = f"/{unique}/elsewhere"
    receiver.scripts[f"/{unique}"] = always(Answer(status, {"Location": receiver.url(elsewhere)}))
    outcome = await send(tmp_path, receiver.url(f"/{unique}"))
    assert (outcome.verdict, outcome.cause) == (Verdict.RETRY, "redirect")
    assert receiver.came(elsewhere) == []


async def test_a_slow_endpoint_is_given_up_on(receiver: Receiver, tmp_path: Path, unique: str) -> None:
    receiver.scripts[f"/{unique}"] = always(Answer(after_s=5))
    began = time.monotonic()
    outcome = await send(tmp_path, receiver.url(f"/{unique}"), timeout_s=0.3)
    assert (outcome.verdict, outcome.cause, outcome.message) == (Verdict.RETRY, "timeout", "no answer within 0.3 s")
    assert time.monotonic() - began < 3


async def test_an_answer_without_end_is_not_read(tmp_path: Path) -> None:
    """The status is what counts; whoever then sends without end is hung up on."""
    ended = asyncio.Event()

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                await writer.drain()
        except ConnectionError:
            ended.set()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert (await send(tmp_path, f"http://127.0.0.1:{port}/")).verdict is Verdict.DELIVERED
        async with asyncio.timeout(5):
            await ended.wait()


async def test_nobody_listens(tmp_path: Path, free_port: int) -> None:
    outcome = await send(tmp_path, f"http://127.0.0.1:{free_port}/")
    assert (outcome.verdict, outcome.cause) == (Verdict.RETRY, "unreachable")


@pytest.mark.parametrize("host", ["nobody.invalid", f"{'x' * 70}.invalid"])
async def test_a_name_that_nobody_has(tmp_path: Path, host: str) -> None:
    outcome = await send(tmp_path, f"https://{host}/")
    assert (outcome.verdict, outcome.cause) == (Verdict.RETRY, "dns")


async def test_name_servers_that_do_not_answer_delay_no_other_endpoint(
    receiver: Receiver, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked, answered = socket.getaddrinfo, list[str](), threading.Event()

    def slow(host: str | bytes, *args: Any, **options: Any) -> Any:
        if "slow" in str(host):
            asked.append(str(host))
            answered.wait(20)
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))  # as many as uvloop has for this
    dead = [asyncio.create_task(send(tmp_path, f"https://slow{n}.invalid/", timeout_s=3)) for n in range(2)]
    try:
        for _ in range(100):
            if len(asked) == len(dead):
                break
            await asyncio.sleep(0.02)
        named = endpoint(tmp_path, receiver.url(f"/{unique}", host="localhost"), private_hosts=("localhost",))
        async with Sender(named, 2, 1) as sender:
            assert (await sender.send(EVENT)).verdict is Verdict.DELIVERED
        assert {outcome.cause for outcome in await asyncio.gather(*dead)} == {"timeout"}
    finally:
        answered.set()


ENDS_DURING_A_LOOKUP = """
import asyncio, pathlib, socket, sys, time
from tests.webhooks.test_sending import send
socket.getaddrinfo = lambda *_, **__: time.sleep(30)
print(asyncio.run(send(pathlib.Path(sys.argv[1]), "https://slow.invalid/", timeout_s=0.5)).cause)
"""


def test_a_name_server_that_does_not_answer_does_not_hold_up_the_end(tmp_path: Path) -> None:
    began = time.monotonic()
    command = [sys.executable, "-c", ENDS_DURING_A_LOOKUP, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("timeout\n", "")
    assert time.monotonic() - began < 20


# --- TLS ---


def tls_of(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context


async def test_a_certificate_must_be_signed_and_name_the_host(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trusting = 'ca_file = "ca.pem"'
    with receiving(tls_of(authority, "127.0.0.1")) as receiver:
        unknown = await send(tmp_path, receiver.url())
        assert (unknown.verdict, unknown.cause) == (Verdict.RETRY, "tls")
        assert receiver.came() == []
        assert (await send(tmp_path, receiver.url(), trusting)).verdict is Verdict.DELIVERED
    with receiving(tls_of(authority, "elsewhere.example")) as receiver:
        outcome = await send(tmp_path, receiver.url(), trusting)
        assert (outcome.verdict, outcome.cause) == (Verdict.RETRY, "tls")
        assert receiver.came() == []


async def test_one_that_does_not_speak_tls(receiver: Receiver, tmp_path: Path) -> None:
    outcome = await send(tmp_path, receiver.url("/plain").replace("http:", "https:"))
    assert (outcome.verdict, outcome.cause) == (Verdict.RETRY, "tls")


# --- addresses ---


@pytest.mark.parametrize("name", ["localhost", "crm.example"])
async def test_a_private_address_is_refused_when_it_is_connected_to(
    receiver: Receiver, tmp_path: Path, unique: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name was harmless when the file was checked: whoever owns it lets it lead to us afterwards."""
    real = socket.getaddrinfo

    def rebound(host: bytes, *args: Any, **options: Any) -> Any:
        return real(b"127.0.0.1" if host == b"crm.example" else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    url = receiver.url(f"/{unique}", host=name).replace("http:", "https:")
    async with Sender(endpoint(tmp_path, url, private_hosts=()), 5, 1) as sender:
        outcome = await sender.send(EVENT)
    assert (outcome.verdict, outcome.cause) == (Verdict.RETRY, "address_refused")
    assert "NPS_WEBHOOKS_PRIVATE_HOSTS" in outcome.message
    assert receiver.came(f"/{unique}") == []


async def test_a_public_address_is_reached_without_being_named(
    receiver: Receiver, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as a test can: loopback, taken for public."""
    url = receiver.url(f"/{unique}", host="localhost").replace("http:", "https:")
    made = endpoint(tmp_path, url, private_hosts=())
    monkeypatch.setattr(addresses_module, "is_public", lambda address: address in ("127.0.0.1", "::1"))
    async with Sender(made, 5, 1) as sender:
        assert (await sender.send(EVENT)).cause == "tls", "connected, to one that does not speak TLS"


async def test_a_host_that_is_named_may_have_one(receiver: Receiver, tmp_path: Path, unique: str) -> None:
    url = receiver.url(f"/{unique}", host="localhost")
    async with Sender(endpoint(tmp_path, url, private_hosts=("localhost",)), 5, 1) as sender:
        assert (await sender.send(EVENT)).verdict is Verdict.DELIVERED


# --- Retry-After ---

NOW_S = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        (format_datetime(datetime.fromtimestamp(NOW_S, UTC) + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(datetime.fromtimestamp(NOW_S, UTC) - timedelta(seconds=90), usegmt=True), 0.0),
        ("99999999999999999999", 1_209_600.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("\u0661", None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    for status in (429, 503):
        assert read_status(status, text, NOW_S).retry_after_s == seconds
    assert read_status(400, "10", NOW_S).retry_after_s is None
