"""A unit of work: what one transaction of one partition will write, built up record by record."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.keys import parse_journey_key
from streams.engine.formats import JOURNEY, REMEMBERED
from streams.engine.observer import UnitReport
from streams.engine.positions import Next
from streams.rules.journey import Journey, Remembered

State = Journey | Remembered
Header = tuple[str, bytes | None]

UNIT_RECORDS_MAX = 10_000
"""A unit takes no more records than this while the one before it commits; the partition then waits."""
UNIT_BYTES_MAX = 16 << 20
"""The same for the input bytes of a unit …"""
UNIT_STATE_BYTES_MAX = 64 << 20
"""… and for those of the states it writes: a short record may change a journey of 32 long comments. One that changes
again counts again."""


class Produced(msgspec.Struct, frozen=True, gc=False):
    """A record to be written to the partition of the same number of a topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    size_bytes: int = 0
    """Of one that may be large, a dead letter."""


class Unit:
    """Decided, not yet committed."""

    __slots__ = (
        "_keys_of",
        "case_counts",
        "counts",
        "dropped_case_rows",
        "dropped_rows",
        "fresh",
        "index_entries",
        "input_bytes",
        "keys",
        "next_follow_up",
        "next_offset",
        "produced",
        "report",
        "state_bytes",
        "states",
        "stream_time_ms",
    )

    def __init__(self, partition: int, stream_time_ms: int) -> None:
        self.states: dict[bytes, bytes | None] = {}
        """Journey key → new state as it is stored; None: forgotten."""
        self.fresh: dict[bytes, State | None] = {}
        """The same of what is being decided, as objects. It goes before `states`."""
        self._keys_of: dict[str, list[bytes]] | None = None
        """Customer or response id → keys in `states`; made when it is first asked for, which is at an erasure."""
        self.keys: list[bytes] = []
        """Of the records that had one."""
        self.counts: dict[bytes, bytes | None] = {}
        """Counts key → stored bytes; filled when the unit is closed."""
        self.case_counts: dict[bytes, bytes | None] = {}
        """The same of cases."""
        self.dropped_rows: list[bytes] = []
        self.dropped_case_rows: list[bytes] = []
        self.index_entries: dict[bytes, bytes | None] = {}
        """Changes of the store's indexes: index key → b"" or None."""
        self.produced: list[Produced] = []
        self.next_offset: int | None = None
        """The offset of responses to commit; None: none were read."""
        self.next_follow_up: int | None = None
        """The same of follow-ups."""
        self.stream_time_ms = stream_time_ms
        self.input_bytes = 0
        self.state_bytes = 0
        self.report = UnitReport(partition)

    def pass_over(self, responses: Next, follow_ups: Next) -> None:
        """Commit behind records that are gone without having been processed, if some are, and count them."""
        if responses.deleted:
            self.next_offset = responses.offset
            self.report.deleted["responses"] = responses.deleted
        if follow_ups.deleted:
            self.next_follow_up = follow_ups.offset
            self.report.deleted["follow_ups"] = follow_ups.deleted

    def put(self, key: bytes, state: State | None) -> None:
        """Store a state of a customer or response under its key."""
        if self._keys_of is not None and key not in self.states and key not in self.fresh:
            self._keys_of.setdefault(parse_journey_key(key).id, []).append(key)
        self.fresh[key] = state

    def encode_fresh(self) -> None:
        """Encode what was put since the last call: after each slice, while the objects are in the processor's caches.
        Later they would have to be fetched again, and they are several times as large as what is kept.
        """
        journey, remembered, states, size = JOURNEY.encode, REMEMBERED.encode, self.states, 0
        for key, state in self.fresh.items():
            if state is None:
                states[key] = None
            else:
                states[key] = encoded = journey(state) if isinstance(state, Journey) else remembered(state)
                size += len(encoded)
        self.fresh.clear()
        self.state_bytes += size

    def keys_of(self, id_: str) -> Sequence[bytes]:
        """Return the keys of a customer's or response's states here, which the store may not have yet."""
        if self._keys_of is None:
            self._keys_of = {}
            for key in self.states | self.fresh:
                self._keys_of.setdefault(parse_journey_key(key).id, []).append(key)
        return self._keys_of.get(id_, ())

    @property
    def empty(self) -> bool:
        """Nothing to commit."""
        return not (self.has_read or self.states or self.dropped_rows or self.dropped_case_rows)

    @property
    def has_read(self) -> bool:
        """It holds what was decided of records, of either input."""
        return self.next_offset is not None or self.next_follow_up is not None

    @property
    def full(self) -> bool:
        """No more records fit."""
        records = self.report.records + self.report.follow_ups
        return (
            records >= UNIT_RECORDS_MAX
            or self.input_bytes >= UNIT_BYTES_MAX
            or self.state_bytes >= UNIT_STATE_BYTES_MAX
        )
