"""What is done now and then beside the processing of a partition: forgetting, dropping days, purging files."""

from __future__ import annotations

import asyncio
import logging
import time

from streams.engine.decider import Decider
from streams.engine.store import Store
from streams.rules.counts import oldest_day_kept

logger = logging.getLogger(__name__)

HOUSEKEEPING_INTERVAL_S = 60.0
PURGE_INTERVAL_S = 3_600.0
"""How long files on disk may still hold what was deleted: an erased customer, a forgotten response."""


class Housekeeping:
    """Keeps the house of one partition."""

    _one_purge = asyncio.Lock()
    """Of all partitions one is purged at a time: the process's threads are for others, too."""

    def __init__(self, partition: int, counts_retention_us: int) -> None:
        self._partition = partition
        self._counts_retention_us = counts_retention_us
        self._kept_at_s = 0.0
        self._purge: asyncio.Task[None] | None = None
        self._purging = False
        self._purged_at_s = time.monotonic()

    async def keep(self, decider: Decider, store: Store) -> None:
        """Do what is due; to be called often, while no unit is being committed."""
        if time.monotonic() - self._kept_at_s < HOUSEKEEPING_INTERVAL_S:
            return
        if decider.forget_anonymous():
            return  # there may be more: at the next call
        self._kept_at_s = time.monotonic()
        if self._oldest_day() > decider.ledger.oldest_day:
            await self.drop_old_days(decider)
        if self._purge is None and time.monotonic() - self._purged_at_s >= PURGE_INTERVAL_S:
            self._purge = asyncio.create_task(self._purge_files(store), name=f"purge-{self._partition}")

    async def drop_old_days(self, decider: Decider) -> None:
        """Drop the counts of days that the retention has passed."""
        for _ in decider.drop_days(self._oldest_day()):
            await asyncio.sleep(0)

    async def purged(self) -> None:
        """Wait until the files are not being rewritten; a rewriting that waits for its turn is given up."""
        if self._purge is not None:
            if not self._purging:
                self._purge.cancel()
            await asyncio.wait([self._purge])
            self._purge = None  # it does not say so itself where it had not begun

    async def stop(self, store: Store) -> None:
        """End a purge, so that the store can be closed."""
        if self._purge is not None:
            if self._purging:
                store.interrupt_purge()
            await self.purged()

    def _oldest_day(self) -> int:
        return oldest_day_kept(time.time_ns() // 1000, self._counts_retention_us)

    async def _purge_files(self, store: Store) -> None:
        """Rewrite the files if they hold what was deleted, in a thread beside the processing."""
        try:
            async with self._one_purge:
                self._purging = True
                began = time.monotonic()
                if store.holds_deleted:
                    await asyncio.to_thread(store.purge)
                    took_s = time.monotonic() - began
                    logger.info(
                        "partition %d: purged of what was deleted in %.1f s",
                        self._partition,
                        took_s,
                        extra={"partition": self._partition, "seconds": round(took_s, 3)},
                    )
        except Exception as error:  # rocksdict raises bare Exception, also when interrupted
            logger.log(
                logging.DEBUG if store.interrupted else logging.WARNING,
                "partition %d: not purged of what was deleted, trying again in an hour: %s",
                self._partition,
                error,
                extra={"partition": self._partition},
            )
        finally:
            if self._purging:
                self._purging = False
                self._purged_at_s = time.monotonic()
            self._purge = None
