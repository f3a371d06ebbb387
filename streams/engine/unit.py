"""A unit of work: what one transaction of one partition will write, built up record by record."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from streams.engine.formats import JOURNEY, REMEMBERED
from streams.engine.observer import UnitReport
from streams.rules.journey import Journey, Remembered

State = Journey | Remembered
Header = tuple[str, bytes]

ROWS_BETWEEN_YIELDS = 2_000
"""Rows encoded before other tasks get their turn (1 to 2 ms)."""
UNIT_RECORDS_MAX = 10_000
"""A unit takes no more records than this while the one before it commits; the partition then waits."""
UNIT_BYTES_MAX = 16 << 20
"""The same for the input bytes of a unit."""


@dataclass(slots=True, frozen=True)
class Produced:
    """A record to be written to the partition of the same number of a topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]


class Unit:
    """Decided, not yet committed."""

    __slots__ = (
        "counts",
        "dropped_rows",
        "index_entries",
        "input_bytes",
        "keys_of",
        "next_offset",
        "produced",
        "report",
        "states",
        "stream_time_ms",
    )

    def __init__(self, partition: int, stream_time_ms: int) -> None:
        self.states: dict[bytes, State | None] = {}
        """Journey key → new state; None: forgotten."""
        self.keys_of: dict[str, list[bytes]] = {}
        """Customer or response id → keys in `states`, so that an erasure finds what is not in the store yet."""
        self.counts: dict[bytes, bytes | None] = {}
        """Counts key → stored bytes; filled when the unit is closed."""
        self.dropped_rows: list[bytes] = []
        self.index_entries: dict[bytes, bytes | None] = {}
        """Changes of the index of anonymous responses: index key → b"" or None."""
        self.produced: list[Produced] = []
        self.next_offset: int | None = None
        """The input offset to commit; None: nothing was read."""
        self.stream_time_ms = stream_time_ms
        self.input_bytes = 0
        self.report = UnitReport(partition)

    def put(self, id_: str, key: bytes, state: State | None) -> None:
        """Store a state of a customer or response `id_` under its key."""
        if key not in self.states:
            self.keys_of.setdefault(id_, []).append(key)
        self.states[key] = state

    @property
    def empty(self) -> bool:
        """Nothing to commit."""
        return self.next_offset is None and not self.states and not self.dropped_rows

    @property
    def full(self) -> bool:
        """No more records fit."""
        return self.report.records >= UNIT_RECORDS_MAX or self.input_bytes >= UNIT_BYTES_MAX


async def encoded_states(unit: Unit) -> list[tuple[bytes, bytes | None]]:
    """Return the states of a unit as they are stored, None for those forgotten."""
    rows: list[tuple[bytes, bytes | None]] = []
    journey, remembered = JOURNEY.encode, REMEMBERED.encode
    for count, (key, state) in enumerate(unit.states.items()):
        if count % ROWS_BETWEEN_YIELDS == ROWS_BETWEEN_YIELDS - 1:
            await asyncio.sleep(0)
        if state is None:
            rows.append((key, None))
        else:
            rows.append((key, journey(state) if isinstance(state, Journey) else remembered(state)))
    return rows
