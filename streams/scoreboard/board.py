"""The scoreboard: what is known of every partition's counts, added up into the score of every window.

A partition's rows come from one of two sources, and change hands with the partition:

    owned by this worker     the engine gives them as it commits (`CountsListener`)
    owned by another         the follower reads them from the changelog

While a source has to begin anew, what was known before stays visible and the new rows gather beside it; they take its
place once they are whole. Until then the board says that it is not complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, Protocol

import numpy as np

from schemas.times import US_PER_SECOND
from streams.engine.formats import Corrupt, NewerFormat
from streams.rules.conversions import window_days
from streams.rules.counts import HOURS_A_DAY, hour_of
from streams.rules.windows import Window
from streams.scoreboard.snapshot import Snapshot
from streams.scoreboard.table import CASES, RESPONSES, CountsTable, Ints, Layout

Row = tuple[bytes, bytes | None]


class UnreadableCounts(Exception):
    """A stored row of counts that this release cannot read. The worker must stop: its scores would be wrong."""


class Follower(Protocol):
    """Reads the rows of partitions that others own."""

    def follow(self, partition: int, next_offset: int | None) -> None:
        """Read the partition's changelog from this offset on; None: from its beginning."""

    def leave(self, partition: int) -> None:
        """Read it no more, and give no row of it from now on."""

    def is_current(self, partition: int) -> bool:
        """Have all rows been given that were committed until a few seconds ago?"""


class _Partition:
    """One partition's rows and where they come from."""

    def __init__(self, table: CountsTable) -> None:
        self.table = table
        self.gathering: CountsTable | None = None
        """The rows of a source that began anew and is not whole yet."""
        self.owned = False
        self.ready = False
        """Owned, and every committed row was given."""

    def put(self, rows: Sequence[Row]) -> None:
        (self.table if self.gathering is None else self.gathering).put(rows)

    def swap(self) -> None:
        if self.gathering is not None:
            self.table, self.gathering = self.gathering, None


@dataclass(frozen=True, slots=True)
class _Part:
    """A partition as it goes into a snapshot."""

    table: CountsTable
    counted_as_own: bool


