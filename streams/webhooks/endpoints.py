"""What `nps webhooks` answers over HTTP: is it alive, is it ready, its metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from streams.http.problems import respond, respond_problem
from streams.http.server import Endpoint
from streams.webhooks.reading import Reader


class HttpEndpoints:
    """The endpoints of this process, by path; not those that it delivers to."""

    def __init__(
        self, readers: Sequence[Reader], render_metrics: Callable[[str], Awaitable[tuple[bytes, str]]]
    ) -> None:
        self._readers = readers
        self._render_metrics = render_metrics

    def by_path(self) -> dict[str, Endpoint]:
        """Return them as the server takes them."""
        return {"/healthz": self._health, "/readyz": self._readiness, "/metrics": self._metrics}

    async def _health(self, _: web.BaseRequest) -> web.Response:
        return respond(b'{"alive":true}')

    async def _readiness(self, _: web.BaseRequest) -> web.Response:
        """Ready: every endpoint's group has given us our share. One that is disabled does not make us less ready."""
        waiting = [reader.name for reader in self._readers if not reader.joined]
        state: dict[str, Any] = {
            "ready": bool(self._readers) and not waiting,
            "endpoints": [reader.name for reader in self._readers],
            "waiting": waiting,
            "disabled": [reader.name for reader in self._readers if reader.state().disabled],
        }
        if state["ready"]:
            return respond(msgspec.json.encode(state))
        return respond_problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "Not ready, waiting for partitions of the event topics.", state
        )

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        body, content_type = await self._render_metrics(request.headers.get("Accept", ""))
        return respond(body, content_type)
