"""What a worker answers: is it alive, is it ready, its metrics, the scores, what converts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

from schemas.times import format_rfc3339
from streams.engine.observer import EngineStatus
from streams.http.authorization import behind_token
from streams.http.problems import Problem, respond, respond_problem
from streams.http.server import Endpoint
from streams.rules.conversions import DIMENSIONS
from streams.scoreboard.board import Scoreboard
from streams.scoreboard.conversions import conversions
from streams.scoreboard.snapshot import Snapshot

SCORES_MAX_AGE_S: Final = 1.0
"""Scores may be this much older than the question; spares the work when many ask."""
ANSWERS_AT_ONCE: Final = 2
"""Large answers made at the same time; others wait."""
SCORES_PARAMETERS: Final = ("survey_id", "segment", "window")
CONVERSIONS_PARAMETERS: Final = (*SCORES_PARAMETERS, "by")
NAME_SHOWN: Final = 64
"""Characters of a query parameter that is not known; its value is never repeated."""

RenderMetrics = Callable[[str], Awaitable[tuple[bytes, str]]]
"""The Accept header → the exposition and its content type."""


class Endpoints:
    """The endpoints, by path."""

    def __init__(
        self,
        board: Scoreboard,
        cases: Scoreboard,
        engine: EngineStatus,
        render_metrics: RenderMetrics,
        token: str | None = None,
    ) -> None:
        """With a token, scores and conversions are only for those who send it."""
        self._board = board
        self._cases = cases
        self._engine = engine
        self._render_metrics = render_metrics
        self._token = token
        self._turns = asyncio.Semaphore(ANSWERS_AT_ONCE)
        self._scrapes = asyncio.Lock()
        """Of their own: Prometheus waits for a few seconds only, and questions may be large."""

    def by_path(self) -> dict[str, Endpoint]:
        """Return them as the server takes them."""
        return {
            "/healthz": self.health,
            "/readyz": self.readiness,
            "/metrics": self.metrics,
            "/v1/scores": self._guarded(self.scores),
            "/v1/conversions": self._guarded(self.conversions),
        }

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        return endpoint if self._token is None else behind_token(endpoint, self._token)

    async def health(self, _: web.BaseRequest) -> web.Response:
        """Alive: the event loop answers."""
        return respond(b'{"alive":true}')

    async def readiness(self, _: web.BaseRequest) -> web.Response:
        """Ready: in the group, every owned partition processing, the scores of all partitions known."""
        joined = self._engine.joined
        statuses = self._engine.partitions()
        restoring = [status for status in statuses if not status.ready]
        missing = sorted({*self._board.missing(), *self._cases.missing()})
        waiting_for = []
        if not joined:
            waiting_for.append("the group's assignment")
        if restoring:
            waiting_for.append(f"{len(restoring)} of {len(statuses)} owned partitions to be restored")
        if missing:
            waiting_for.append(f"the counts of {len(missing)} partitions")
        state: dict[str, Any] = {
            "ready": not waiting_for,
            "joined": joined,
            "owned_partitions": [status.partition for status in statuses],
            "restoring": [
                {"partition": status.partition, "restored": status.restored_records, "of": status.restore_total}
                for status in restoring
            ],
            "scores_missing_partitions": missing,
        }
        if waiting_for:
            return respond_problem(
                HTTPStatus.SERVICE_UNAVAILABLE, f"Not ready, waiting for {'; '.join(waiting_for)}.", state
            )
        return respond(msgspec.json.encode(state))

    async def metrics(self, request: web.BaseRequest) -> web.Response:
        """OpenMetrics or the older text format, as the client prefers."""
        async with self._scrapes:
            body, content_type = await self._render_metrics(request.headers.get("Accept", ""))
        return respond(body, content_type)

    async def scores(self, request: web.BaseRequest) -> web.Response:
        """The rows that have responses and match."""
        wanted = self._filters(request, SCORES_PARAMETERS)
        async with self._turns:
            snapshot = await self._board.refresh(SCORES_MAX_AGE_S)
            return respond(await asyncio.to_thread(_scores, snapshot, wanted))

    async def conversions(self, request: web.BaseRequest) -> web.Response:
        """The rows that have cases and match, told apart as asked."""
        wanted = self._filters(request, CONVERSIONS_PARAMETERS)
        by = _dimensions(wanted.pop("by", ""))
        async with self._turns:
            filters = [wanted.get(name) for name in SCORES_PARAMETERS]
            found = await conversions(self._cases, self._board.windows, filters[0], filters[1], filters[2], by)
        answer = {
            "as_of": format_rfc3339(found.as_of_us),
            "complete": found.complete,
            "by": by,
            "conversions": found.rows,
        }
        return respond(await asyncio.to_thread(msgspec.json.encode, answer))

    def _filters(self, request: web.BaseRequest, parameters: tuple[str, ...]) -> dict[str, str]:
        query = request.query
        for name in query:
            if name not in parameters:
                raise Problem(
                    HTTPStatus.BAD_REQUEST,
                    f"There is no query parameter {_quoted(name)}; known are {', '.join(parameters)}.",
                )
            if len(query.getall(name)) > 1:
                raise Problem(HTTPStatus.BAD_REQUEST, f"The query parameter {name} may be given once.")
        windows = [window.name for window in self._board.windows]
        if "window" in query and query["window"] not in windows:
            raise Problem(HTTPStatus.BAD_REQUEST, f"The window must be one of {', '.join(windows)}.")
        return dict(query)


def _quoted(name: str) -> str:
    """A client's own word, to be shown to it: not all of a long one, and nothing that a terminal would obey."""
    return f"{name[:NAME_SHOWN]!r}{'…' if len(name) > NAME_SHOWN else ''}"


def _dimensions(text: str) -> tuple[str, ...]:
    by = tuple(text.split(",")) if text else ()
    if not {*by} <= {*DIMENSIONS} or len({*by}) < len(by):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"The query parameter by must be some of {', '.join(DIMENSIONS)}, each once, comma-separated.",
        )
    return by


def _scores(snapshot: Snapshot, wanted: dict[str, str]) -> bytes:
    rows = snapshot.rows(snapshot.places(**wanted))
    head = msgspec.json.encode({"as_of": format_rfc3339(snapshot.as_of_us), "complete": snapshot.complete})
    return b'%b,"scores":[%b]}' % (head[:-1], b",".join(row.model_dump_json().encode() for row in rows))
