"""Which event an answer gives: the two tables, and the lookups made from them.

A journey is a small state machine. Its state is the category of the latest answer (`none` before the first) and
whether a detection is open, which it can only be while the latest answer is passive. Two kinds of input move it:

* an answer newer than the latest, read from `TRANSITIONS`: from the latest before to the new one;
* an edit of a known answer, read from `AMENDMENTS`: from the latest before to the latest after the edit. These may be
  two versions of one answer, or two answers, when the edit moved one past the other in time.

A row says what would be published, and under which label (the `trigger`, `change` or `cause` of the event). Whether it
is published is then asked in this order:

1. `provided`: a change of category only where the settings name it (else there is no event to speak of);
   a repeated passive only where no detection is open or the cooldown is over (else suppressed as `cooldown`);
2. age: an event about an answer that is too old at record time is suppressed as `stale`. A withdrawal never is.

And `detection` says what becomes of the open detection, in that case: OPENS replaces it by the event being published
(suppressed: it stays as it was), CLOSES leaves none whether or not anything is published, for a customer who is no
longer passive has nothing open. So every row into passive OPENS, and every row out of it CLOSES.

Late answers, repeats and answers too old for the history are no transitions: they cannot change the latest answer.

The tables are complete: twelve pairs in the first; in the second, every case not listed gives nothing. Code does not
walk them but looks up `TRANSITION_OF_SCORES` and `amendment()`, which are made from them when this module is imported.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

from schemas.events import PASSIVE_DETECTED, PASSIVE_WITHDRAWN, SCORE_CHANGED
from streams.rules.category import CATEGORY_OF_SCORE, DETRACTOR, PASSIVE, PROMOTER, SCORES

NONE: Final = "none"
"""The category before the first answer."""

PASSIVE_TO_PROMOTER: Final = "passive_to_promoter"
"""The change that is a conversion."""
STILL_PASSIVE: Final = "still_passive"
"""The trigger of a detection that finds nobody new: a passive who was found before, after the cooldown."""

NO_SCORE: Final = len(SCORES)
"""Index of `none` in `TRANSITION_OF_SCORES`."""


class Provided(Enum):
    """What else must hold for a row's event."""

    ALWAYS = auto()
    COOLED_DOWN = auto()
    CONFIGURED = auto()


class Effect(Enum):
    """What becomes of the open detection."""

    OPENS = auto()
    CLOSES = auto()


ALWAYS, COOLED_DOWN, CONFIGURED = Provided
OPENS, CLOSES = Effect


class Transition(NamedTuple):
    """A row of the first table: the latest answer before, the new answer, what follows."""

    before: str
    after: str
    publishes: str | None
    label: str
    provided: Provided
    detection: Effect


class Amendment(NamedTuple):
    """A row of the second table: the latest answer before and after an edit, what follows."""

    before: frozenset[str]
    detection_open: bool
    after: frozenset[str]
    publishes: str
    label: str
    detection: Effect


# fmt: off
TRANSITIONS: Final[tuple[Transition, ...]] = (
    #          before     after      publishes         label                    provided     detection
    Transition(NONE,      PASSIVE,   PASSIVE_DETECTED, "first_response",        ALWAYS,      OPENS),
    Transition(DETRACTOR, PASSIVE,   PASSIVE_DETECTED, "from_detractor",        ALWAYS,      OPENS),
    Transition(PROMOTER,  PASSIVE,   PASSIVE_DETECTED, "from_promoter",         ALWAYS,      OPENS),
    Transition(PASSIVE,   PASSIVE,   PASSIVE_DETECTED, STILL_PASSIVE,           COOLED_DOWN, OPENS),

    Transition(PASSIVE,   PROMOTER,  SCORE_CHANGED,    PASSIVE_TO_PROMOTER,     CONFIGURED,  CLOSES),
    Transition(PASSIVE,   DETRACTOR, SCORE_CHANGED,    "passive_to_detractor",  CONFIGURED,  CLOSES),
    Transition(DETRACTOR, PROMOTER,  SCORE_CHANGED,    "detractor_to_promoter", CONFIGURED,  CLOSES),
    Transition(PROMOTER,  DETRACTOR, SCORE_CHANGED,    "promoter_to_detractor", CONFIGURED,  CLOSES),

    Transition(NONE,      DETRACTOR, None,             "",                      ALWAYS,      CLOSES),
    Transition(NONE,      PROMOTER,  None,             "",                      ALWAYS,      CLOSES),
    Transition(DETRACTOR, DETRACTOR, None,             "",                      ALWAYS,      CLOSES),
    Transition(PROMOTER,  PROMOTER,  None,             "",                      ALWAYS,      CLOSES),
)

NOT_PASSIVE: Final = frozenset({DETRACTOR, PROMOTER})

AMENDMENTS: Final[tuple[Amendment, ...]] = (
    #         before                detection_open  after                 publishes          label        detection
    Amendment(frozenset({PASSIVE}), True,           NOT_PASSIVE,          PASSIVE_WITHDRAWN, "corrected", CLOSES),
    Amendment(NOT_PASSIVE,          False,          frozenset({PASSIVE}), PASSIVE_DETECTED,  "corrected", OPENS),
)
# fmt: on

CONFIGURABLE_CHANGES: Final[tuple[str, ...]] = tuple(row.label for row in TRANSITIONS if row.provided is CONFIGURED)
"""What the setting of published changes may name."""

TRIGGERS: Final[tuple[str, ...]] = (
    *(row.label for row in TRANSITIONS if row.publishes == PASSIVE_DETECTED),
    *(row.label for row in AMENDMENTS if row.publishes == PASSIVE_DETECTED),
)
"""Every `trigger` of a passive-detected."""


def _by_scores() -> tuple[tuple[Transition, ...], ...]:
    row_of = {(row.before, row.after): row for row in TRANSITIONS}
    befores = [*(CATEGORY_OF_SCORE[score] for score in SCORES), NONE]
    return tuple(tuple(row_of[before, CATEGORY_OF_SCORE[score]] for score in SCORES) for before in befores)


TRANSITION_OF_SCORES: Final = _by_scores()
"""[score of the latest before, or NO_SCORE][score of the new answer] → row."""

_AMENDMENT_OF: Final = {
    (before, row.detection_open, after): row for row in AMENDMENTS for before in row.before for after in row.after
}


def amendment(before: str, detection_open: bool, after: str) -> Amendment | None:
    """The row of the second table for these categories; None: nothing is published, nothing opens or closes."""
    return _AMENDMENT_OF.get((before, detection_open, after))
