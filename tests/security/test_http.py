"""The HTTP endpoints against those who should not be answered, and against those who ask strangely."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from typer.testing import CliRunner

from streams.cli.application import app
from streams.engine.observer import PartitionStatus
from streams.http import server as server_module
from streams.http.endpoints import Endpoints
from streams.http.server import HttpServer
from streams.rules.windows import parse_windows
from streams.scoreboard.board import Scoreboard
from streams.scoreboard.table import CASES

TOKEN = "a-token.of_enough~characters/+=="
NOW_US = 1_800_000_000_000_000


class Engine:
    joined = True

    def partitions(self) -> list[PartitionStatus]:
        return []


async def render(accept: str) -> tuple[bytes, str]:
    return b"", "text/plain"


@asynccontextmanager
async def serving(token: str | None = TOKEN) -> AsyncIterator[HttpServer]:
    board = Scoreboard(parse_windows("1d", 400), 1, lambda: NOW_US)
    cases = Scoreboard(parse_windows("1d,400d", 400), 1, lambda: NOW_US, CASES)
    for each in (board, cases):
        each.partition_opening(0)
        each.partition_ready(0)
    server = HttpServer("127.0.0.1", 0, Endpoints(board, cases, Engine(), render, token).by_path())
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def exchange(server: HttpServer, sent: bytes, timeout_s: float = 5) -> bytes:
    """All that comes back until the server closes the connection."""
    reader, writer = await connect(server)
    writer.write(sent)
    try:
        async with asyncio.timeout(timeout_s):
            return await reader.read()
    finally:
        writer.close()


async def connect(server: HttpServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = server.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


# --- the token --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "status", "challenge"),
    [
        (f"Bearer {TOKEN}", 200, None),
        (f"bearer  {TOKEN} ", 200, None),
        (None, 401, 'Bearer realm="nps"'),
        ("", 401, 'Bearer realm="nps"'),
        (TOKEN, 401, 'Bearer realm="nps"'),
        ("Basic bnBzOm5wcw==", 401, 'Bearer realm="nps"'),
        ("Bearer", 401, 'Bearer realm="nps", error="invalid_token"'),
        (f"Bearer {TOKEN[:-1]}", 401, 'Bearer realm="nps", error="invalid_token"'),
        (f"Bearer {TOKEN}x", 401, 'Bearer realm="nps", error="invalid_token"'),
        (f"Bearer {TOKEN.upper()}", 401, 'Bearer realm="nps", error="invalid_token"'),
        ("Bearer \u00e6\u00f8\u00e5", 401, 'Bearer realm="nps", error="invalid_token"'),
    ],
)
async def test_scores_are_for_those_with_the_token(header: str | None, status: int, challenge: str | None) -> None:
    headers = {"Authorization": header} if header is not None else {}
    async with serving() as server, aiohttp.ClientSession(server.url, headers=headers) as client:
        for method in ("GET", "HEAD"):
            async with client.request(method, "/v1/scores?survey_id=a") as response:
                assert response.status == status
                assert response.headers.get("WWW-Authenticate") == challenge
                body = await response.read()
            if status == 401 and method == "GET":
                assert response.content_type == "application/problem+json"
                assert json.loads(body)["status"] == 401
                assert TOKEN.encode() not in body
            if status == 401:
                assert b"scores" not in body


async def test_a_header_that_is_no_text_is_refused() -> None:
    async with serving() as server:
        answer = await exchange(
            server, b"GET /v1/scores HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \xff\xfe\r\n\r\n"
        )
    assert answer.startswith(b"HTTP/1.1 40")


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_what_operators_ask_needs_no_token(path: str) -> None:
    async with serving() as server, aiohttp.ClientSession(server.url) as client, client.get(path) as response:
        assert response.status == 200


async def test_without_a_token_scores_are_open() -> None:
    async with serving(None) as server, aiohttp.ClientSession(server.url) as client:
        assert (await client.get("/v1/scores")).status == 200


async def test_the_scores_command_sends_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server:
        monkeypatch.setenv("NPS_HTTP_PORT", server.url.rpartition(":")[2])
        refused = await asyncio.to_thread(CliRunner().invoke, app, ["scores", "--json"])
        assert refused.exit_code == 1
        assert "answered 401: This needs a bearer token (NPS_HTTP_TOKEN)." in refused.stderr
        monkeypatch.setenv("NPS_HTTP_TOKEN", TOKEN)
        shown = await asyncio.to_thread(CliRunner().invoke, app, ["scores", "--json"])
        assert shown.exit_code == 0, shown.stderr
        assert json.loads(shown.stdout)["complete"] is True
        monkeypatch.setenv("NPS_HTTP_TOKEN", TOKEN + "=")
        wrong = await asyncio.to_thread(CliRunner().invoke, app, ["scores", "--json"])
        assert wrong.exit_code == 1
        assert "answered 401: The bearer token is not this worker's." in wrong.stderr
        assert TOKEN not in wrong.stdout + wrong.stderr


@pytest.mark.parametrize("token", ["short", "has a space in it and is long", "æøåæøåæøåæøåæøåæøåæøå", "=" * 20])
def test_a_bad_token_is_refused_and_not_repeated(token: str) -> None:
    refused = CliRunner().invoke(app, ["settings"], env={"NPS_HTTP_TOKEN": token})
    assert refused.exit_code == 1
    assert "NPS_HTTP_TOKEN: must be at least 16 characters" in refused.stderr
    assert token not in refused.stderr


# --- strange clients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "PROPFIND"])
async def test_other_methods_are_refused(method: str) -> None:
    async with serving() as server:
        sent = f"{method} /healthz HTTP/1.1\r\nHost: x\r\nX-Echo: planted\r\nConnection: close\r\n\r\n"
        answer = await exchange(server, sent.encode())
    assert answer.startswith((b"HTTP/1.1 405", b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert b"planted" not in answer  # TRACE repeats nothing
    assert b"application/problem+json" in answer


STRANGE = {
    "both": b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two content-lengths": b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "bad chunk": b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "version": b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
    "header name": b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
    "connect": b"CONNECT 192.0.2.1:80 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "proxy": b"GET http://192.0.2.1/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "dots": b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "nul": b"GET /healthz%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "zeros": b"\x00" * 20_000,
}


@pytest.mark.parametrize("sent", STRANGE.values(), ids=STRANGE)
async def test_what_is_ambiguous_or_asks_for_more_is_refused_and_the_server_lives(sent: bytes) -> None:
    async with serving() as server:
        answer = await exchange(server, sent)
        first = answer.partition(b"\r\n")[0]
        assert first.split(b" ")[1:2] in ([b"400"], [b"404"], [b"405"]), answer
        assert answer.count(b"HTTP/1.") == 1  # nothing in it was taken for a second request
        async with aiohttp.ClientSession(server.url) as client, client.get("/healthz") as response:
            assert response.status == 200


async def test_a_body_that_never_ends_is_not_waited_for() -> None:
    async with serving() as server:
        reader, writer = await connect(server)
        began = time.monotonic()
        writer.write(b"POST /v1/scores HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n")
        sending = asyncio.create_task(_trickle(writer, b"a"))
        answer = await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(10):
            await until_closed(reader.read)
        sending.cancel()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 405")
        assert time.monotonic() - began < 5


async def _trickle(writer: asyncio.StreamWriter, piece: bytes) -> None:
    while not writer.is_closing():
        writer.write(piece)
        await asyncio.sleep(0.05)


async def test_many_slow_clients_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection less than the limit, each sending a header a byte at a time."""
    monkeypatch.setattr(server_module, "IDLE_TIMEOUT_S", 1.5)
    async with serving() as server:
        slow = [await connect(server) for _ in range(server_module.CONNECTIONS_MAX - 1)]
        trickling = []
        for _, writer in slow:
            writer.write(b"GET /healthz HTTP/1.1\r\nX-A: ")
            trickling.append(asyncio.create_task(_trickle(writer, b"a")))
        async with aiohttp.ClientSession(server.url) as client:
            began = time.monotonic()
            async with client.get("/healthz") as response:
                assert response.status == 200
            assert time.monotonic() - began < 1
        async with asyncio.timeout(10):
            for reader, _ in slow:
                await until_closed(reader.read)
        for task in trickling:
            task.cancel()
        for _, writer in slow:
            writer.close()


async def until_closed(read: Callable[[], Awaitable[bytes]]) -> None:
    with suppress(ConnectionError):
        await read()


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "IDLE_TIMEOUT_S", 0.5)
    async with serving() as server:
        assert await exchange(server, b"") == b""  # one that says nothing
        answer = await exchange(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")  # one that stays after its answer
        assert answer.startswith(b"HTTP/1.1 200")
