"""Cases in PromQL, from `nps_window_cases` (by segment) and `nps_window_case_groups` (of everybody, by score, reason
and action): the same formulas as `streams/rules/conversions.py`.

As for scores, a scope selects the series and `by` are the labels that rows keep. Workers are summed over. Nothing is
found where there is nothing to divide by, nor while some partition is counted by two workers or by none.
"""

from __future__ import annotations

from typing import Final

from deploy.grafana.scores import COUNTED_ONCE
from streams.rules.scores import Z_95

BY_SEGMENT: Final = "nps_window_cases"
BY_GROUP: Final = "nps_window_case_groups"
"""Has the states cases, contacted, converted and withdrawn."""

CASES: Final = "cases"
CONTACTED: Final = "contacted"
IN_TIME: Final = "contacted_in_time"
OVERDUE: Final = "overdue"
CONVERTED: Final = "converted"
LEFT: Final = "left"
WITHDRAWN: Final = "withdrawn"


def cases(scope: str, by: str, state: str = CASES, *, metric: str = BY_SEGMENT) -> str:
    """How many there are, or came to a state."""
    return f"{_cases(metric, scope, by, state)} {COUNTED_ONCE}"


def still_open(scope: str, by: str) -> str:
    """Neither converted, nor left, nor withdrawn. Of erased ones this metric does not tell: they are among them."""
    found = _cases(BY_SEGMENT, scope, by)
    return f"{found} - {_cases(BY_SEGMENT, scope, by, CONVERTED, LEFT, WITHDRAWN)} {COUNTED_ONCE}"


def open_now(scope: str) -> str:
    """Cases of each survey that are open, whenever they opened."""
    return f"sum by (survey) (nps_open_cases{{{scope}}}) {COUNTED_ONCE}"


def contact_share(scope: str, by: str, state: str = CONTACTED, *, metric: str = BY_SEGMENT) -> str:
    """Cases that were contacted, or in time, out of those that were not withdrawn, 0 to 1."""
    contacted = _cases(metric, scope, by, state)
    return f"clamp_max({contacted} / ({_standing(metric, scope, by)} > 0), 1) {COUNTED_ONCE}"


def overdue_share(scope: str, by: str) -> str:
    """Overdue cases out of those of which it is known whether somebody was in time, 0 to 1."""
    overdue, due = _cases(BY_SEGMENT, scope, by, OVERDUE), _cases(BY_SEGMENT, scope, by, OVERDUE, IN_TIME)
    return f"{overdue} / ({due} > 0) {COUNTED_ONCE}"


def conversion(scope: str, by: str, *, metric: str = BY_SEGMENT) -> str:
    """Converted cases out of those that were not withdrawn, 0 to 1."""
    return f"{_cases(metric, scope, by, CONVERTED)} / ({_standing(metric, scope, by)} > 0) {COUNTED_ONCE}"


def conversion_bound(scope: str, by: str, sign: str, *, metric: str = BY_SEGMENT) -> str:
    """A bound of the 95 % Wilson interval; sign `-` or `+`."""
    converted, standing = _cases(metric, scope, by, CONVERTED), f"({_standing(metric, scope, by)} > 0)"
    spread = f"sqrt({converted} * (1 - {converted} / {standing}) + {Z_95**2 / 4})"
    bound = f"({converted} + {Z_95**2 / 2} {sign} {Z_95} * {spread}) / ({standing} + {Z_95**2})"
    return f"clamp({bound}, 0, 1) {COUNTED_ONCE}"


def days_to_convert(scope: str, by: str) -> str:
    """Mean days from the detection to the answer that converted, of everybody's converted cases."""
    took = f"sum by ({by}) (nps_window_conversion_seconds{{{scope}}})"
    return f"{took} / 86400 / ({_cases(BY_GROUP, scope, by, CONVERTED)} > 0) {COUNTED_ONCE}"


def _standing(metric: str, scope: str, by: str) -> str:
    return f"({_cases(metric, scope, by)} - {_cases(metric, scope, by, WITHDRAWN)})"


def _cases(metric: str, scope: str, by: str, *states: str) -> str:
    return f'sum by ({by}) ({metric}{{{scope}, state=~"{"|".join(states or (CASES,))}"}})'
