"""The consumer group: members, generations, and who owns what; the eager protocol, as Faust speaks it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.simulation.cases import PARTITIONS

if TYPE_CHECKING:
    from tests.simulation.worker import Worker
    from tests.simulation.world import World

SESSION_S = 10.0
LOOK_S = 2.0


class Group:
    """A member that is silent for a session is expelled; whoever comes or goes makes everybody share anew."""

    name = "nps"

    def __init__(self, world: World, *, static: bool) -> None:
        self._world = world
        self.static = static
        self.members: list[Worker] = []
        self.owners: dict[int, str] = {}
        self.generation = 0
        self._sharing = False
        self._due = False

    def confirms(self, worker: Worker) -> bool:
        """Answer a heartbeat."""
        return worker in self.members and worker.generation == self.generation and not self._sharing

    def join(self, worker: Worker) -> None:
        """A static member takes the place of the one of the same name before it; else that one's session has to end."""
        if self.static:
            self.members = [member for member in self.members if member.name != worker.name]
        self.members.append(worker)
        self.share()

    def left(self, worker: Worker) -> None:
        if worker in self.members:
            self.members.remove(worker)
        self.share()

    def watch(self, worker: Worker) -> None:
        """It has fallen silent."""
        self._world.spawn(self._expel(worker, worker.silent_since_s))

    async def _expel(self, worker: Worker, since_s: float) -> None:
        await asyncio.sleep(SESSION_S)
        if worker.halted and worker.silent_since_s == since_s and worker in self.members:
            self.members.remove(worker)
            self.share()

    def share(self) -> None:
        """Begin a rebalance, unless one is about to begin."""
        if not self._due:
            self._due = True
            self._world.spawn(self._rebalance())

    async def _rebalance(self) -> None:
        while self._sharing:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S / 10)
        self._sharing = True
        rng = self._world.rng
        await asyncio.sleep(rng.random() * 0.2)
        self._due = False
        await asyncio.gather(*(self._revoke(worker) for worker in list(self.members)))
        self.generation += 1
        shares: dict[Worker, list[int]] = {worker: [] for worker in self.members}
        if shares:
            for number in range(PARTITIONS):
                again = [worker for worker in shares if worker.name == self.owners.get(number)]
                owner = again[0] if again and rng.random() < 0.5 else rng.choice(list(shares))
                self.owners[number] = owner.name
                shares[owner].append(number)
        self._world.note(f"generation {self.generation}: { ({w.name: ps for w, ps in shares.items()}) }")
        await asyncio.gather(*(self._assign(worker, share, self.generation) for worker, share in shares.items()))
        self._sharing = False

    async def _revoke(self, worker: Worker) -> None:
        while worker.halted:
            if self._is_expelled(worker):
                return
            await asyncio.sleep(LOOK_S)
        await self._done(worker, worker.spawn(worker.engine.revoke(worker.owned)))

    async def _assign(self, worker: Worker, partitions: list[int], generation: int) -> None:
        await self._done(worker, worker.spawn(worker.assign(partitions, generation)))

    async def _done(self, worker: Worker, task: asyncio.Task[None]) -> None:
        while not task.done() and not self._is_expelled(worker):
            await asyncio.wait([task], timeout=LOOK_S)

    def _is_expelled(self, worker: Worker) -> bool:
        if worker in self.members and worker.halted:
            if self._world.loop.now_s - worker.silent_since_s < SESSION_S:
                return False
            self.members.remove(worker)
            self.share()
        return worker not in self.members
