"""The Faust application: group membership, rebalances and the agent loop are Faust's, the rest is the engine's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import faust
from faust.tables.manager import TableManager
from faust.types.tuples import TP

from streams.engine.access import NotAuthorized
from streams.engine.config import EngineConfig
from streams.engine.engine import Engine
from streams.engine.formats import Unreadable
from streams.engine.observer import CountsListener, EngineObserver
from streams.engine.positions import GroupOfOthers, LogLost
from streams.engine.state_directory import StateDirectoryError
from streams.engine.topics import TopicsChanged
from streams.engine.transport import BatchTransport

logger = logging.getLogger(__name__)

GOODBYE_AFTER_CRASH_S = 1.0
POLL_RECORDS_MAX = 2_000
"""Records of one fetch, all partitions together."""


class _Undecoded(faust.Schema):  # type: ignore[misc]
    """Passes batches on as they are: their records are read from bytes by the engine."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> None:  # noqa: ARG002
        return None

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        return message.value


class _ConsumerOnly(faust.App.BootStrategy):  # type: ignore[misc]
    """Our transactions write everything: Faust's producer would be one more connection, and without our security."""

    enable_kafka_producer = False


class _NoTables(TableManager):  # type: ignore[misc]
    """There are no tables to wait a second for, as Faust's own manager does at every start."""

    mundane_level = "debug"

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class ProcessorApp(faust.App):  # type: ignore[misc]
    """A Faust app whose one agent takes batches of the responses topic and hands them to the engine."""

    mundane_level = "debug"
    BootStrategy = _ConsumerOnly

    def __init__(
        self, config: EngineConfig, observer: EngineObserver, listener: CountsListener, case_listener: CountsListener
    ) -> None:
        self.kafka = config.kafka
        self.session_timeout_ms = config.session_timeout_ms
        self.group_instance_id = config.group_instance_id
        super().__init__(
            config.group_id,
            broker=[f"kafka://{server}" for server in config.kafka["bootstrap_servers"].split(",")],
            store="memory://",
            TableManager=_NoTables,
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            stream_wait_empty=False,
            broker_max_poll_records=POLL_RECORDS_MAX,
            broker_session_timeout=config.session_timeout_ms / 1000,
            broker_request_timeout=max(2 * config.session_timeout_ms / 1000, 30.0),
            broker_commit_interval=3600.0,  # Faust has nothing to commit
            broker_commit_livelock_soft_timeout=3600.0,
        )
        self.engine = Engine(config, observer, listener, case_listener, lambda: self.consumer, self.processing_failed)
        self._failure: asyncio.Future[BaseException] | None = None
        source = config.deciding.topics.responses
        self.agent(self.topic(source, schema=_Undecoded(), acks=False), name="responses")(self._deliver)
        self.on_partitions_revoked.connect(self._revoked, weak=False)
        self.on_partitions_assigned.connect(self._assigned, weak=False)

    async def _deliver(self, batches: Any) -> None:
        deliver: Callable[[Any], None] = self.engine.deliver
        async for batch in batches:
            deliver(batch)

    async def _revoked(self, app: Any, revoked: set[TP], **kwargs: Any) -> None:  # noqa: ARG002
        await self.engine.revoke([tp.partition for tp in revoked])

    async def _assigned(self, app: Any, assigned: set[TP], **kwargs: Any) -> None:  # noqa: ARG002
        await self.engine.assign([tp.partition for tp in assigned])

    async def crashed_with(self) -> BaseException:
        """Return, when it happens, what made processing impossible: of a partition, or of Faust's services."""
        self._failure = asyncio.get_running_loop().create_future()
        faust_crashed = asyncio.create_task(self._crashed.wait())
        await asyncio.wait([self._failure, faust_crashed], return_when=asyncio.FIRST_COMPLETED)
        faust_crashed.cancel()
        return self._failure.result() if self._failure.done() else self.crash_reason

    async def processing_failed(self, error: BaseException) -> None:
        """Take note of what made processing impossible; `crashed_with` returns it."""
        # Their sentence says all.
        known = isinstance(
            error, NotAuthorized | GroupOfOthers | LogLost | StateDirectoryError | TopicsChanged | Unreadable
        )
        if not known:
            logger.critical("processing can't go on", exc_info=error)
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(error)

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Faust's own state has nothing to keep."""

    async def leave(self) -> None:
        """Commit, close every partition and leave the group, so that others take over at once.

        Faust's own stop takes about a minute to end its consumer thread; this does what matters of it, in order: no
        more fetching, the last commits, then the goodbye to the group.
        """
        consumer = self.consumer
        consumer.stop_flow()
        await self.engine.stop()
        thread = consumer._thread
        if thread._consumer is None:
            return
        # After a crash Faust ends the thread by itself, at any moment, and a call into it may never return.
        wait_s = GOODBYE_AFTER_CRASH_S if consumer.should_stop else None
        try:
            await asyncio.wait_for(thread.call_thread(thread._consumer.stop), wait_s)
        except TimeoutError:
            logger.warning("left the group without a goodbye: others take over after the session timeout")
        except asyncio.CancelledError:
            # Where no broker answers, aiokafka's stop ends in the cancellation of its own fetches. Ours is another.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        except RuntimeError:
            if not thread.thread_loop.is_closed():
                raise
