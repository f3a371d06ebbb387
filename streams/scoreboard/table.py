"""One partition's counts and their window sums, kept up to date by differences.

Rows come as stored bytes, far more often than anybody asks for a score, so `put` only remembers the newest bytes of
each key. `advance` does the work, in slices of a few milliseconds: it moves the windows to the given clock hour and
counts what has come. Both are the same arithmetic on (series, hour, counter, amount): a cell counts with weight 1 in
the windows that hold its hour, and with weight 0 in the others; what changes is either the weight or the amount.

* A row came: its old cells are taken out, its new ones put in, at the weights of now.
* The clock hour changed: only days that have an hour whose weight changed are read again, usually one a window. The
  same for one hour, for a year, and for a clock that went back.

Between slices the table is whole: its sums are those of all rows counted so far, at one clock hour. A table that is
abandoned in the middle of `advance` goes on from there at the next.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from schemas.keys import counts_key, parse_counts_key
from schemas.times import parse_day
from streams.engine.formats import CASE_COUNTS, COUNTS, Format
from streams.rules.case_counts import CASE_CELLS, CASE_COUNTERS, NESTED
from streams.rules.counts import COUNTERS, HOURS_A_DAY
from streams.rules.segments import ALL

Ints: TypeAlias = NDArray[np.int64]

SLICE_ROWS: Final = 1024
"""Rows decoded between two chances for others to run: about 3 ms."""

_DAY_BYTES: Final = len('"2026-11-22"]')
"""A key ends with its day, always of this length; what stands before it names the series."""
_SLACK_DAYS: Final = 1
"""Kept beyond the longest window, for a clock that is set back a little."""


class Layout(NamedTuple):
    """What rows hold: which cells, and which of them count as the same."""

    format: Format[Any]
    cells_an_hour: int
    """`cell // cells_an_hour` is the hour of the day."""
    counters: int
    """`cell % cells_an_hour % counters` is the counter."""
    nested: int = 0
    """The first so many counters are stored each without what the next one holds of it."""

    def add_up(self, sums: Ints) -> None:
        """Make sums of stored counters, [..., cell], what they tell."""
        groups = sums.shape[-1] // self.counters
        counters = sums.reshape(*sums.shape[:-1], groups, self.counters)  # a view: sums are contiguous
        for counter in reversed(range(self.nested - 1)):
            counters[..., counter] += counters[..., counter + 1]


RESPONSES: Final = Layout(COUNTS, COUNTERS, COUNTERS)
CASES: Final = Layout(CASE_COUNTS, CASE_CELLS, CASE_COUNTERS, NESTED)
"""Cases have no hour: all are at the first one of their day. Scores, reasons and actions are added up, but for
everybody's cases where a table is told to keep them apart (`by_cell`).
"""


class _Change(NamedTuple):
    """Stored cells of a series' day, to be added (1) or taken out (-1)."""

    series: int
    day: int
    stored: bytes
    sign: int


