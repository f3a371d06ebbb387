"""The HTTP endpoints as a client sees them, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from schemas.keys import counts_key
from schemas.scores import ScoreRow
from schemas.times import US_PER_HOUR
from streams.engine.formats import COUNTS
from streams.engine.observer import PartitionStatus
from streams.http import server as server_module
from streams.http.endpoints import Endpoints
from streams.http.server import CannotListen, HttpServer
from streams.rules.windows import parse_windows
from streams.scoreboard.board import Scoreboard
from streams.scoreboard.table import CASES
from tests.support.holding import longest_hold_s

DAY = 20_779
NOW = (DAY * 24 + 12) * US_PER_HOUR


class Engine:
    def __init__(self) -> None:
        self.joined = True
        self.statuses: list[PartitionStatus] = []

    def partitions(self) -> list[PartitionStatus]:
        return self.statuses


def status(partition: int, ready: bool) -> PartitionStatus:
    return PartitionStatus(partition, ready, 0, 0.0, 40, 100, 0)


class Worker:
    """A worker as HTTP sees it."""

    def __init__(self, partitions: int = 1) -> None:
        self.board = Scoreboard(parse_windows("1d,7d", 400), partitions, lambda: NOW)
        self.cases = Scoreboard(parse_windows("1d,7d,400d", 400), partitions, lambda: NOW, CASES)
        self.engine = Engine()
        self.metrics_fail = False

    def own(self, partition: int, rows: list[tuple[bytes, bytes | None]]) -> None:
        self.board.partition_opening(partition)
        self.board.partition_rows(partition, rows)
        self.board.partition_ready(partition)
        self.cases.partition_opening(partition)
        self.cases.partition_ready(partition)

    async def render(self, accept: str) -> tuple[bytes, str]:
        if self.metrics_fail:
            raise RuntimeError("planted secret")
        return accept.encode(), "text/plain"


def counts(survey: str, segment: str, promoters: int, day: int = DAY) -> tuple[bytes, bytes]:
    return counts_key(survey, segment, day), COUNTS.encode({12 * 7 + 3: promoters})


@asynccontextmanager
async def serving(worker: Worker) -> AsyncIterator[tuple[aiohttp.ClientSession, HttpServer]]:
    server = HttpServer("127.0.0.1", 0, Endpoints(worker.board, worker.cases, worker.engine, worker.render).by_path())
    await server.start()
    try:
        async with aiohttp.ClientSession(server.url) as client:
            yield client, server
    finally:
        await server.stop()


async def get(client: aiohttp.ClientSession, path: str, expected: int = 200, method: str = "GET") -> Any:
    async with client.request(method, path) as response:
        assert response.status == expected
        assert response.headers["Server"] == "nps"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        body = await response.json(content_type=None)
        if expected >= 400:
            assert response.content_type == "application/problem+json"
            assert {"type": "about:blank", "status": expected}.items() <= body.items()
            assert body["detail"].endswith(".")
        else:
            assert response.content_type == "application/json"
        return body


async def test_alive() -> None:
    async with serving(Worker()) as (client, _):
        assert await get(client, "/healthz") == {"alive": True}


async def test_ready_says_what_it_waits_for() -> None:
    worker = Worker(2)
    worker.engine.joined = False
    async with serving(worker) as (client, _):
        body = await get(client, "/readyz", 503)
        assert body["detail"] == "Not ready, waiting for the group's assignment; the counts of 2 partitions."
        assert (body["ready"], body["joined"], body["scores_missing_partitions"]) == (False, False, [0, 1])

        worker.engine.joined = True
        worker.engine.statuses = [status(0, True), status(1, False)]
        worker.own(0, [])
        for board in (worker.board, worker.cases):
            board.partition_opening(1)
        body = await get(client, "/readyz", 503)
        assert body["restoring"] == [{"partition": 1, "restored": 40, "of": 100}]
        assert body["scores_missing_partitions"] == [1]
        assert body["owned_partitions"] == [0, 1]

        worker.board.partition_ready(1)
        assert (await get(client, "/readyz", 503))["scores_missing_partitions"] == [1], "the cases of it are not known"
        worker.cases.partition_ready(1)
        assert "1 of 2 owned partitions" in (await get(client, "/readyz", 503))["detail"]
        worker.engine.statuses = [status(0, True), status(1, True)]
        assert (await get(client, "/readyz"))["ready"] is True


async def test_a_worker_that_owns_nothing_is_ready_once_the_scores_are_complete() -> None:
    class Follower:
        def follow(self, partition: int, next_offset: int | None) -> None: ...
        def leave(self, partition: int) -> None: ...
        def is_current(self, partition: int) -> bool:
            return True

    worker = Worker()
    async with serving(worker) as (client, _):
        await get(client, "/readyz", 503)
        worker.board.attach(Follower())
        await get(client, "/readyz", 503)
        worker.cases.attach(Follower())
        assert (await get(client, "/readyz"))["owned_partitions"] == []


async def test_scores_with_exact_filters() -> None:
    worker = Worker()
    worker.own(0, [counts("a", "all", 3), counts("a", "c=N&O", 1), counts("b", "all", 2, DAY - 3)])
    async with serving(worker) as (client, _):
        body = await get(client, "/v1/scores")
        assert (body["as_of"], body["complete"]) == ("2026-11-22T12:00:00Z", True)
        assert [(row["survey_id"], row["segment"], row["window"], row["promoters"]) for row in body["scores"]] == [
            ("a", "all", "1d", 3),
            ("a", "all", "7d", 3),
            ("a", "c=N&O", "1d", 1),
            ("a", "c=N&O", "7d", 1),
            ("b", "all", "7d", 2),
        ]
        for row in body["scores"]:
            ScoreRow.model_validate_json(json.dumps(row))
        body = await get(client, "/v1/scores?survey_id=a&segment=c%3DN%26O&window=7d")
        assert [row["promoters"] for row in body["scores"]] == [1]
        assert (await get(client, "/v1/scores?survey_id=nobody"))["scores"] == []


async def test_incomplete_scores_say_so() -> None:
    worker = Worker(2)
    worker.own(0, [counts("a", "all", 3)])
    async with serving(worker) as (client, _):
        body = await get(client, "/v1/scores?window=1d")
        assert body["complete"] is False
        assert [row["promoters"] for row in body["scores"]] == [3]


@pytest.mark.parametrize(
    ("path", "expected", "method", "says"),
    [
        ("/v1/scores?surveyid=x", 400, "GET", "no query parameter 'surveyid'; known are survey_id, segment, window."),
        (
            "/v1/conversions?window=7d&b=x",
            400,
            "GET",
            "no query parameter 'b'; known are survey_id, segment, window, by.",
        ),
        (f"/v1/scores?{'n' * 64}=x", 400, "GET", f"no query parameter '{'n' * 64}'; known"),
        (f"/v1/scores?{'n' * 65}=x", 400, "GET", f"no query parameter '{'n' * 64}'…; known"),
        ("/v1/scores?%1B%0A%FF%E2%80%AE=x", 400, "GET", r"no query parameter '\x1b\n"),
        ("/v1/scores?x=secret", 400, "GET", "known are survey_id"),
        ("/v1/scores?window=2d", 400, "GET", "1d, 7d"),
        ("/v1/scores?window=", 400, "GET", "1d, 7d"),
        ("/v1/scores?window=1d&window=7d", 400, "GET", "once"),
        ("/", 404, "GET", "nothing at this path"),
        ("/v1/scores/", 404, "GET", "nothing at this path"),
        ("/healthz", 405, "POST", "with GET"),
        ("/v1/scores", 405, "DELETE", "with GET"),
        ("/metrics", 500, "GET", "log"),
    ],
)
async def test_errors_are_problem_details(path: str, expected: int, method: str, says: str) -> None:
    worker = Worker()
    worker.metrics_fail = True
    async with serving(worker) as (client, _):
        body = await get(client, path, expected, method)
        assert says in body["detail"]
        assert "secret" not in str(body)
        async with client.request(method, path) as response:
            assert response.headers.get("Allow") == ("GET, HEAD" if expected == 405 else None)


async def test_head_gives_headers_alone() -> None:
    async with serving(Worker()) as (client, _), client.head("/healthz") as response:
        assert response.status == 200
        assert await response.read() == b""


async def test_prometheus_does_not_wait_for_those_who_ask_for_much(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, asked = Worker(), asyncio.Event()

    async def long(*_: Any) -> Any:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("streams.http.endpoints.conversions", long)
    async with serving(worker) as (client, _):
        asking = [asyncio.create_task(client.get("/v1/conversions").__aenter__()) for _ in range(8)]
        await asked.wait()
        async with asyncio.timeout(5), client.get("/metrics") as response:
            assert response.status == 200
        for each in asking:
            each.cancel()


async def test_a_body_is_not_inflated() -> None:
    """Of a request that has no use for one: 60 MB of nothing in some kB, from anybody."""
    bomb = gzip.compress(bytes(60_000_000))
    async with serving(Worker()) as (client, _):
        before_s = time.process_time()
        for _ in range(3):
            async with client.post("/healthz", data=bomb, headers={"Content-Encoding": "gzip"}) as response:
                assert response.status == 405
        await asyncio.sleep(0.2)
        assert time.process_time() - before_s < 0.1


async def test_metrics_get_the_accept_header() -> None:
    async with (
        serving(Worker()) as (client, _),
        client.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as response,
    ):
        assert await response.text() == "application/openmetrics-text"


async def exchange(server: HttpServer, sent: bytes) -> bytes:
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 9_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(100)) + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nContent-Length: a\r\n\r\n",
    ],
    ids=["no HTTP", "large header", "long line", "many headers", "bad length"],
)
async def test_what_is_no_http_gets_problem_details_and_no_versions(sent: bytes) -> None:
    async with serving(Worker()) as (_, server):
        answer = await exchange(server, sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert b"application/problem+json" in head
    assert b"aiohttp" not in answer.lower()
    assert b"python" not in answer.lower()
    assert json.loads(body)["status"] == 400


async def test_a_client_that_sends_little_by_little_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "IDLE_TIMEOUT_S", 0.5)
    async with serving(Worker()) as (_, server):
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        started = time.monotonic()
        writer.write(b"GET /healthz HTTP/1.1\r\n")
        reading = asyncio.create_task(reader.read())
        while not reading.done() and time.monotonic() - started < 5:
            writer.write(b"X-A: b\r\n")
            await asyncio.sleep(0.1)
        assert await reading == b""
        assert time.monotonic() - started < 2
        writer.close()


async def test_a_client_that_takes_no_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "WRITE_TIMEOUT_S", 0.5)
    worker = Worker()

    async def much(_: str) -> tuple[bytes, str]:
        return b"a" * 30_000_000, "text/plain"

    worker.render = much  # type: ignore[method-assign]
    async with serving(worker) as (_, server):
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(1.2)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(30_000_000)
        writer.close()


async def test_connections_are_limited(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 5)
    async with serving(Worker()) as (client, server):
        host, port = server.url.removeprefix("http://").split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(5)]
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get("/healthz")
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.1)
        await get(client, "/healthz")
    assert caplog.records == []


async def test_a_taken_port_is_named(free_port: int) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", free_port)
    server = HttpServer("127.0.0.1", free_port, {})
    with pytest.raises(CannotListen, match=f"127.0.0.1 port {free_port} .*in use.*NPS_HTTP_PORT"):
        await server.on_start()
    taken.close()


async def test_stops_at_once_although_clients_hold_on() -> None:
    worker = Worker()
    async with serving(worker) as (client, server):
        await get(client, "/healthz")
        started = time.monotonic()
        await server.stop()
        assert time.monotonic() - started < 3


async def test_thousands_of_rows_do_not_hold_the_loop() -> None:
    worker = Worker()
    worker.own(0, [counts("s", f"country={number}", 1) for number in range(10_000)])
    body = b""
    async with serving(worker) as (client, _):

        async def ask() -> None:
            nonlocal body
            async with client.get("/v1/scores") as response:
                body = await response.read()

        held_s = await longest_hold_s(ask)
    assert len(json.loads(body)["scores"]) == 20_000
    assert held_s < 0.1
