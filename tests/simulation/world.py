"""One world: everything that a schedule plays in, put in place of what the engine meets in production."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

from aiokafka.structs import TopicPartition

from schemas.topics import Topics
from streams.engine.committing import Committing
from streams.engine.housekeeping import Housekeeping
from tests.simulation.cases import NOW_MS, Case
from tests.simulation.checks import Checks
from tests.simulation.clients import Batch, Limits, Producer
from tests.simulation.cluster import Cluster, Entry
from tests.simulation.consumers import Admin, Consumer
from tests.simulation.disk import Disks, Loss
from tests.simulation.group import Group
from tests.simulation.loop import VirtualLoop
from tests.simulation.recording import Recorder
from tests.simulation.worker import Fuse, Worker

TOPICS = Topics()


class Clock:
    """In place of the module `time`, for what the engine takes from it."""

    perf_counter = staticmethod(time.perf_counter)
    """Measures CPU, which is real."""

    def __init__(self, loop: VirtualLoop, cpu_share: float) -> None:
        self._loop = loop
        self._cpu_share = cpu_share
        self.ahead_s = 0.0
        """The wall clock can be set; the monotonic one can't."""

    def monotonic(self) -> float:
        return self._loop.now_s

    def process_time(self) -> float:
        return self._loop.now_s * self._cpu_share

    def time(self) -> float:
        return NOW_MS / 1000 + self._loop.now_s + self.ahead_s

    def time_ns(self) -> int:
        return int(self.time() * 1000) * 1_000_000

    def now_ms(self) -> int:
        return int(self.time() * 1000)


class World:
    """`failures` collects what was seen to be wrong where nobody could be told."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, case: Case, disks: Disks) -> None:
        self.loop = loop
        self.rng = rng
        self.case = case
        self.disks = disks
        self.topics = TOPICS
        self.clock = Clock(loop, rng.choice((0.1, 1.0)))
        self.limits = Limits(rng)
        self.cluster = Cluster(loop, rng, self.clock.now_ms)
        self.group = Group(self, static=rng.random() < 0.5)
        self.recorder = Recorder(self)
        self.checks = Checks(self)
        self.cluster.on_commit = self.checks.committed
        self.workers: dict[str, Worker] = {}
        self.everybody: list[Worker] = []
        self.down_until_s = 0.0
        self.fuses: list[Fuse] = []
        self.failures: list[BaseException] = []
        self.happened: Counter[str] = Counter()
        self.story: list[str] = []
        for number, log in case.logs.items():
            topic = self.cluster.log(TopicPartition(TOPICS.responses, number))
            for record in log:
                topic.append(Entry(record.key, record.value, tuple(record.headers), record.timestamp_ms))
        self.followed_up_at_s: dict[int, list[float]] = {number: [] for number in case.follow_ups}
        """Partition → when each of its follow-ups came."""
        self.follow_up(rng.choice((0, 0, 3, 1_000)))

    def note(self, what: str) -> None:
        self.story.append(f"{self.loop.now_s:9.3f}  {what}")

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Let the world outside of all processes do something."""
        task = self.loop.create_task(work, context=self.loop.outside)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.failures.append(task.exception())  # type: ignore[arg-type]

    def follow_up(self, count: int) -> None:
        """Let the CRM send so many more of what it has, to each partition."""
        for number, log in self.case.follow_ups.items():
            came = self.followed_up_at_s[number]
            topic = self.cluster.log(TopicPartition(TOPICS.follow_ups, number))
            for record in log[len(came) : len(came) + count]:
                topic.append(Entry(record.key, record.value, (), record.timestamp_ms))
                came.append(self.loop.now_s)

    def start(self, name: str) -> None:
        """Start a worker, unless it runs."""
        known = self.workers.get(name)
        if known is None or known.dead:
            self.workers[name] = Worker(self, name)
            self.everybody.append(self.workers[name])

    def crashed(self, worker: Worker, loss: Loss) -> None:
        """A worker was killed: this is what its disk keeps."""
        self.disks.crash(worker.directory, loss)
        self.checks.stores(worker)

    def compact(self) -> None:
        for at, log in self.cluster.logs.items():
            if at.topic in TOPICS.changelogs:
                log.compact(self.clock.now_ms())

    # --- in place of production ---------------------------------------------------------------------------------------

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The engine's clients, clocks, stores and sizes are this world's. Sizes are small, so that they matter."""
        pick = self.rng.choice
        new: dict[str, object] = {
            "AIOKafkaProducer": Producer,
            "BatchBuilder": lambda *_, **__: Batch(self.limits.batch_rows),
            "AIOKafkaConsumer": Consumer,
            "AIOKafkaAdminClient": Admin,
            "Store": self.disks.open,
            "Decider": self.recorder.decider(),
            "time": self.clock,
            "gc": SimpleNamespace(collect=lambda _generation: None),  # what a schedule makes dies with it
            "SLICE_RECORDS": pick((1, 5, 250)),
            "INBOX_RECORDS_MAX": pick((2, 10, 4_000)),
            "UNIT_RECORDS_MAX": pick((2, 8, 10_000)),
            "ROWS_BETWEEN_YIELDS": pick((2, 2_000)),
            "APPENDS_BETWEEN_YIELDS": pick((2, 1_000)),
            "REMEMBERED_MAX": pick((3, 60_000)),
            "DUE_REMEMBERED_MAX": pick((1, 300_000)),
            "PRUNED_PER_CALL_MAX": pick((1, 500)),
            "OVERDUE_INTERVAL_S": pick((1.0, 5.0, 5.0)),
            "FOLLOW_UPS_POLL_TIMEOUT_MS": pick((200, 2_000, 8_000)),
            "HOUSEKEEPING_INTERVAL_S": pick((0.5, 60.0, 60.0)),
            "PURGE_INTERVAL_S": pick((1.0, 3_600.0)),
        }
        Housekeeping._one_purge = asyncio.Lock()  # of this world: it may end while somebody has it
        offsets, recorder = Committing.offsets, self.recorder
        Committing.offsets = lambda known, unit: recorder.offsets(known, unit)  # type: ignore[method-assign]
        before = [(module, name, vars(module)[name]) for name in new for module in _where(name)]
        for module, name, _ in before:
            setattr(module, name, new[name])
        try:
            yield
        finally:
            Committing.offsets = offsets  # type: ignore[method-assign]
            for module, name, old in before:
                setattr(module, name, old)


@cache
def _where(name: str) -> list[ModuleType]:
    """The engine's modules that use a name, wherever in the engine it comes from."""
    found = [
        module
        for path, module in sorted(sys.modules.items())
        if path.startswith("streams.engine.") and name in vars(module)
    ]
    assert found, f"the engine knows no {name}: what stands in its place here would do nothing"
    return found
