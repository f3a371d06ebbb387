"""A bearer token (RFC 6750) before an endpoint."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from http import HTTPStatus

from aiohttp import web

from streams.http.problems import Problem
from streams.http.server import Endpoint


class Tokens:
    """The tokens of which a client must send one."""

    def __init__(self, tokens: Iterable[str], setting: str, owner: str) -> None:
        """`setting` is where they are set, `owner` whose they are: for the sentences of refusals."""
        self._digests = [_digest(token) for token in tokens]
        self._setting = setting
        self._owner = owner

    def check(self, request: web.BaseRequest) -> int:
        """Return which token a request has, from 0. Raises Problem (401) without one."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized(f"This needs a bearer token ({self._setting}).", 'Bearer realm="nps"')
        digest = _digest(given.strip())
        matches = [hmac.compare_digest(digest, expected) for expected in self._digests]  # all, whichever it is
        if not any(matches):
            raise _unauthorized(
                f"The bearer token is not this {self._owner}'s.", 'Bearer realm="nps", error="invalid_token"'
            )
        return matches.index(True)


def behind_token(endpoint: Endpoint, token: str) -> Endpoint:
    """Return the endpoint, for those alone who send the token."""
    tokens = Tokens([token], "NPS_HTTP_TOKEN", "worker")

    async def guarded(request: web.BaseRequest) -> web.Response:
        tokens.check(request)
        return await endpoint(request)

    return guarded


def _digest(token: str) -> bytes:
    # Of one length, whatever is sent: how long the comparison takes tells nothing, not even the token's length.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": challenge})
