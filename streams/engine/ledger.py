"""The counts of one partition: absolute numbers per survey, segment, UTC day and hour, of what was read from it.

A row is one (survey, segment, day) with its 24 hours. Rows are read from the store when first touched, changed in
memory at the end of each slice, and written as a whole with the unit of work that changed them. Rows of days that the
retention has passed do not exist: nothing is added to or taken from them.

Rows and series make no reference cycles and are kept out of the garbage collector, which would walk them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from schemas.keys import counts_key, parse_counts_key
from schemas.times import US_PER_DAY
from streams.engine.formats import CASE_COUNTS, COUNTS, Cells, Format
from streams.rules.case import CaseChange
from streams.rules.case_counts import amounts as amounts_of
from streams.rules.case_counts import opening_amounts
from streams.rules.counts import answered_cells, cells
from streams.rules.journey import Answer
from streams.rules.segments import ALL, Places, segment_names

REMEMBERED_MAX = 60_000
"""Rows, and combinations of a survey and segments, that all ledgers of a worker remember together between units (some
50 MB). Above it each forgets its own as it hands over a unit, and reads them again when needed.
"""
COMBINED_MAX_SEGMENTS = 4
"""Answers with no more segments than this share their combinations often enough to remember these."""


_combination: Callable[[tuple[str, Mapping[str, str]]], bytes] = msgspec.msgpack.Encoder().encode
"""A survey and segments as one key: bytes are hashed, and compared, far quicker than so many texts."""


class LedgerMemory:
    """What the ledgers of a worker remember, counted together."""

    def __init__(self) -> None:
        self.remembered = 0


class Row(msgspec.Struct, gc=False):
    """One day of one series, with the cells as they are after the last settled slice."""

    key: bytes
    cells: Cells
    changed: bool = False


class Series(msgspec.Struct, gc=False):
    """The rows of one (survey, segment) that are in memory, by day."""

    survey: str
    segment: str
    days: dict[int, Row] = msgspec.field(default_factory=dict)


class Placed(msgspec.Struct, gc=False):
    """Where answers of one (survey, segments) count."""

    series: tuple[Series, ...]
    diverted: int
    counted_as: bool | tuple[str, ...]


Amounts = Iterable[tuple[int, int]]
"""(cell, amount) pairs."""


class Ledger:
    """The counts of one partition; `load` returns the stored bytes of a row, or None."""

    format: Format[Any] = COUNTS

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
        self._crossing = bool(crosses)
        self._series: dict[tuple[str, str], Series] = {}
        self._of_combination: dict[bytes, Placed] = {}
        self._of_pair: dict[str, dict[tuple[str, str], Series]] = {}
        """By survey, and one segment's name and value, those that count under their own name: of them a combination
        that was never met is put together."""
        self._met: dict[tuple[str, int], tuple[dict[str, str], Placed]] = {}
        """The same by what is quickest to look at: most answers share their segments (see `quick_reading`). An id is of
        one object as long as that is kept, which it is here."""
        self._pending: list[tuple[Sequence[Series], int, Amounts, bool]] = []
        """What was counted and is not in the rows yet, in order: series, day, amounts, and whether rows are made."""
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
        return self.count(survey, answer.segments, answer.responded_at // US_PER_DAY, cells(answer))

    def count(self, survey: str, segments: dict[str, str], day: int, amounts: Amounts) -> bool | tuple[str, ...]:
        """Count something that has these segments on a day; returns what its `counted_as` must be."""
        if day < self.oldest_day:
            return False
        met = self._met.get((survey, id(segments)))
        placed = met[1] if met is not None else self._meet(survey, segments)
        self._overflowed += placed.diverted
        self._pending.append((placed.series, day, amounts, True))
        return placed.counted_as

    def retract(self, survey: str, answer: Answer) -> None:
        """Take an answer back out of the rows that it was counted in, as far as they are still there.

        A row may be gone, or begun anew, though its day is kept: the retention was raised since, or a worker whose
        clock goes ahead had the partition before.
        """
        day = answer.responded_at // US_PER_DAY
        self._change(survey, answer.segments, answer.counted_as, day, [(cell, -n) for cell, n in cells(answer)])

    def answered(self, survey: str, answer: Answer) -> None:
        """Count that somebody has contacted the customer about an answer, in the rows that it was counted in."""
        day = answer.responded_at // US_PER_DAY
        self._change(survey, answer.segments, answer.counted_as, day, answered_cells(answer))

    def _change(
        self,
        survey: str,
        segments: Mapping[str, str],
        counted_as: bool | tuple[str, ...],
        day: int,
        amounts: Amounts,
    ) -> None:
        """To change the rows that something was counted in, as far as they are still there then."""
        if counted_as is False or day < self.oldest_day:
            return
        self._pending.append((self._series_counted(survey, segments, counted_as), day, amounts, False))

    def _series_counted(
        self, survey: str, segments: Mapping[str, str], counted_as: bool | tuple[str, ...]
    ) -> Sequence[Series]:
        if counted_as is True:
            placed = self._of_combination.get(_combination((survey, segments)))
            if placed is not None and placed.counted_as is True:
                return placed.series
            counted_as = segment_names(segments)
        assert isinstance(counted_as, tuple)
        return [self._series_of(survey, name) for name in (ALL, *counted_as)]

    def settle(self) -> None:
        """Bring what was counted into the rows: all at once, while they are in the processor's caches."""
        pending, self._pending = self._pending, []
        for series, day, amounts, makes in pending:
            for one in series:
                row = one.days.get(day)
                if row is None:
                    row = self._row(one, day) if makes else self._known_row(one, day)
                    if row is None:
                        continue
                counts = row.cells
                for cell, amount in amounts:
                    left = counts.get(cell, 0) + amount
                    if left > 0:
                        counts[cell] = left
                    else:
                        counts.pop(cell, None)
                if not row.changed:
                    row.changed = True
                    self._changed.append(row)

    def take_changed(self) -> list[tuple[bytes, bytes]]:
        """Return key and stored bytes of the rows changed since the last call."""
        self.settle()
        rows, self._changed = self._changed, []
        encode = self.format.encode
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
            self._forget_combinations()  # a place may be free now
            yield key

    def close(self) -> None:
        """Take what is remembered off the memory's count: it is not used any more."""
        self._forget()

    def _meet(self, survey: str, segments: dict[str, str]) -> Placed:
        if len(segments) > COMBINED_MAX_SEGMENTS:
            return self._known_pairs(survey, segments) or self._place(survey, segments)
        combination = _combination((survey, segments))
        placed = self._of_combination.get(combination)
        if placed is None:
            placed = self._known_pairs(survey, segments) or self._place(survey, segments)
            self._of_combination[combination] = placed
            self._remember(1)
        self._met[survey, id(segments)] = segments, placed
        self._remember(1)
        return placed

    def _known_pairs(self, survey: str, segments: dict[str, str]) -> Placed | None:
        """Where an answer counts all of whose segments are known to count under their own names; else None."""
        pairs = self._of_pair.get(survey)
        if pairs is None or self._crossing:
            return None
        known = [one for one in map(pairs.get, segments.items()) if one is not None]
        return Placed((self._series_of(survey, ALL), *known), 0, True) if len(known) == len(segments) else None

    def _place(self, survey: str, segments: dict[str, str]) -> Placed:
        placement = self._places.rows_of(survey, segments)
        series = tuple(self._series_of(survey, name) for name in (ALL, *placement.rows))
        if placement.plain:
            pairs = self._of_pair.setdefault(survey, {})
            before = len(pairs)
            pairs.update(zip(sorted(segments.items()), series[1:], strict=True))
            self._remember(len(pairs) - before)
        return Placed(series, placement.diverted, True if placement.plain else placement.rows)

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
                row = self._keep(series, day, Row(key, self.format.decode(stored)))
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
        self._forget_combinations()
        self._remember(-self._remembered)

    def _forget_combinations(self) -> None:
        pairs = sum(map(len, self._of_pair.values()))
        self._remember(-len(self._of_combination) - pairs - len(self._met))
        self._of_combination.clear()
        self._of_pair.clear()
        self._met.clear()


class CaseLedger(Ledger):
    """The counts of cases: a row is the UTC day on which they opened. Segments hold places of their own here."""

    format = CASE_COUNTS

    def change(self, survey: str, change: CaseChange) -> None:
        """Count what a record did to a case; sets the `counted_as` of one that opens."""
        before, after = change.before, change.after
        if before is None:
            assert after is not None
            day = after.opened_at // US_PER_DAY
            after.counted_as = self.count(survey, after.segments, day, opening_amounts(after))
        elif before.counted_as is not False:
            day = before.opened_at // US_PER_DAY
            self._change(survey, before.segments, before.counted_as, day, amounts_of(change))
