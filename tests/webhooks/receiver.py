"""A CRM's side: a real HTTP server on loopback, in a thread of its own: it answers as told and remembers all."""

from __future__ import annotations

import asyncio
import json
import queue
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

from aiohttp import web

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDMfKQ9r8G"


class Request(NamedTuple):
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    """What it was answered; 0: nothing, the connection was broken."""

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.body)["data"]
        return data


class Answer(NamedTuple):
    """How to answer."""

    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    after_s: float = 0.0
    reset: bool = False
    """Break the connection instead."""
    body: bytes = b"ok"


OK = Answer()
Script = Callable[[Request, int], Answer]
"""The request, and how often its id came before → the answer."""


def always(answer: Answer) -> Script:
    return lambda request, before: answer


def first(*answers: Answer) -> Script:
    """These answers to an event's first attempts, 200 to further ones."""
    return lambda request, before: answers[before] if before < len(answers) else OK


class Receiver:
    """By path: what to answer, and what came."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._lock = threading.Lock()
        self._came: dict[str, list[Request]] = defaultdict(list)
        self._times: dict[tuple[str, str], int] = defaultdict(int)
        self.scripts: dict[str, Script] = {}
        self.port = 0

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def came(self, path: str = "/") -> list[Request]:
        """What came to a path so far, in order."""
        with self._lock:
            return list(self._came[path])

    def taken(self, path: str = "/") -> list[Request]:
        """Of that, what was answered with 200."""
        return [request for request in self.came(path) if request.status == 200]

    def wait_for(self, count: int, path: str = "/", timeout_s: float = 30.0) -> list[Request]:
        """Return what was taken once it is so many, different ids."""
        deadline = time.monotonic() + timeout_s
        while len({request.id for request in self.taken(path)}) < count:
            assert time.monotonic() < deadline, f"{len(self.came(path))} requests to {path} and not {count} ids"
            time.sleep(0.02)
        return self.taken(path)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        came = Request(request.path, {k.lower(): v for k, v in request.headers.items()}, await request.read())
        place = came.path, came.headers.get("webhook-id", "")
        with self._lock:
            answer = self.scripts.get(came.path, always(OK))(came, self._times[place])
            self._times[place] += 1
            self._came[came.path].append(came._replace(status=0 if answer.reset else answer.status))
        if answer.after_s:
            await asyncio.sleep(answer.after_s)
        if answer.reset:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    async def _serve(self, started: Callable[[Callable[[], None]], None]) -> None:
        """Tell how to stop this, from another thread, once it listens."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.port = runner.addresses[0][1]
        started(lambda: loop.call_soon_threadsafe(stop.set))
        await stop.wait()
        await runner.cleanup()


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver(tls)
    stops: queue.Queue[Callable[[], None]] = queue.Queue()
    thread = threading.Thread(target=lambda: asyncio.run(receiver._serve(stops.put)), daemon=True)
    thread.start()
    stop = stops.get(timeout=10)
    try:
        yield receiver
    finally:
        stop()
        thread.join(10)