class CountsTable:
    """The rows of one partition, as far back as the longest window needs, and their sums over each window."""

    def __init__(self, window_hours: Sequence[int], layout: Layout = RESPONSES, *, by_cell: bool = False) -> None:
        """`by_cell` has every cell of the segment `all` summed on its own, too."""
        self._layout = layout
        self._window_hours: Ints = np.array(window_hours, dtype=np.int64)
        self.keep_days(-(-max(window_hours) // HOURS_A_DAY))
        self._incoming: dict[bytes, bytes | None] = {}
        self._draining: dict[bytes, bytes | None] = {}
        self._days: dict[int, dict[int, bytes]] = {}
        """day → series → stored cells. By day, because windows move by days and days are dropped."""
        self._newest_day = -sys.maxsize
        self._hour: int | None = None
        self._sums: Ints = np.zeros((0, len(window_hours), layout.counters), dtype=np.int64)
        self._by_cell = by_cell
        self._cell_sums: Ints = np.zeros((0, len(window_hours), layout.cells_an_hour), dtype=np.int64)
        self._cell_place_of: dict[int, int] = {}
        """Series of `all` → place in `_cell_sums`."""
        self._free_cell_places: list[int] = []
        self._series_of: dict[bytes, int] = {}
        self._prefixes: list[bytes] = []
        self._names: list[tuple[str, str] | None] = []
        """(survey, segment) of each series; None: the place is free."""
        self._rows_of: list[int] = []
        self._free: list[int] = []
        self._day_of: dict[bytes, int] = {}
        self.revision = 0
        """Changes whenever sums may have."""
        self.series_revision = 0
        """Changes whenever a series comes or goes."""

    def keep_days(self, days: int) -> None:
        """Keep no more days than these: of windows that are longer the sums are not to be used any more."""
        self._days_kept = days + _SLACK_DAYS

    def put(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Remember rows: absolute values, the latest of a key wins, None drops the day. Nothing is decoded yet."""
        self._incoming.update(rows)

    def cut(self) -> None:
        """Draw the line up to which the next `advance` counts: rows put after it wait for the one after."""
        if self._draining:
            self._draining.update(self._incoming)
            self._incoming.clear()
        else:
            self._draining, self._incoming = self._incoming, self._draining

    @property
    def waiting_rows(self) -> int:
        """Rows put and not yet counted."""
        return len(self._incoming) + len(self._draining)

    @property
    def rows(self) -> int:
        """Rows held."""
        return sum(len(day) for day in self._days.values())

    def series(self) -> tuple[list[tuple[str, str]], Ints]:
        """Return the (survey, segment) that have rows, and where each stands in `sums`."""
        found = [(name, place) for place, name in enumerate(self._names) if name is not None]
        return [name for name, _ in found], np.array([place for _, place in found], dtype=np.int64)

    def held(
        self, survey_id: str | None, segment: str | None, first_day: int
    ) -> Iterator[tuple[str, str, int, bytes] | None]:
        """Yield survey, segment, day and stored cells of the rows counted so far, from a day on, that match exactly
        what is given, and after each day None, so that a caller who finds little gives way to others too. May be left
        for other work: of each day it tells what was held when it came to it.
        """
        for day in sorted(day for day in self._days if day >= first_day):
            rows = list(self._days.get(day, {}).items())
            named = [(self._names[series], stored) for series, stored in rows]
            for name, stored in named:
                if name is not None and survey_id in (None, name[0]) and segment in (None, name[1]):
                    yield *name, day, stored
            yield None

    @property
    def sums(self) -> Ints:
        """[series, window, counter], at the clock hour of the last `advance`."""
        return self._sums

    @property
    def by_cell_sums(self) -> Ints:
        """[place, window, cell] of the segment `all` of each survey; empty unless told to keep them."""
        return self._cell_sums

    def cell_sums(self) -> Iterator[tuple[str, Ints]]:
        """Yield each survey that has rows of `all`, and [window, cell] of it."""
        for series, place in self._cell_place_of.items():
            name = self._names[series]
            assert name is not None
            yield name[0], self._cell_sums[place]

    def advance(self, hour: int) -> Iterator[None]:
        """Move to the clock hour (hours since the epoch) and count the rows up to the last `cut`, slice by slice.

        Raises ValueError, Corrupt or NewerFormat for a row that cannot be read.
        """
        if hour != self._hour:
            yield from self._move(hour)
        while self._draining:
            self._count_slice(hour)
            yield
        yield from self._drop_old_days(hour)

    def _move(self, hour: int) -> Iterator[None]:
        days = np.array(sorted(self._days), dtype=np.int64)
        hours = days[:, None] * HOURS_A_DAY + np.arange(HOURS_A_DAY)
        moved = self._weights(hours, hour) - self._weights(hours, self._hour)
        sums, cell_sums = self._sums.copy(), self._cell_sums.copy()
        for day in days[moved.any(axis=(1, 2))].tolist():
            changes = (_Change(series, day, stored, 1) for series, stored in self._days[day].items())
            while some := list(islice(changes, SLICE_ROWS)):
                self._add(sums, cell_sums, some, self._hour, hour)
                yield
        self._sums, self._cell_sums = sums, cell_sums
        self._hour = hour
        self.revision += 1

    def _count_slice(self, hour: int) -> None:
        changes: list[_Change] = []
        oldest_day = self._oldest_day_kept(hour)
        for _ in range(min(SLICE_ROWS, len(self._draining))):
            key, stored = self._draining.popitem()
            self._replace(key, stored, oldest_day, changes)
        self._sums = _with_room(self._sums, len(self._names), at_least=64)
        self._cell_sums = _with_room(self._cell_sums, self._cell_places, at_least=1)
        self._add(self._sums, self._cell_sums, changes, None, hour)
        self.revision += 1

    def _replace(self, key: bytes, stored: bytes | None, oldest_day: int, changes: list[_Change]) -> None:
        """Put a row in its place, and what that changes in the sums on the list."""
        day = self._day(key)
        series = self._series_of.get(key[:-_DAY_BYTES])
        rows = self._days.get(day)
        old = rows.get(series) if rows is not None and series is not None else None
        if old is not None:
            assert rows is not None
            assert series is not None
            changes.append(_Change(series, day, old, -1))
            if stored is None:
                del rows[series]
                if not rows:
                    del self._days[day]
                self._row_gone(series)
        if stored is None or day < oldest_day:
            return
        if series is None:
            series = self._add_series(key)
        if old is None:
            self._rows_of[series] += 1
        if rows is None:
            rows = self._days[day] = {}
        rows[series] = stored
        changes.append(_Change(series, day, stored, 1))
        self._newest_day = max(day, self._newest_day)

    def _day(self, key: bytes) -> int:
        tail = key[-_DAY_BYTES:]
        day = self._day_of.get(tail)
        if day is None:
            if len(self._day_of) > 2 * self._days_kept:
                self._day_of.clear()
            if tail[:1] != b'"' or tail[-2:] != b'"]':
                raise ValueError("counts key: must end with its day")
            day = self._day_of[tail] = parse_day(tail[1:-2].decode())
        return day

    def _add_series(self, key: bytes) -> int:
        survey_id, segment, day = parse_counts_key(key)
        if counts_key(survey_id, segment, day) != key:
            raise ValueError("counts key: is not written the one way that it must be")
        if self._free:
            series = self._free.pop()
        else:
            series = len(self._names)
            self._names.append(None)
            self._prefixes.append(b"")
            self._rows_of.append(0)
        self._names[series] = (survey_id, segment)
        self._prefixes[series] = key[:-_DAY_BYTES]
        self._series_of[self._prefixes[series]] = series
        if self._by_cell and segment == ALL:
            self._cell_place_of[series] = (
                self._free_cell_places.pop() if self._free_cell_places else len(self._cell_place_of)
            )
        self.series_revision += 1
        return series

    def _row_gone(self, series: int) -> None:
        self._rows_of[series] -= 1
        if not self._rows_of[series]:
            del self._series_of[self._prefixes[series]]
            self._names[series] = None
            self._free.append(series)
            if series in self._cell_place_of:
                self._free_cell_places.append(self._cell_place_of.pop(series))
            self.series_revision += 1

    def _oldest_day_kept(self, hour: int) -> int:
        """Days before it are reached by no window.

        Not by the clock alone: were it wrong for a minute, rows would be gone that are needed when it is right again.
        Both the clock and the newest row must have left them behind.
        """
        return min(hour // HOURS_A_DAY, self._newest_day) - self._days_kept

    def _drop_old_days(self, hour: int) -> Iterator[None]:
        oldest_day = self._oldest_day_kept(hour)
        for day in [day for day in self._days if day < oldest_day]:
            for series in self._days.pop(day):
                self._row_gone(series)
            yield

    def _weights(self, hours: Ints, now: int | None) -> Ints:
        """[..., window]: 1 where the window holds the hour at clock hour `now`; at None, no window holds any."""
        if now is None:
            return np.zeros((*hours.shape, len(self._window_hours)), dtype=np.int64)
        age = now - hours
        return ((age >= 0)[..., None] & (age[..., None] < self._window_hours)).astype(np.int64)

    @property
    def _cell_places(self) -> int:
        return len(self._cell_place_of) + len(self._free_cell_places)

    def _add(self, sums: Ints, cell_sums: Ints, changes: Sequence[_Change], before: int | None, after: int) -> None:
        """Add the changes' cells to the sums: by how much their weights at `after` differ from those at `before`."""
        if not changes:
            return
        cells: list[int] = []
        amounts: list[int] = []
        lengths: list[int] = []
        decode = self._layout.format.decode
        for change in changes:
            decoded = decode(change.stored)
            cells.extend(decoded)
            amounts.extend(decoded.values())
            lengths.append(len(decoded))
        cell = np.array(cells, dtype=np.int64)
        of_row = np.array([(change.series, change.day, change.sign) for change in changes], dtype=np.int64)
        series, day, sign = np.repeat(of_row, lengths, axis=0).T
        cells_an_hour, counters = self._layout.cells_an_hour, self._layout.counters
        hours = day * HOURS_A_DAY + cell // cells_an_hour
        weights = self._weights(hours, after) - self._weights(hours, before)
        amount = np.array(amounts, dtype=np.int64) * sign
        cell %= cells_an_hour
        _add_at(sums, series, cell % counters, amount, weights)
        if self._cell_place_of:
            place_of_row = [self._cell_place_of.get(change.series, -1) for change in changes]
            place = np.repeat(np.array(place_of_row, dtype=np.int64), lengths)
            apart = (place >= 0).nonzero()[0]
            _add_at(cell_sums, place[apart], cell[apart], amount[apart], weights[apart])


def _add_at(sums: Ints, place: Ints, counter: Ints, amount: Ints, weights: Ints) -> None:
    """Add each amount to [place, window, counter], in every window by its weight there, [amount, window]."""
    _, windows, counters = sums.shape
    flat = sums.reshape(-1)  # a view: sums are contiguous
    first = place * (windows * counters) + counter
    for window in range(windows):
        counted = weights[:, window].nonzero()[0]
        np.add.at(flat, first[counted] + window * counters, amount[counted] * weights[counted, window])


def _with_room(sums: Ints, places: int, at_least: int) -> Ints:
    """The same sums, with room for so many places, and more where it has to grow."""
    missing = places - len(sums)
    if missing <= 0:
        return sums
    room = max(at_least, missing, len(sums) // 2)
    return np.concatenate((sums, np.zeros((room, *sums.shape[1:]), dtype=np.int64)))
