"""A worker process: the real engine on simulated clients, and a switch to kill or freeze it at any moment."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from aiokafka.structs import TopicPartition

from streams.engine.config import EngineConfig
from streams.engine.decider import DecidingConfig
from streams.engine.engine import Engine
from streams.engine.observer import UnitReport
from streams.engine.transport import Batch
from streams.rules.decisions import RulesConfig
from tests.simulation.cases import CROSSES, PARTITIONS, TRANSITIONS
from tests.simulation.clients import Network
from tests.simulation.consumers import GroupConsumer
from tests.simulation.disk import Loss
from tests.simulation.loop import PROCESS, Process
from tests.support.oracle_events import DAY_US

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")

NOWHERE = Path(os.devnull)
"""Of state directories: no real one can be below it."""
HEARTBEAT_S = 3.0
HELD_MAX_S = 1.0
"""How long fetched records may lie about before they are delivered."""


@dataclass
class Fuse:
    """At the `left`th passing of `moment`, by `worker` or (empty) by anybody, the process is killed or frozen."""

    worker: str
    moment: str
    left: int
    action: Literal["kill", "freeze"]
    loss: Loss = "nothing"


class Worker(Process):
    """One incarnation of a worker; its state directory outlives it."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__()
        self.world = world
        self.name = name
        self.directory = NOWHERE / name
        self.dead = False
        self._stopping = False
        self.silent_since_s = 0.0
        """Since when it is halted."""
        self.owned: list[int] = []
        self.generation = -1
        self.faults: dict[str, list[str]] = {}
        self.listener = Listener(self, world.topics.segment_counts)
        self.case_listener = Listener(self, world.topics.case_counts)
        self._context = contextvars.copy_context()
        self._context.run(PROCESS.set, self)
        network = self.network = Network(world.loop, world.cluster, world.rng, self, self, world.limits)
        network.down_until_s = lambda: world.down_until_s
        config = EngineConfig(
            kafka={"network": network},
            group_id=world.group.name,
            deciding=DecidingConfig(
                world.topics,
                PARTITIONS,
                RulesConfig(30 * DAY_US, 30 * DAY_US, 400 * DAY_US, TRANSITIONS),
                world.case.segment_limit,
                CROSSES,
                "/nps",
            ),
            state_dir=self.directory,
            counts_retention_us=400 * DAY_US,
            commit_interval_ms=100,
            transaction_timeout_ms=30_000,
            session_timeout_ms=10_000,
            now_us=lambda: world.clock.time_ns() // 1000,
            probe=self._probe,
        )
        self.engine = Engine(config, self, self.listener, self.case_listener, lambda: self.consumer, self._gave_up)
        self.consumer = GroupConsumer(network, self.engine, lambda: world.group.confirms(self))
        self._fetched: asyncio.Queue[tuple[list[Batch], float]] = asyncio.Queue()
        self.spawn(self._deliver())
        self.spawn(self._stay_member())
        world.group.join(self)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Let this process do something."""
        return self.world.loop.create_task(work, context=self._context)

    # --- as a member --------------------------------------------------------------------------------------------------

    async def assign(self, partitions: list[int], generation: int) -> None:
        self.owned, self.generation = partitions, generation
        self.consumer.assigned(TopicPartition(self.world.topics.responses, number) for number in partitions)
        await self.engine.assign(partitions)

    async def _stay_member(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if self not in self.world.group.members:
                await self.engine.revoke(self.owned)
                self.world.group.join(self)

    async def fetch(self, count: int) -> None:
        """Fetch up to `count` records of each partition, to be delivered at once or a little later."""
        rng = self.world.rng
        self.consumer.fetch_records = count
        active = [TopicPartition(self.world.topics.responses, number) for number in self.owned]
        fetched = await self.consumer._getmany(active, 1.0)
        held_s = rng.random() ** 2 * HELD_MAX_S if rng.random() < 0.3 else 0.0
        self._fetched.put_nowait(([batch for batches in fetched.values() for batch in batches], held_s))

    async def _deliver(self) -> None:
        """Deliver what was fetched, in order, as Faust's streams do, now and then late."""
        while True:
            batches, held_s = await self._fetched.get()
            if held_s:
                await asyncio.sleep(held_s)
            for batch in batches:
                self.engine.deliver(batch)

    # --- what happens to it -------------------------------------------------------------------------------------------

    def passes(self, moment: str) -> None:
        """Kill or freeze it here, if it was to be."""
        if self.halted:
            return
        for fuse in self.world.fuses:
            if fuse.moment == moment and fuse.worker in ("", self.name):
                fuse.left -= 1
                if fuse.left == 0:
                    self.world.fuses.remove(fuse)
                    self.world.note(f"{self.name}: {fuse.action} at {moment}")
                    self.world.happened[f"{fuse.action} at {moment}"] += 1
                    if fuse.action == "kill":
                        self.kill(fuse.loss)
                    else:
                        self.freeze()
                    return

    def fault(self, request: str) -> str | None:
        waiting = self.faults.get(request)
        if not waiting:
            return None
        kind = waiting.pop()
        self.world.note(f"{self.name}: {request} {kind}")
        self.world.happened[f"{request} {kind}"] += 1
        return kind

    def _probe(self, point: str) -> None:
        self.passes(point)
        if self.dead:
            raise asyncio.CancelledError  # nothing that follows is run

    def kill(self, loss: Loss) -> None:
        """kill -9."""
        if not self.dead:
            self.dead = True
            self._halt()
            self.world.crashed(self, loss)

    def freeze(self) -> None:
        """SIGSTOP."""
        if not self.halted:
            self._halt()

    def thaw(self) -> None:
        """SIGCONT."""
        if self.halted and not self.dead:
            self.world.loop.resume(self)

    def _halt(self) -> None:
        self.silent_since_s = self.world.loop.now_s
        self.world.loop.halt(self)
        self.world.group.watch(self)

    async def stop(self) -> None:
        """SIGTERM: the last commits, the goodbye, the end."""
        if self._stopping:
            return
        self._stopping = True
        await self.engine.stop()
        self.world.group.left(self)
        self.dead = True
        self.world.loop.halt(self)

    async def _gave_up(self, error: BaseException) -> None:
        self.world.failures.append(error)

    # --- EngineObserver -----------------------------------------------------------------------------------------------

    def unit_committed(self, report: UnitReport) -> None:
        self.world.happened["units"] += 1

    def commit_failed(self, partition: int, result: str) -> None:
        self.world.happened[f"commits {result}"] += 1

    def partition_gone(self, partition: int) -> None:
        pass


class Listener:
    """Takes the counts that the engine tells the scoreboard, and holds them against the changelog."""

    def __init__(self, worker: Worker, topic: str) -> None:
        self._worker = worker
        self._topic = topic
        self.rows: dict[int, dict[bytes, bytes]] = {}
        self.ready: set[int] = set()

    def partition_opening(self, partition: int) -> None:
        self.rows[partition] = {}
        self.ready.discard(partition)

    def partition_rows(self, partition: int, rows: Sequence[tuple[bytes, bytes | None]]) -> None:
        known = self.rows[partition]
        for key, value in rows:
            if value is None:
                known.pop(key, None)
            else:
                known[key] = value

    def partition_ready(self, partition: int) -> None:
        self.ready.add(partition)

    def partition_closed(self, partition: int, next_offset: int | None) -> None:
        if partition in self.ready and next_offset is not None:
            self._worker.world.checks.listener_knows(self._topic, self.rows[partition], partition, next_offset)
        self.rows.pop(partition, None)
        self.ready.discard(partition)