class Scoreboard:
    """Implements `CountsListener`. To be used from the event loop's thread only; its snapshots from any."""

    def __init__(
        self,
        windows: Sequence[Window],
        partitions: int,
        now_us: Callable[[], int],
        layout: Layout = RESPONSES,
        of_own: Window | None = None,
    ) -> None:
        """`now_us` is the wall clock, in microseconds since the epoch. Cases have windows of whole days. `of_own`, the
        last of the windows then, is summed over this worker's own partitions alone: of the others so many days would
        take memory for nobody.
        """
        self.windows: Final = tuple(windows) if of_own is None else (*windows, of_own)
        self._days_followed = max(map(window_days, windows))
        self.layout: Final = layout
        self._now_us = now_us
        self._partitions = [_Partition(self._new_table()) for _ in range(partitions)]
        self._follower: Follower | None = None
        self._refreshing = asyncio.Lock()
        self._changed_hands = 0
        """Counts what a snapshot may not outlive, however young."""
        self._built_from: object = None
        self._layout = _Layout()
        nothing = np.zeros((0, len(self.windows), layout.counters), dtype=np.int64)
        self._snapshot = Snapshot(0, False, self.windows, (), nothing, nothing, np.zeros(0, dtype=np.bool_))
        self._snapshot_hands = -1
        self._counted: list[CountsTable] = []
        """What the snapshot was made from."""

    def attach(self, follower: Follower) -> None:
        """Let the follower read what this worker does not own."""
        self._follower = follower
        for number, partition in enumerate(self._partitions):
            if not partition.owned:
                follower.follow(number, None)

    # From the engine

    def partition_opening(self, partition: int) -> None:
        """This worker now owns the partition; its rows follow."""
        state = self._partitions[partition]
        state.owned, state.ready = True, False
        state.gathering = self._new_table(own=True)
        self._changed_hands += 1
        if self._follower is not None:
            self._follower.leave(partition)

    def partition_rows(self, partition: int, rows: Sequence[Row]) -> None:
        """Absolute committed values, the latest wins; None: the day was dropped. Costs 0.1 µs a row."""
        self._partitions[partition].put(rows)

    def partition_ready(self, partition: int) -> None:
        """Every committed row of the partition was given."""
        state = self._partitions[partition]
        state.ready = True
        state.swap()
        self._changed_hands += 1

    def partition_closed(self, partition: int, next_offset: int | None) -> None:
        """No longer owned; the follower goes on from `next_offset`, or anew."""
        state = self._partitions[partition]
        if not state.ready:
            next_offset = None
        state.owned = state.ready = False
        state.gathering = self._new_table() if next_offset is None else None
        state.table.keep_days(self._days_followed)
        self._changed_hands += 1
        if self._follower is not None:
            self._follower.follow(partition, next_offset)

    # From the follower

    def followed_rows(self, partition: int, rows: Sequence[Row]) -> None:
        """Rows of a partition that is followed, as `partition_rows`."""
        self._partitions[partition].put(rows)

    def followed_to_end(self, partition: int) -> None:
        """All rows up to the end of a followed partition, as it was a moment ago, were given."""
        self._partitions[partition].swap()
        self._changed_hands += 1

    # For those who read

    @property
    def partitions(self) -> int:
        """How many there are, whoever owns them."""
        return len(self._partitions)

    def owns(self, partition: int) -> bool:
        """Does this worker own the partition, with every row of it known?"""
        return self._partitions[partition].ready

    def missing(self) -> list[int]:
        """Return the partitions of which not every row is known."""
        return [number for number, state in enumerate(self._partitions) if not self._is_known(number, state)]

    @property
    def complete(self) -> bool:
        """Are the rows of every partition known?"""
        return not self.missing()

    def held(
        self, survey_id: str | None, segment: str | None, first_day: int
    ) -> Iterator[tuple[str, str, int, bytes] | None]:
        """Return the rows of all partitions that the snapshot counts, as `CountsTable.held`. They stay those, also
        where a partition changes hands before they are all taken.
        """
        return chain.from_iterable([table.held(survey_id, segment, first_day) for table in self._counted])

    @property
    def snapshot(self) -> Snapshot:
        """The newest one made, however old."""
        return self._snapshot

    async def refresh(self, max_age_s: float = 0.0) -> Snapshot:
        """Return a snapshot as of now, or one not older than `max_age_s`.

        Gives way to other tasks every few milliseconds. Raises UnreadableCounts.
        """
        async with self._refreshing:
            now_us = self._now_us()
            if self._is_fresh(now_us, max_age_s):
                return self._snapshot
            # One line through all partitions: a commit is in the snapshot with all its rows or not at all.
            for state in self._partitions:
                state.table.cut()
            complete, hands = self.complete, self._changed_hands
            parts = [_Part(state.table, state.ready) for state in self._partitions]
            hour = hour_of(now_us)
            if self.layout is CASES:
                hour += HOURS_A_DAY - 1 - hour % HOURS_A_DAY  # the last one of the day
            for number, part in enumerate(parts):
                for _ in _reading(number, part.table.advance(hour)):
                    await asyncio.sleep(0)
            # Tables change nowhere but above, so they stay as they are while they are added up.
            built_from = [(part.table, part.table.revision, part.counted_as_own) for part in parts]
            if built_from == self._built_from:
                self._snapshot = replace(self._snapshot, as_of_us=now_us, complete=complete)
            else:
                self._snapshot = await self._add_up(parts, now_us, complete)
                self._built_from = built_from
            self._snapshot_hands = hands
            self._counted = [part.table for part in parts]
            return self._snapshot

    def _is_fresh(self, now_us: int, max_age_s: float) -> bool:
        age_us = now_us - self._snapshot.as_of_us
        return (
            0 <= age_us < max_age_s * US_PER_SECOND
            and self._snapshot_hands == self._changed_hands
            and self._snapshot.complete == self.complete
        )

    async def _add_up(self, parts: Sequence[_Part], as_of_us: int, complete: bool) -> Snapshot:
        layout = self._layout
        for _ in layout.arrange([part.table for part in parts]):
            await asyncio.sleep(0)
        shape = (len(layout.series), len(self.windows), self.layout.counters)
        totals, own = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        own_series = np.zeros(len(layout.series), dtype=np.bool_)
        own_cells: dict[str, Ints] = {}
        for part, (there, here) in zip(parts, layout.places, strict=True):
            sums = part.table.sums[there]
            totals[here] += sums
            if part.counted_as_own:
                own[here] += sums
                own_series[here] = True
                for survey_id, cells in part.table.cell_sums():
                    own_cells[survey_id] = own_cells[survey_id] + cells if survey_id in own_cells else cells.copy()
            await asyncio.sleep(0)
        for array in (totals, own, *own_cells.values()):
            self.layout.add_up(array)
            array.setflags(write=False)
        own_series.setflags(write=False)
        own_partitions = tuple(number for number, part in enumerate(parts) if part.counted_as_own)
        return Snapshot(
            as_of_us, complete, self.windows, layout.series, totals, own, own_series, own_partitions, own_cells
        )

    def _is_known(self, number: int, state: _Partition) -> bool:
        if state.owned:
            return state.ready
        return self._follower is not None and state.gathering is None and self._follower.is_current(number)

    def _new_table(self, *, own: bool = False) -> CountsTable:
        if self.layout is CASES:
            # By cell only what metrics tell: this worker's own.
            table = CountsTable([window_days(window) * HOURS_A_DAY for window in self.windows], CASES, by_cell=own)
        else:
            table = CountsTable([window.hours for window in self.windows])
        if not own:
            table.keep_days(self._days_followed)
        return table


class _Layout:
    """Where each table's series stand among the series of all."""

    def __init__(self) -> None:
        self.series: list[tuple[str, str]] = []
        self.places: list[tuple[Ints, Ints]] = []
        """For each table: the series' places in it, and here."""
        self._arranged_for: object = None

    def arrange(self, tables: Sequence[CountsTable]) -> Iterator[None]:
        """Bring the layout up to date, if any series came or went."""
        arranged_for = [(table, table.series_revision) for table in tables]
        if arranged_for == self._arranged_for:
            return
        names, there, distinct = [], [], set[tuple[str, str]]()
        for table in tables:
            table_names, table_places = table.series()
            names.append(table_names)
            there.append(table_places)
            distinct.update(table_names)
            yield
        self.series = sorted(distinct)
        yield
        place_of = {name: place for place, name in enumerate(self.series)}
        self.places = []
        for table_names, table_places in zip(names, there, strict=True):
            here = np.fromiter((place_of[name] for name in table_names), dtype=np.int64, count=len(table_names))
            self.places.append((table_places, here))
            yield
        self._arranged_for = arranged_for


def _reading(partition: int, slices: Iterator[None]) -> Iterator[None]:
    """Run the slices; name the partition of a row that cannot be read."""
    try:
        yield from slices
    except (ValueError, Corrupt, NewerFormat) as error:
        raise UnreadableCounts(f"segment counts of partition {partition}: {error}") from error
