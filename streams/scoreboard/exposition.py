"""The windows as text: the large families, segments or groups of cases times windows times labels.

Written line by line from the snapshots and not sample by sample through the client library, which makes several objects
of each line: ten times the work, and hundreds of thousands of objects at once for the garbage collector to look at,
which holds the event loop although the encoding is done in a thread.

The lines are the same in the text format and in OpenMetrics (a test reads them with the library's own parsers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from streams.rules.case_counts import CASE_COUNTERS, GROUP_OF, GROUPS
from streams.rules.category import DETRACTORS, EIGHTS, PROMOTERS, SEVENS
from streams.rules.conversions import INDEX_OF, STATES
from streams.rules.windows import Window
from streams.scoreboard.snapshot import Snapshot

_SERIES_AT_ONCE: Final = 256
"""Written between two joins: some 300 KB of text."""
_END: Final = b"# EOF\n"
"""What OpenMetrics ends with."""


@dataclass(frozen=True, slots=True)
class _Family:
    """A gauge by survey, segment, window and one label that says which counter it is."""

    name: str
    documentation: str
    label: str
    counters: tuple[tuple[str, int], ...]
    """Value of that label, and place of the counter."""

    def lines(self, snapshot: Snapshot, windows: Sequence[Window]) -> Iterator[bytes]:
        yield f"# HELP {self.name} {self.documentation}\n# TYPE {self.name} gauge\n".encode()
        heads = [(f'{self.name}{{{self.label}="{value}",', counter) for value, counter in self.counters]
        ends = [[(head, f'window="{window.name}"}} ', counter) for head, counter in heads] for window in windows]
        places = snapshot.own_series.nonzero()[0]
        for start in range(0, len(places), _SERIES_AT_ONCE):
            some = places[start : start + _SERIES_AT_ONCE]
            lines: list[str] = []
            for place, of_windows in zip(some.tolist(), snapshot.own[some, : len(windows)].tolist(), strict=True):
                survey_id, segment = map(_escaped, snapshot.series[place])
                labels = f'segment="{segment}",survey="{survey_id}",'
                for of_window, counters in zip(ends, of_windows, strict=True):
                    lines += [f"{head}{labels}{tail}{counters[counter]}\n" for head, tail, counter in of_window]
            yield "".join(lines).encode()


@dataclass(frozen=True, slots=True)
class _GroupFamily:
    """A gauge of the segment `all` by survey, window, score, reason and action.

    A group without cases in a window is absent; one with cases has every state, 0 too, so that a share of it is 0 and
    not absent. At most 84 groups (2 scores, 6 reasons, 7 actions) for each survey and window, times the states.
    """

    name: str
    documentation: str
    counters: tuple[tuple[str, int], ...]
    """A label more, with its comma, and place of the counter."""
    divisor: int = 1

    def lines(self, snapshot: Snapshot, windows: Sequence[Window]) -> Iterator[bytes]:
        yield f"# HELP {self.name} {self.documentation}\n# TYPE {self.name} gauge\n".encode()
        heads = [(f"{self.name}{{{label}", counter) for label, counter in self.counters]
        for survey_id, cells in snapshot.own_cells.items():
            survey = _escaped(survey_id)
            lines: list[str] = []
            groups_of_windows = cells.reshape(len(cells), GROUPS, CASE_COUNTERS)[: len(windows)]
            for window, groups in zip(windows, groups_of_windows, strict=True):
                for group in groups[:, INDEX_OF["cases"]].nonzero()[0].tolist():
                    counters = groups[group].tolist()
                    tail = f'{_GROUP_LABELS[group]}survey="{survey}",window="{window.name}"}}'
                    lines += [f"{head}{tail} {self._value(counters[counter])}\n" for head, counter in heads]
            yield "".join(lines).encode()

    def _value(self, count: int) -> float:
        return count if self.divisor == 1 else count / self.divisor


_GROUP_LABELS: Final = [f'action="{action}",reason="{reason}",score="{score}",' for score, reason, action in GROUP_OF]

_RESPONSES: Final = _Family(
    "nps_window_responses",
    "Responses in the rolling window, counted in the partitions that this worker owns: sum over the workers.",
    "category",
    (("detractor", DETRACTORS), ("seven", SEVENS), ("eight", EIGHTS), ("promoter", PROMOTERS)),
)
_CASES: Final = _Family(
    "nps_window_cases",
    "Cases opened in the rolling window, counted in the partitions that this worker owns: sum over the workers.",
    "state",
    tuple((state, INDEX_OF[state]) for state in STATES),
)
_CASE_GROUPS: Final = _GroupFamily(
    "nps_window_case_groups",
    "Cases of everybody opened in the rolling window, by score, reason and action: sum over the workers.",
    tuple((f'state="{state}",', INDEX_OF[state]) for state in ("cases", "contacted", "converted", "withdrawn")),
)
_CONVERSION_SECONDS: Final = _GroupFamily(
    "nps_window_conversion_seconds",
    "Time from detection to converting answer, added up over the converted cases of nps_window_case_groups.",
    (("", INDEX_OF["ms_to_convert"]),),
    divisor=1000,
)


def with_windows(exposition: bytes, responses: Snapshot, cases: Snapshot) -> bytes:
    """Return the exposition, in either format, with the windows of the partitions that this worker owns. The last
    window of `cases` is all that is kept, which is no window of anybody's.
    """
    end = _END if exposition.endswith(_END) else b""
    of_cases = (
        line
        for family in (_CASES, _CASE_GROUPS, _CONVERSION_SECONDS)
        for line in family.lines(cases, cases.windows[:-1])
    )
    return b"".join((exposition.removesuffix(_END), *_RESPONSES.lines(responses, responses.windows), *of_cases, end))


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
