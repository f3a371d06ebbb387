"""What `nps intake` answers: records in, all of a body or none of it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol

import msgspec
from aiohttp import HttpVersion11, web

from schemas import openapi
from schemas.dead_letters import Reason
from schemas.intake import DOORS, MAX_BODY_BYTES, MAX_RECORDS, Door
from schemas.response import Rejected
from schemas.topics import Topics
from streams.http.authorization import Tokens
from streams.http.problems import Problem, respond
from streams.http.server import Endpoint
from streams.intake.limits import TokenBucket
from streams.intake.metrics import Metrics
from streams.intake.publishing import Record, Unavailable

logger = logging.getLogger(__name__)

BODY_TIMEOUT_S: Final = 10.0
BODIES_AT_ONCE: Final = 32
"""Each token has its share, above which its own wait: so much memory at most, times the largest body, and whoever sends
slowly holds up nobody else."""
RECORDS_BETWEEN_TURNS: Final = 500
"""Judged in one go; then others have a turn."""
NO_RECORD: Final = {"line": 1, "reason": str(Reason.INVALID_JSON), "message": "no line of the body has a record"}
"""Of lines that are all empty, as of one object that is: whoever sent them reads `errors` after every 422."""


class Publishes(Protocol):
    """Puts records on a topic."""

    async def publish(self, topic: str, records: Sequence[Record]) -> None:
        """Return once they are acknowledged. Raises Unavailable."""


class IntakeEndpoints:
    """The endpoints, by path."""

    def __init__(
        self,
        topics: Topics,
        publisher: Publishes,
        tokens: Sequence[str],
        new_bucket: Callable[[], TokenBucket],
        metrics: Metrics,
    ) -> None:
        self._topics = topics
        self._publisher = publisher
        self._tokens = Tokens(tokens, "NPS_INTAKE_TOKENS", "intake")
        self._buckets = [new_bucket() for _ in tokens]
        self._metrics = metrics
        self._document = msgspec.json.encode(openapi.document())
        self._bodies = [asyncio.Semaphore(max(BODIES_AT_ONCE // len(tokens), 1)) for _ in tokens]

    def to_read(self) -> dict[str, Endpoint]:
        """Return those that answer GET."""

        async def health(_: web.BaseRequest) -> web.Response:
            return respond(b'{"alive":true}')

        async def readiness(_: web.BaseRequest) -> web.Response:
            return respond(b'{"ready":true}')  # it listens once it is connected

        async def document(_: web.BaseRequest) -> web.Response:
            return respond(self._document)

        async def metrics(request: web.BaseRequest) -> web.Response:
            body, content_type = await self._metrics.render(request.headers.get("Accept", ""))
            return respond(body, content_type)

        return {"/healthz": health, "/readyz": readiness, "/openapi.json": document, "/metrics": metrics}

    def to_write(self) -> dict[str, Endpoint]:
        """Return those that take POST."""
        return {door.path: self._counted(door.path, partial(self._take, door)) for door in DOORS}

    def _counted(self, path: str, endpoint: Callable[[web.BaseRequest], Awaitable[web.Response]]) -> Endpoint:
        async def counted(request: web.BaseRequest) -> web.Response:
            began_s = time.perf_counter()
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            try:
                response = await endpoint(request)
                status = HTTPStatus(response.status)
                return response
            except Problem as problem:
                status = problem.status
                raise
            except asyncio.CancelledError:
                status = HTTPStatus.GATEWAY_TIMEOUT  # what the server makes of its limit for an answer
                raise
            finally:
                self._metrics.answered(path, int(status), time.perf_counter() - began_s)

        return counted

    async def _take(self, door: Door, request: web.BaseRequest) -> web.Response:
        number = self._tokens.check(request)
        bucket = self._buckets[number]
        _check_budget(bucket)
        one = _is_one(request)
        async with self._bodies[number]:
            body = await _body(request)
            values = [(1, body)] if one else _lines(body)
            _check_budget(bucket)  # bodies that came meanwhile may have spent it
            bucket.take(max(len(values), 1))
            records = await self._judge(door, values)
            await self._publish(door, records)
        self._metrics.records(door.path, "accepted", len(records))
        return respond(msgspec.json.encode({"accepted": len(records)}), status=HTTPStatus.ACCEPTED)

    async def _judge(self, door: Door, values: Sequence[tuple[int, bytes]]) -> list[Record]:
        """Decide as a worker would. Raises Problem (422) that names the lines which are refused."""
        records: list[Record] = []
        errors: list[dict[str, Any]] = [] if values else [NO_RECORD]
        now_ms = time.time_ns() // 1_000_000
        for place, (line, value) in enumerate(values, start=1):
            try:
                key = door.key(value)
                door.accept(key, value, now_ms)
            except Rejected as rejected:
                errors.append({"line": line, "reason": str(rejected.reason), "message": rejected.message})
            else:
                records.append(Record(key, value))
            if place % RECORDS_BETWEEN_TURNS == 0:
                await asyncio.sleep(0)
        if errors:
            self._metrics.records(door.path, "refused", len(errors))
            detail = f"{len(errors)} of {len(values)} records are refused, so none was taken."
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                detail if values else "There is no record in the body.",
                errors_total=len(errors),
                errors=errors[: openapi.MAX_ERRORS],
            )
        return records

    async def _publish(self, door: Door, records: Sequence[Record]) -> None:
        try:
            await self._publisher.publish(door.topic(self._topics), records)
        except Unavailable as error:
            logger.error("%d records were not acknowledged: %s", len(records), error)
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Kafka has not acknowledged everything: send the whole body again.",
                headers={"Retry-After": "5"},
            ) from error


def _check_budget(bucket: TokenBucket) -> None:
    """Raises Problem (429)."""
    if (wait_s := bucket.wait_s()) > 0:
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "This token has sent more records than it may (NPS_INTAKE_RATE, NPS_INTAKE_BURST).",
            headers={"Retry-After": str(math.ceil(wait_s))},
        )


def _is_one(request: web.BaseRequest) -> bool:
    """Whether the body is one object, and not lines. Raises Problem (415) for other media types."""
    charset = (request.charset or "utf-8").lower()
    encodings = {each.lower() for each in request.headers.getall("Content-Encoding", ())}
    if encodings - {"identity"} or charset not in ("utf-8", "utf8"):
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be UTF-8, and not compressed.")
    if "Content-Type" in request.headers and request.content_type == openapi.JSON:
        return True
    if request.content_type in openapi.LINES:
        return False
    raise Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The Content-Type must be application/json (one object) or application/x-ndjson (one object a line).",
    )


async def _body(request: web.BaseRequest) -> bytes:
    """Read the body, up to the limit. Raises Problem (408, 413)."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _too_large()
    wants_word = request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11
    if wants_word and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _too_large()
    except TimeoutError:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"The body did not come within {BODY_TIMEOUT_S:g} seconds.") from None
    except ConnectionError:  # nobody reads this answer: it is for the count
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "The connection ended in the middle of the body.") from None
    return bytes(body)


def _too_large() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body may have at most {MAX_BODY_BYTES} bytes: send it in parts."
    )


def _lines(body: bytes) -> list[tuple[int, bytes]]:
    """Return the lines that are not empty, with their numbers. Raises Problem (413)."""
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), start=1) if line.strip()]
    if len(lines) > MAX_RECORDS:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body may have at most {MAX_RECORDS} records: send it in parts."
        )
    return lines
