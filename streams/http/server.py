"""The HTTP server of our processes: few endpoints, and a limit on everything that a client can hold on to.

aiohttp's server without its application framework: four paths need no router, and so every response, also to what is no
HTTP at all, is made here: as problem details, with our headers, and without a word about versions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from aiohttp import web
from mode import Service

from streams.http.problems import Problem, respond_problem

logger = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 256
REQUEST_LINE_MAX_BYTES: Final = 8 * 1024
HEADER_MAX_BYTES: Final = 8 * 1024
HEADERS_MAX: Final = 64
IDLE_TIMEOUT_S: Final = 30.0
"""A connection that brings no whole request for so long is closed, whether it says nothing or a little at a time."""
BODY_TIMEOUT_S: Final = 1.0
"""A body that no endpoint has read is thrown away for so long, then the connection is closed."""
ANSWER_TIMEOUT_S: Final = 30.0
WRITE_TIMEOUT_S: Final = 30.0
"""For a client to take the answer."""
SHUTDOWN_TIMEOUT_S: Final = 1.0

Endpoint: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.Response]]

_DETAILS: Final = {
    HTTPStatus.INTERNAL_SERVER_ERROR: "The request failed; the log says why.",
    HTTPStatus.GATEWAY_TIMEOUT: f"The answer took longer than {ANSWER_TIMEOUT_S:.0f} seconds.",
}


class CannotListen(Exception):
    """The address is taken or not this machine's."""


class HttpServer(Service):  # type: ignore[misc]
    """Serves endpoints by path: those that are read, and those that are written to."""

    mundane_level = "debug"

    def __init__(
        self,
        host: str,
        port: int,
        endpoints: Mapping[str, Endpoint],
        posts: Mapping[str, Endpoint] | None = None,
        **options: Any,
    ) -> None:
        """`port` 0 picks a free one. A path of `posts` takes POST alone, and must not be among the others."""
        super().__init__(**options)
        self._host = host
        self._port = port
        self._endpoints = dict(endpoints)
        self._posts = dict(posts or {})
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, once started; without a slash at the end."""
        assert self._runner is not None
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def on_start(self) -> None:
        """Listen. Raises CannotListen."""
        server = _Server(
            self._answer,
            access_log=None,
            max_line_size=REQUEST_LINE_MAX_BYTES,
            max_field_size=HEADER_MAX_BYTES,
            max_headers=HEADERS_MAX,
            keepalive_timeout=IDLE_TIMEOUT_S,
            lingering_time=BODY_TIMEOUT_S,
            auto_decompress=False,  # bodies are refused or thrown away, and inflating them would hold the event loop
        )
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise CannotListen(
                f"HTTP cannot listen on {self._host} port {self._port} ({error.strerror or error}): "
                "set NPS_HTTP_PORT to a free port (0 picks one) and NPS_HTTP_HOST to an address of this machine"
            ) from error
        self._runner = runner
        logger.info("HTTP listens on %s", self.url)

    async def on_stop(self) -> None:
        """Close; requests under way may take another second."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if (endpoint := self._endpoints.get(request.path)) is not None:
            if request.method not in ("GET", "HEAD"):
                return _not_allowed("This can only be read, with GET.", "GET, HEAD")
        elif (endpoint := self._posts.get(request.path)) is None:
            return respond_problem(HTTPStatus.NOT_FOUND, "There is nothing at this path.")
        elif request.method != "POST":
            return _not_allowed("This can only be written to, with POST.", "POST")
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await endpoint(request)
        except Problem as problem:
            refusal = respond_problem(problem.status, problem.detail, problem.more)
            refusal.headers.update(problem.headers)
            return refusal


def _not_allowed(detail: str, allowed: str) -> web.Response:
    refusal = respond_problem(HTTPStatus.METHOD_NOT_ALLOWED, detail)
    refusal.headers["Allow"] = allowed
    return refusal


class _Protocol(web.RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  (may quote the request)
    ) -> web.StreamResponse:
        """Return problem details for what failed, or for what is not HTTP; the connection is closed."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response is sent already")
        known = HTTPStatus(status)
        if known >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("%s %s failed", request.method, request.path, exc_info=exc)
        response = respond_problem(known, _DETAILS.get(known, "The request cannot be read as HTTP."))
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the response; a client that does not take it in time loses the connection."""
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            if self.transport is not None:
                self.transport.abort()
            return resp, True


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > CONNECTIONS_MAX:
            self._loop.call_soon(transport.abort)  # not at once: the connection is still being set up
