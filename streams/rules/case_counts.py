"""Where a case is counted: the row of the UTC day on which it opened, in a cell by what it is.

One row holds the counts of a (survey, segment, UTC day): a map of cell → count, where
`cell = ((score - 7) * 6 + reason) * 7 + action) * 14 + counter`. Absent cells are 0.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Final

from schemas.playbook import ACTIONS, REASONS
from schemas.times import US_PER_DAY
from streams.rules.case import NO_ACTION, Case, CaseChange

CONVERTED: Final = "converted"
LEFT: Final = "left"
WITHDRAWN: Final = "withdrawn"
ERASED: Final = "erased"
ENDS: Final = (CONVERTED, LEFT, WITHDRAWN, ERASED)

WITHIN_DAYS: Final = (7, 30, 90, 180, 365)
"""Cases count as converted within so many days of opening: stored under the first that holds, added up when read."""
COUNTER_NAMES: Final = (
    *("cases", "contacted", "contacted_in_time"),
    "overdue",
    *ENDS,
    "ms_to_convert",
    *(f"converted_{days}d" for days in WITHIN_DAYS),
)
CASE_COUNTERS: Final = len(COUNTER_NAMES)
NESTED: Final = 3
"""Of the first so many counters each holds the one after it: contacted ones are cases, those in time are contacted. A
case is stored under the last that holds, and added up when read: what changes is then two cells, from one to another.
"""
CASE_ACTIONS: Final = (*ACTIONS, NO_ACTION)
SCORES: Final = (7, 8)
GROUPS: Final = len(SCORES) * len(REASONS) * len(CASE_ACTIONS)
CASE_CELLS: Final = GROUPS * CASE_COUNTERS

_INDEX: Final = {name: index for index, name in enumerate(COUNTER_NAMES)}
_GROUP: Final = {
    (score, reason, action): ((at_score * len(REASONS) + at_reason) * len(CASE_ACTIONS) + at_action) * CASE_COUNTERS
    for at_score, score in enumerate(SCORES)
    for at_reason, reason in enumerate(REASONS)
    for at_action, action in enumerate(CASE_ACTIONS)
}
GROUP_OF: Final = tuple(_GROUP)
"""The (score, reason, action) of `cell // CASE_COUNTERS`."""
_CONTACTED: Final = _INDEX["contacted"]
_IN_TIME: Final = _INDEX["contacted_in_time"]
_OVERDUE: Final = _INDEX["overdue"]
_CONVERTED: Final = _INDEX[CONVERTED]
_MS_TO_CONVERT: Final = _INDEX["ms_to_convert"]
_FIRST_WITHIN: Final = _MS_TO_CONVERT + 1
_WITHIN_US: Final = tuple(days * US_PER_DAY for days in WITHIN_DAYS)
_OPENED: Final = {group: ((cell, 1),) for group, cell in _GROUP.items()}

Amounts = tuple[tuple[int, int], ...]


def opening_amounts(case: Case) -> Amounts:
    """The (cell, amount) pairs of a case that has just opened."""
    return _OPENED[case.score, case.reason, case.action]


def amounts(change: CaseChange) -> Amounts:
    """The (cell, amount) pairs by which a change of a case that was open changes each of its rows."""
    assert change.before is not None, "a case that opens is counted by opening_amounts"
    if change.after is None:
        assert change.end is not None
        return _ending_amounts(change.before, change.end, change.took_us)
    before, after = change.before, change.after
    gone, come = _cell(before), _cell(after)
    if before.overdue or after.overdue:
        return _overdue_amounts(before, after, gone, come)
    return () if gone == come else ((gone, -1), (come, 1))


def _cell(case: Case) -> int:
    """Where an open case counts 1."""
    first = _GROUP[case.score, case.reason, case.action]
    first_contact = case.first_contact
    if first_contact is None:
        return first
    due_at = case.due_at
    return first + (_IN_TIME if due_at is not None and first_contact <= due_at else _CONTACTED)


def _overdue_amounts(before: Case, after: Case, gone: int, come: int) -> Amounts:
    """The same of a case that is or was also counted as overdue, in a cell of its own."""
    net = Counter({come: 1})
    net[gone] -= 1
    if before.overdue:
        net[gone - gone % CASE_COUNTERS + _OVERDUE] -= 1
    if after.overdue:
        net[come - come % CASE_COUNTERS + _OVERDUE] += 1
    return tuple((cell, amount) for cell, amount in net.items() if amount)


def _ending_amounts(case: Case, end: str, took_us: int) -> Amounts:
    first = _GROUP[case.score, case.reason, case.action]
    if end != CONVERTED:
        return ((first + _INDEX[end], 1),)
    took_ms = took_us // 1000
    found = [(first + _CONVERTED, 1)]
    if took_ms:
        found.append((first + _MS_TO_CONVERT, took_ms))
    within = bisect_left(_WITHIN_US, took_us)
    if within < len(_WITHIN_US):
        found.append((first + _FIRST_WITHIN + within, 1))
    return tuple(found)
