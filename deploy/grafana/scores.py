"""Scores in PromQL, from `nps_window_responses`: the same formulas as `streams/rules/scores.py`.

A scope is what selects the series, such as `survey="$survey", window="30d"`; `by` are the labels that rows keep.
Workers are summed over. Where a row has no responses nothing is found, as its score is null. Nor is anything while some
partition is counted by two workers or by none, which a scrape can see when partitions change hands.
"""

from __future__ import annotations

from typing import Final

from deploy.grafana.variables import DEPLOYMENT
from streams.rules.scores import Z_95

DETRACTORS: Final = 'category="detractor"'
SEVENS: Final = 'category="seven"'
EIGHTS: Final = 'category="eight"'
PASSIVES: Final = 'category=~"seven|eight"'
PROMOTERS: Final = 'category="promoter"'
EVERYBODY: Final = ""

_COUNTED: Final = f"nps_window_partitions{{{DEPLOYMENT}}}"
COUNTED_ONCE: Final = (
    f"and on () (count({_COUNTED}) == count(count by (partition) ({_COUNTED})) == max(nps_partitions{{{DEPLOYMENT}}}))"
)
"""After an expression: nothing is found unless every partition is counted by exactly one worker."""


def responses(scope: str, by: str) -> str:
    """How many there are."""
    return f"{_responses(scope, by)} {COUNTED_ONCE}"


def _responses(scope: str, by: str, category: str = EVERYBODY) -> str:
    """Responses of a category."""
    selector = ", ".join(part for part in (scope, category) if part)
    return f"sum by ({by}) (nps_window_responses{{{selector}}})"


def share(scope: str, by: str, part: str, of: str = EVERYBODY) -> str:
    """Responses of one category out of those of another, 0 to 1."""
    return f"{_responses(scope, by, part)} / ({_responses(scope, by, of)} > 0) {COUNTED_ONCE}"


def nps(scope: str, by: str) -> str:
    """100 · (promoters - detractors) / responses."""
    net = f"{_responses(scope, by, PROMOTERS)} - {_responses(scope, by, DETRACTORS)}"
    return f"100 * ({net}) / ({_responses(scope, by)} > 0) {COUNTED_ONCE}"


def nps_bound(scope: str, by: str, sign: str) -> str:
    """A bound of the 95 % interval (adjusted Wald: ¾ promoters, ¾ detractors and 1½ passives more); sign `-` or `+`."""
    promoters, detractors = _responses(scope, by, PROMOTERS), _responses(scope, by, DETRACTORS)
    adjusted = f"(({_responses(scope, by)} > 0) + 3)"
    net = f"(({promoters} - {detractors}) / {adjusted})"
    either = f"(({promoters} + {detractors} + 1.5) / {adjusted})"
    return f"clamp(100 * ({net} {sign} {Z_95} * sqrt(({either} - {net} ^ 2) / {adjusted})), -100, 100) {COUNTED_ONCE}"
