"""The counts of one partition: absolute numbers per survey, segment, UTC day and hour, of what was read from it.

A row is one (survey, segment, day) with its 24 hours. Rows are read from the store when first touched, changed in
memory, and written as a whole with the unit of work that changed them. Rows of days that the retention has passed do
not exist: nothing is added to or taken from them.

Rows and series make no reference cycles and are kept out of the garbage collector, which would walk them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from schemas.keys import counts_key, parse_counts_key
from schemas.times import US_PER_DAY
from streams.engine.formats import COUNTS, Cells
from streams.rules.counts import cells
from streams.rules.journey import Answer
from streams.rules.segments import ALL, Places, segment_names

REMEMBERED_MAX = 60_000
"""Rows, and combinations of a survey and segments, that all ledgers of a worker remember together between units (some
50 MB). Above it each forgets its own as it hands over a unit, and reads them again when needed.
"""


class LedgerMemory:
    """What the ledgers of a worker remember, counted together."""

    def __init__(self) -> None:
        self.remembered = 0


class Row(msgspec.Struct, gc=False):
    """One day of one series, with the cells as they are after the last decided response."""

    key: bytes
    cells: Cells
    changed: bool = False


class Series(msgspec.Struct, gc=False):
    """The rows of one (survey, segment) that are in memory, by day."""

    survey: str
    segment: str
    days: dict[int, Row] = msgspec.field(default_factory=dict)


class Ledger:
    """The counts of one partition; `load` returns the stored bytes of a row, or None."""

    def __init__(
        self,
        load: Callable[[bytes], bytes | None],
        segment_limit: int,
        crosses: Sequence[tuple[str, ...]],
        memory: LedgerMemory,
    ) -> None:
        self._load = load
        self._memory = memory
        self._places = Places(segment_limit, crosses)
        self._series: dict[tuple[str, str], Series] = {}
        self._of_combination: dict[tuple[object, ...], tuple[tuple[Series, ...], int, bool | tuple[str, ...]]] = {}
        self._changed: list[Row] = []
        self._remembered = 0
        """Of all that the memory counts, what is ours."""
        self.oldest_day = 0
        """Days before it have been dropped."""
        self._overflowed = 0

    def know(self, keys: Iterable[bytes]) -> None:
        """Take note of stored rows: their segments hold places. To be called with every row's key when opening."""
        for key in keys:
            survey, segment, _ = parse_counts_key(key)
            self._places.row_created(survey, segment)

    def add(self, survey: str, answer: Answer) -> bool | tuple[str, ...]:
        """Count an answer; returns what its `counted_as` must be."""
        day = answer.responded_at // US_PER_DAY
        if day < self.oldest_day:
            return False
        combination = (survey, *answer.segments.items())
        known = self._of_combination.get(combination)
        if known is None:
            known = self._place(combination, survey, answer)
        series, diverted, counted_as = known
        self._overflowed += diverted
        amounts = cells(answer)
        for one in series:
            row = one.days.get(day)
            if row is None:
                row = self._row(one, day)
            counts = row.cells
            for cell, amount in amounts:
                counts[cell] = counts.get(cell, 0) + amount
            if not row.changed:
                row.changed = True
                self._changed.append(row)
        return counted_as

    def retract(self, survey: str, answer: Answer) -> None:
        """Take an answer back out of the rows that it was counted in, as far as they are still there.

        A row may be gone, or begun anew, though its day is kept: the retention was raised since, or a worker whose
        clock goes ahead had the partition before.
        """
        day = answer.responded_at // US_PER_DAY
        if answer.counted_as is False or day < self.oldest_day:
            return
        names = segment_names(answer.segments) if answer.counted_as is True else answer.counted_as
        for name in (ALL, *names):
            row = self._known_row(self._series_of(survey, name), day)
            if row is None:
                continue
            for cell, amount in cells(answer):
                left = row.cells.get(cell, 0) - amount
                if left > 0:
                    row.cells[cell] = left
                else:
                    row.cells.pop(cell, None)
            if not row.changed:
                row.changed = True
                self._changed.append(row)

    def take_changed(self) -> list[tuple[bytes, bytes]]:
        """Return key and stored bytes of the rows changed since the last call."""
        rows, self._changed = self._changed, []
        encode = COUNTS.encode
        taken = []
        for row in rows:
            row.changed = False
            taken.append((row.key, encode(row.cells)))
        if self._memory.remembered > REMEMBERED_MAX:
            self._forget()
        return taken

    def take_overflowed(self) -> int:
        """Return the number of diversions to `__other__` since the last call."""
        overflowed, self._overflowed = self._overflowed, 0
        return overflowed

    def drop(self, keys: Iterable[bytes]) -> Iterator[bytes]:
        """Forget rows of days before `oldest_day` (their stored keys are given); yields what must be deleted."""
        for key in keys:
            survey, segment, day = parse_counts_key(key)
            if day >= self.oldest_day:
                continue
            series = self._series.get((survey, segment))
            if series is not None and series.days.pop(day, None) is not None:
                self._remember(-1)
            self._places.row_dropped(survey, segment)
            self._remember(-len(self._of_combination))
            self._of_combination.clear()  # a place may be free now
            yield key

    def close(self) -> None:
        """Take what is remembered off the memory's count: it is not used any more."""
        self._forget()

    def _place(
        self, combination: tuple[object, ...], survey: str, answer: Answer
    ) -> tuple[tuple[Series, ...], int, bool | tuple[str, ...]]:
        placement = self._places.rows_of(survey, answer.segments)
        series = tuple(self._series_of(survey, name) for name in (ALL, *placement.rows))
        known = series, placement.diverted, True if placement.plain else placement.rows
        self._of_combination[combination] = known
        self._remember(1)
        return known

    def _series_of(self, survey: str, segment: str) -> Series:
        series = self._series.get((survey, segment))
        if series is None:
            series = self._series[survey, segment] = Series(survey, segment)
        return series

    def _row(self, series: Series, day: int) -> Row:
        row = self._known_row(series, day)
        if row is None:
            self._places.row_created(series.survey, series.segment)
            row = self._keep(series, day, Row(counts_key(series.survey, series.segment, day), {}))
        return row

    def _known_row(self, series: Series, day: int) -> Row | None:
        row = series.days.get(day)
        if row is None:
            key = counts_key(series.survey, series.segment, day)
            stored = self._load(key)
            if stored is not None:
                row = self._keep(series, day, Row(key, COUNTS.decode(stored)))
        return row

    def _keep(self, series: Series, day: int, row: Row) -> Row:
        series.days[day] = row
        self._remember(1)
        return row

    def _remember(self, more: int) -> None:
        self._remembered += more
        self._memory.remembered += more

    def _forget(self) -> None:
        """Everything is in the unit being written, or in the store."""
        self._series.clear()
        self._of_combination.clear()
        self._remember(-self._remembered)
