"""One attempt to deliver: what is sent, and what an endpoint's answer means."""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import time
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Final, NamedTuple, Self

import aiohttp

from schemas.webhooks import Envelope
from streams.webhooks.addresses import AddressRefused, socket_factory
from streams.webhooks.config import Endpoint
from streams.webhooks.resolving import resolver
from streams.webhooks.signing import signed_headers

USER_AGENT: Final = "nps-streams-webhooks"
KEPT_ALIVE_S: Final = 4.0
"""Below what servers commonly keep an idle connection for (5 s): else we would send into one that is being closed."""
ANSWER_READ_BYTES: Final = 64 * 1024
"""An answer's body is thrown away; a longer one takes the connection with it …"""
ANSWER_READ_S: Final = 1.0
"""… and so does one that takes longer."""
MAX_RETRY_AFTER_S: Final = 14 * 86_400.0
RETRIED_STATUSES: Final = frozenset({408, 425, 429})
"""Of the 4xx."""


class Verdict(StrEnum):
    """What became of an attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """It did not work, and may later."""
    REFUSED = "refused"
    """The endpoint does not take this event, whenever it is sent."""
    GONE = "gone"
    """The endpoint does not want any event more (410)."""


class Outcome(NamedTuple):
    """How an attempt ended."""

    verdict: Verdict
    cause: str = ""
    """A word for headers and metrics; none where it was delivered."""
    message: str = ""
    """A sentence for people: no addresses, nothing of the event."""
    retry_after_s: float | None = None
    """How long the endpoint asks to be left alone."""


class Sender:
    """Sends to one endpoint, over connections that are kept."""

    def __init__(self, endpoint: Endpoint, timeout_s: float, concurrency: int) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._concurrency = concurrency
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=self._concurrency,
            resolver=resolver(),
            ssl=self._endpoint.tls,
            socket_factory=socket_factory(self._endpoint.private_allowed),
            keepalive_timeout=KEPT_ALIVE_S,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": USER_AGENT, "Content-Type": "application/json"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def send(self, event: Envelope) -> Outcome:
        """Send an event once, signed for this moment."""
        assert self._session is not None
        headers = signed_headers(self._endpoint.secrets, event.id, int(time.time()), event.body)
        try:
            async with self._session.post(
                self._endpoint.url, data=event.body, headers=headers, allow_redirects=False
            ) as answer:
                outcome = read_status(answer.status, answer.headers.get("Retry-After"), time.time())
                await _finish(answer)
                return outcome
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return _failed(error, self._timeout_s)


async def _finish(answer: aiohttp.ClientResponse) -> None:
    """Read the rest, so that the connection can be used again, within limits; the answer is known already."""
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(ANSWER_READ_S):
            left = ANSWER_READ_BYTES
            while left > 0:
                chunk = await answer.content.readany()
                if not chunk:
                    return
                left -= len(chunk)
    answer.close()


def read_status(status: int, retry_after: str | None, now_s: float) -> Outcome:
    """Return what an answer means; `now_s` is seconds since the epoch."""
    if 200 <= status < 300:
        return Outcome(Verdict.DELIVERED)
    cause, message = f"http_{status}", f"the endpoint answered {status}"
    if status == 410:
        return Outcome(Verdict.GONE, cause, message)
    if 300 <= status < 400:
        return Outcome(Verdict.RETRY, "redirect", f"{message}: redirects are not followed")
    if 400 <= status < 500 and status not in RETRIED_STATUSES:
        return Outcome(Verdict.REFUSED, cause, message)
    return Outcome(Verdict.RETRY, cause, message, _retry_after_s(retry_after, now_s))


def _retry_after_s(text: str | None, now_s: float) -> float | None:
    """Read a Retry-After: seconds, or a date; None for what is neither."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:10]), MAX_RETRY_AFTER_S)
    try:
        return min(max(email.utils.parsedate_to_datetime(text).timestamp() - now_s, 0.0), MAX_RETRY_AFTER_S)
    except (ValueError, OverflowError):
        return None


def _failed(error: Exception, timeout_s: float) -> Outcome:
    """Say why there was no answer. Not with the error's own words: they may hold the address."""
    cause: BaseException | None = getattr(error, "os_error", None) or error
    if isinstance(cause, AddressRefused):
        return Outcome(Verdict.RETRY, "address_refused", str(cause))
    if isinstance(error, TimeoutError):
        return Outcome(Verdict.RETRY, "timeout", f"no answer within {timeout_s:g} s")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Outcome(Verdict.RETRY, "dns", "the host's name is not known")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Outcome(Verdict.RETRY, "tls", f"the certificate is not trusted: {_why_not_trusted(error)}")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Outcome(Verdict.RETRY, "tls", "no TLS connection could be made")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Outcome(Verdict.RETRY, "unreachable", "the host cannot be connected to")
    return Outcome(Verdict.RETRY, "connection", "the connection ended without an answer")


def _why_not_trusted(error: aiohttp.ClientConnectorCertificateError) -> str:
    certificate_error = error.certificate_error
    return str(getattr(certificate_error, "verify_message", "") or "it does not name the host")
