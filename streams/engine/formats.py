"""How state is stored, in the changelogs and in RocksDB alike: one format version byte, then msgpack.

The byte lets an upgraded worker read what an older one wrote (it is rewritten when the record next changes) and makes
an older worker stop, in a sentence, at what a newer one wrote, instead of misreading it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Generic, TypeVar

import msgspec

from streams.rules.case_counts import CASE_CELLS, CASE_COUNTERS, NESTED
from streams.rules.counts import COUNTERS, HOURS_A_DAY
from streams.rules.journey import Journey, Remembered

T = TypeVar("T")

Cell = Annotated[int, msgspec.Meta(ge=0, lt=HOURS_A_DAY * COUNTERS)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
"""Of one partition in one hour: sums over all hours and partitions stay far below 2^63."""
Cells = dict[Cell, Count]
"""A day's counts: cell → count, cell = hour of day x 7 + counter; cells without a count are absent."""
CaseCell = Annotated[int, msgspec.Meta(ge=0, lt=CASE_CELLS)]
CaseCount = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
"""Most are numbers of cases; one is a sum of ms."""
CaseCells = dict[CaseCell, CaseCount]
"""A day's counts of cases: cell → count, as in `streams.rules.case_counts`."""


class Unreadable(Exception):
    """State that this release can't read; the message says what, and where when that is known."""


class NewerFormat(Unreadable):
    """State written by a newer release. The worker must stop: it would lose what it can't read."""

    def __init__(self, what: str, found: int, known: int) -> None:
        super().__init__(
            f"{what} is stored in format {found}, this release reads up to {known}: "
            "a newer release wrote it, run that one or a later one"
        )


class Corrupt(Unreadable):
    """Stored bytes that no release wrote."""


class Format(Generic[T]):
    """Encodes values of one kind in its current version and decodes every version up to it.

    `upgrades` maps an older version to a function from that version's payload (without the version byte) to the value.
    """

    def __init__(
        self, what: str, kind: type[T], version: int = 1, upgrades: Mapping[int, Callable[[bytes], T]] | None = None
    ) -> None:
        self.what = what
        self.version = version
        self._prefix = bytes([version])
        self._upgrades = dict(upgrades or {})
        self._to_msgpack = msgspec.msgpack.Encoder().encode
        self._from_msgpack = msgspec.msgpack.Decoder(kind).decode

    def encode(self, value: T) -> bytes:
        """Return the stored bytes of a value, in the current version."""
        return self._prefix + self._to_msgpack(value)

    def decode(self, stored: bytes) -> T:
        """Return the value. Raises NewerFormat or Corrupt."""
        current = stored[:1] == self._prefix
        if not current:
            self.check(stored)
        try:
            return self._from_msgpack(stored[1:]) if current else self._upgrades[stored[0]](stored[1:])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Corrupt(f"{self.what} can't be decoded: {type(error).__name__}") from error

    def check(self, stored: bytes) -> None:
        """Raise unless the version is one that `decode` reads; cheap enough for every restored record."""
        if not stored:
            raise Corrupt(f"{self.what} is stored as nothing at all")
        found = stored[0]
        if found != self.version and found not in self._upgrades:
            if found > self.version:
                raise NewerFormat(self.what, found, self.version)
            raise Corrupt(f"{self.what} has format {found}, which no release wrote")


COUNTERS_1 = 6
"""Of an hour in the first version of counts."""
_OldCell = Annotated[int, msgspec.Meta(ge=0, lt=HOURS_A_DAY * COUNTERS_1)]
_counts_1 = msgspec.msgpack.Decoder(dict[_OldCell, Count]).decode


def _upgrade_counts_1(payload: bytes) -> Cells:
    """Before answered responses were counted, an hour had six counters."""
    return {cell // COUNTERS_1 * COUNTERS + cell % COUNTERS_1: count for cell, count in _counts_1(payload).items()}


_case_counts_1 = msgspec.msgpack.Decoder(CaseCells).decode


def _upgrade_case_counts_1(payload: bytes) -> CaseCells:
    """Before they were stored apart, a counter had what it holds of the next one, too."""
    told = _case_counts_1(payload)
    stored = dict(told)
    for cell, count in told.items():
        if 0 < cell % CASE_COUNTERS < NESTED:
            stored[cell - 1] = stored.get(cell - 1, 0) - count
    return {cell: count for cell, count in stored.items() if count > 0}


# Version 1 had no marks of answers, cases and what is past: their defaults are what it meant.
JOURNEY: Format[Journey] = Format("a journey", Journey, 2, {1: msgspec.msgpack.Decoder(Journey).decode})
REMEMBERED: Format[Remembered] = Format(
    "an anonymous response", Remembered, 2, {1: msgspec.msgpack.Decoder(Remembered).decode}
)
COUNTS: Format[Cells] = Format("a day's counts", Cells, 2, {1: _upgrade_counts_1})
CASE_COUNTS: Format[CaseCells] = Format("a day's counts of cases", CaseCells, 2, {1: _upgrade_case_counts_1})
