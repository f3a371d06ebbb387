"""What all partitions of a worker share. Made once by the engine."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, field
from types import TracebackType

from streams.engine.ledger import LedgerMemory
from streams.engine.pace import CpuShare

RESTORED_AT_ONCE = 4
"""Partitions of a worker that are restored side by side: enough to have one fetch while another takes in."""


RECORDS_BETWEEN = 250
"""Records that are decided before young objects are looked at: those of a slice, where slices are full."""
YOUNG_BETWEEN_OLDER = 8
"""How often that is done before also those objects are looked at that survived since."""


class Turn:
    """Held by whoever works without a pause, so that everything else in the event loop waits for one slice of one
    partition and not for a slice of each.

    A lock that is let go of at once would not do that: where nobody awaits anything while holding it, all who are ready
    get it one after the other within one turn of the event loop. This one passes on in the next.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().call_soon(self._lock.release)


class YoungGarbage:
    """Collects garbage in small portions. Left alone, the collector waits until many more objects were made than were
    let go of, which in a steady flow is never: then it looks at hundreds of thousands at once, for half a second.
    """

    def __init__(self) -> None:
        self._records = 0
        self._looked = 0

    def collect(self, records: int) -> None:
        """To be called when so many were decided: nothing, or some 0.1 ms, now and then 1 ms."""
        self._records += records
        if self._records >= RECORDS_BETWEEN:
            self._records = 0
            self._looked += 1
            gc.collect(0 if self._looked % YOUNG_BETWEEN_OLDER else 1)


@dataclass(frozen=True, slots=True)
class Shared:
    """One for each worker."""

    turn: Turn = field(default_factory=Turn)
    garbage: YoungGarbage = field(default_factory=YoungGarbage)
    ledgers: LedgerMemory = field(default_factory=LedgerMemory)
    cpu: CpuShare = field(default_factory=CpuShare)
    restoring: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RESTORED_AT_ONCE))
