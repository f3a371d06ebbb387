"""What all partitions of a worker share."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from streams.engine.ledger import LedgerMemory


class Shared(NamedTuple):
    """Made once by the engine."""

    turn: asyncio.Lock
    """Whoever works without a pause holds it, so that everything else in the event loop waits for one partition's slice
    and not for every partition's.
    """
    ledgers: LedgerMemory
