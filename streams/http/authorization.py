"""A bearer token (RFC 6750) before an endpoint."""

from __future__ import annotations

import hashlib
import hmac
from http import HTTPStatus

from aiohttp import web

from streams.http.problems import respond_problem
from streams.http.server import Endpoint


def behind_token(endpoint: Endpoint, token: str) -> Endpoint:
    """Return the endpoint, for those alone who send the token."""
    expected = _digest(token)

    async def guarded(request: web.BaseRequest) -> web.Response:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return _unauthorized("This needs a bearer token (NPS_HTTP_TOKEN).", 'Bearer realm="nps"')
        if not hmac.compare_digest(_digest(given.strip()), expected):
            return _unauthorized("The bearer token is not this worker's.", 'Bearer realm="nps", error="invalid_token"')
        return await endpoint(request)

    return guarded


def _digest(token: str) -> bytes:
    # Of one length, whatever is sent: how long the comparison takes tells nothing, not even the token's length.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _unauthorized(detail: str, challenge: str) -> web.Response:
    refusal = respond_problem(HTTPStatus.UNAUTHORIZED, detail)
    refusal.headers["WWW-Authenticate"] = challenge
    return refusal
