"""What a client may hold on to, exactly at each limit and one beyond; `docs/security.md` tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from streams.http.problems import respond
from streams.http.server import HttpServer

KIB_8 = 8 * 1024


@asynccontextmanager
async def serving() -> AsyncIterator[HttpServer]:
    async def endpoint(_: web.BaseRequest) -> web.Response:
        return respond(b"{}")

    server = HttpServer("127.0.0.1", 0, {"/healthz": endpoint})
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def connect(server: HttpServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = server.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def status(server: HttpServer, sent: bytes) -> int:
    reader, writer = await connect(server)
    writer.write(sent)
    try:
        async with asyncio.timeout(5):
            return int((await reader.readline()).split()[1])
    finally:
        writer.close()


def line(size: int) -> bytes:
    """A request whose target has this many bytes."""
    return b"GET /healthz?" + b"a" * (size - len("/healthz?")) + b" HTTP/1.1\r\nHost: x\r\n\r\n"


def header(size: int) -> bytes:
    """A request with a header whose value has this many bytes."""
    return b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * size + b"\r\n\r\n"


def headers(count: int) -> bytes:
    more = b"".join(b"X-%d: 1\r\n" % number for number in range(count - 1))
    return b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n"


@pytest.mark.parametrize(
    ("at", "beyond"),
    [(line(KIB_8), line(KIB_8 + 1)), (header(KIB_8), header(KIB_8 + 1)), (headers(64), headers(65))],
    ids=["request line", "header", "headers"],
)
async def test_a_request_as_large_as_may_be(at: bytes, beyond: bytes) -> None:
    async with serving() as server:
        assert await status(server, at) == 200
        assert await status(server, beyond) == 400


async def test_256_connections_and_no_more() -> None:
    async with serving() as server:
        held = [await connect(server) for _ in range(256)]
        reader, writer = await connect(server)
        writer.write(headers(1))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        last_reader, last_writer = held[-1]
        last_writer.write(headers(1))
        assert (await asyncio.wait_for(last_reader.readline(), 5)).split()[1] == b"200"
        for _, each in (*held, (reader, writer)):
            each.close()
