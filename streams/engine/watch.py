"""Looks now and then whether the topics are still what they were when the worker started.

Nothing else would tell in time. To a client a deleted topic is one whose leader is not known yet, which it waits for;
one that was deleted and created again is read from its new beginning, all of it "behind" what was processed, until it
has grown past that; and of added partitions a consumer hears within minutes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from mode import Service

from schemas.topics import Topics
from streams.engine.clients import connected_admin
from streams.engine.positions import LogLost
from streams.engine.topics import TopicsChanged, changed_topics

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S: Final = 4.0


class TopicWatch(Service):  # type: ignore[misc]
    """Reports a change of topics, or the loss of what was processed, once.

    Two looks in a row must agree on it: a broker that has just come back may not know all of its topics yet.
    """

    mundane_level = "debug"

    def __init__(
        self,
        kafka: dict[str, Any],
        topics: Topics,
        partitions: int,
        check_ends: Callable[[], Awaitable[None]],
        failed: Callable[[BaseException], Awaitable[None]],
        **options: Any,
    ) -> None:
        """`check_ends` raises LogLost; `failed` is told what was found."""
        super().__init__(**options)
        self._kafka = kafka
        self._topics = topics
        self._partitions = partitions
        self._check_ends = check_ends
        self._failed = failed
        self._admin: AIOKafkaAdminClient | None = None

    @Service.task  # type: ignore[untyped-decorator, unused-ignore]
    async def _watch(self) -> None:
        before = None
        while not self.should_stop:
            await self.sleep(LOOK_INTERVAL_S)
            if self.should_stop:
                return
            try:
                wrong = await self._look()
            except (KafkaError, OSError, TimeoutError) as error:  # a broker that is away is for others to report
                logger.debug("the topics cannot be looked at: %s", type(error).__name__)
                await self._close()
                continue
            found = None if wrong is None else str(wrong)
            if wrong is not None and found == before:
                await self._failed(wrong)
                return
            before = found

    async def _look(self) -> Exception | None:
        """Return what is wrong now."""
        if self._admin is None:
            self._admin = await connected_admin(self._kafka)
        changed = await changed_topics(self._admin, self._topics, self._partitions)
        if changed is not None:
            return TopicsChanged(changed)
        try:
            await self._check_ends()
        except LogLost as lost:
            return lost
        return None

    async def _close(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    async def on_stop(self) -> None:
        """Close the connection."""
        await self._close()
