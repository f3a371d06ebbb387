"""The window sums of all partitions at one instant, as queries, metrics and the publisher read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from schemas.scores import ScoreRow
from streams.rules.scores import score_row
from streams.rules.windows import Window
from streams.scoreboard.table import Ints

_SCORE_COUNTERS = 4
"""The first four counters are responses, by score."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Never changes once made, so any thread may read it."""

    as_of_us: int
    complete: bool
    """The rows of every partition are in."""
    windows: tuple[Window, ...]
    series: Sequence[tuple[str, str]]
    """(survey, segment), in order. The same object as in the snapshot before as long as the series are the same."""
    totals: Ints
    """[series, window, counter] over all partitions."""
    own: Ints
    """The same over the partitions that this worker owns."""
    own_series: NDArray[np.bool_]
    """[series]: the worker's own partitions have rows of it."""
    own_partitions: tuple[int, ...] = ()
    """Those that `own` is the sum over."""
    own_cells: Mapping[str, Ints] = field(default_factory=dict)
    """Of cases: survey → [window, cell] of the segment `all`, over the same partitions."""

    @property
    def responses(self) -> Ints:
        """[series, window]: how many responses."""
        counted: Ints = self.totals[:, :, :_SCORE_COUNTERS].sum(axis=2)
        return counted

    def places(
        self, survey_id: str | None = None, segment: str | None = None, window: str | None = None
    ) -> list[tuple[int, int]]:
        """Return the (series, window) places that have responses and match exactly what is given."""
        wanted = self.responses > 0
        if window is not None:
            wanted[:, [held.name != window for held in self.windows]] = False
        if survey_id is not None or segment is not None:
            wanted[
                [
                    (survey_id is not None and name[0] != survey_id) or (segment is not None and name[1] != segment)
                    for name in self.series
                ]
            ] = False
        series, windows = wanted.nonzero()
        return list(zip(series.tolist(), windows.tolist(), strict=True))

    def rows(self, places: Sequence[tuple[int, int]]) -> Iterator[ScoreRow]:
        """Return the score rows of these (series, window) places, one at a time: 4 µs each."""
        for series, window in places:
            survey_id, segment = self.series[series]
            counters = self.totals[series, window].tolist()
            yield score_row(survey_id, segment, self.windows[window].name, self.as_of_us, counters)
