"""Responses, good and bad: JSON, and problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

HEADERS: Final[Mapping[str, str]] = {
    "Server": "nps",  # aiohttp would name its version and Python's
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""On every response."""


class Problem(Exception):
    """Ends a request with problem details."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        """`detail` is one sentence; `headers` of the response; `more` are further members of the problem's object."""
        super().__init__(detail)
        self.headers = headers or {}
        self.status = status
        self.detail = detail
        self.more = more


def respond(body: bytes, content_type: str = "application/json", status: int = 200, **headers: str) -> web.Response:
    """Return a response; `content_type` is the whole header."""
    return web.Response(body=body, status=status, headers={**HEADERS, "Content-Type": content_type, **headers})


def respond_problem(status: HTTPStatus, detail: str, more: Mapping[str, Any] | None = None) -> web.Response:
    """Return problem details."""
    body = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail, **(more or {})}
    return respond(msgspec.json.encode(body), "application/problem+json", int(status))
