"""Short stories of one customer each, so that every edge of the tables is stepped on, whatever chance brings.

A story sends its responses at the corpus clock; a slow one leaves its rest for months later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.corpus_tables import Made, Tables

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
SURVEY = "relational"


@dataclass
class SlowStory:
    """The second part of a story, not to be told before `not_before_ms` of the corpus clock."""

    not_before_ms: int
    rest: Callable[[Any], Iterator[Made]]


def cooldown_edges(tables: Tables, customer: str) -> Iterator[Made]:
    first_us = tables.now_ms * 1000 - 30 * DAY_US + 60_000_000
    yield tables.send(customer, SURVEY, "detected", first_us, 7)
    yield tables.send(customer, SURVEY, "a microsecond early", first_us + 30 * DAY_US - 1, 8)
    yield tables.send(customer, SURVEY, "on time", first_us + 30 * DAY_US, 7)
    yield tables.send(customer, SURVEY, "renewed, so early again", first_us + 30 * DAY_US + 1, 7)


def stale_edges(tables: Tables, customer: str) -> Iterator[Made]:
    for survey, beyond_us in (("relational", 1), ("after-purchase", 0)):
        edge_us = tables.now_ms * 1000 - 30 * DAY_US - beyond_us
        yield tables.send(customer, survey, "edge", edge_us, 8)
        yield tables.send(customer, survey, "next", tables.now_ms * 1000 - DAY_US, 8)


def stale_conversion(tables: Tables, customer: str) -> Iterator[Made]:
    now_us = tables.now_ms * 1000
    yield tables.send(customer, SURVEY, "passive", now_us - 40 * DAY_US, 7)
    yield tables.send(customer, SURVEY, "promoter", now_us - 35 * DAY_US, 9)
    yield tables.send(customer, SURVEY, "detractor", now_us - 34 * DAY_US, 2)
    yield tables.send(customer, SURVEY, "promoter again", now_us - DAY_US, 10)


def every_transition(tables: Tables, customer: str) -> Iterator[Made]:
    for step, score in enumerate((8, 9, 10, 7, 6, 0, 7, 3, 9, 2, 9)):
        responded_us = tables.now_ms * 1000 - (20 - step) * HOUR_US
        yield tables.send(customer, SURVEY, f"step {step}", responded_us, score)


def corrections(tables: Tables, customer: str) -> Iterator[Made]:
    responded_us = tables.now_ms * 1000 - DAY_US
    for revision, score in enumerate((2, 7, 8, 9, 10, 8, 6, 5, 7)):
        yield tables.send(customer, SURVEY, "edited", responded_us, score, revision)
    stale_us = tables.now_ms * 1000 - 40 * DAY_US
    yield tables.send(customer, "after-purchase", "edited", stale_us, 3, 0)
    yield tables.send(customer, "after-purchase", "edited", stale_us, 8, 1)


def corrections_by_moving(tables: Tables, customer: str) -> Iterator[Made]:
    now_us = tables.now_ms * 1000
    yield tables.send(customer, SURVEY, "passive", now_us - 5 * DAY_US, 7)
    yield tables.send(customer, SURVEY, "detractor", now_us - DAY_US, 3)
    yield tables.send(customer, SURVEY, "detractor", now_us - 6 * DAY_US, 3, 6)  # the passive is the latest again
    yield tables.send(customer, SURVEY, "detractor", now_us - 2 * DAY_US, 4, 7)  # and no longer


def full_history(tables: Tables, customer: str) -> Iterator[Made]:
    start_us = tables.now_ms * 1000 - 10 * DAY_US
    for step in range(34):
        yield tables.send(customer, SURVEY, f"passive {step:02d}", start_us + step * HOUR_US, 7)
    yield tables.send(customer, SURVEY, "older than the oldest", start_us, 3)
    yield tables.send(customer, SURVEY, "passive 00", start_us, 9, 9)  # left the history: unknown again, too old
    yield tables.send(customer, SURVEY, "inserted", start_us + 20 * HOUR_US + 1, 8)
    yield tables.send(customer, SURVEY, "converted", start_us + 40 * HOUR_US, 9)


def edge_of_counting(tables: Tables, customer: str) -> Iterator[Made]:
    now_us = tables.now_ms * 1000
    yield tables.send(customer, SURVEY, "old", now_us - 401 * DAY_US, 7)
    yield tables.send(customer, SURVEY, "old", now_us - 3 * DAY_US, 7, 7)
    yield tables.send(customer, SURVEY, "young", now_us - 2 * DAY_US, 7)
    yield tables.send(customer, SURVEY, "young", now_us - 400 * DAY_US - 1, 9, 7)
    # The clock goes on from record to record: an edge is measured from the record's own time. No segments, which hold
    # places, since the end of this day's retention is near.
    for response_id, beyond_us in (("counted", 0), ("not counted", 1)):
        ancient_us = tables.now_ms * 1000 - 400 * DAY_US - beyond_us
        yield tables.send(customer, "edge", response_id, ancient_us, 7, segments={})


def edge_of_future(tables: Tables, customer: str) -> Iterator[Made]:
    yield tables.send(customer, SURVEY, "edge", tables.now_ms * 1000 + 300_000_000, 7)
    yield tables.send(customer, SURVEY, "beyond", tables.now_ms * 1000 + 300_000_001, 9)


def erasure(tables: Tables, customer: str) -> Iterator[Made]:
    responded_us = tables.now_ms * 1000 - DAY_US
    for survey, score in (("relational", 8), ("after-purchase", 7), ("zz", 3), ("yy", 8)):
        yield tables.send(customer, survey, "one", responded_us, score)
    yield tables.send(customer, "yy", "two", responded_us + 1, 9)
    yield tables.erase(customer, placed=True)
    yield tables.send(customer, "relational", "one", responded_us, 8)
    yield tables.erase(customer, placed=True)
    yield tables.erase(customer, placed=True)


def stale_repeat(tables: Tables, customer: str) -> Iterator[Made]:
    """A stale repeat leaves the open detection as it was; one that is also within the cooldown counts as that."""
    detected_us = tables.now_ms * 1000 - DAY_US
    yield tables.send(customer, SURVEY, "detected", detected_us, 8)

    def rest(later: Tables) -> Iterator[Made]:
        yield later.send(customer, SURVEY, "stale, within cooldown", detected_us + 10 * DAY_US, 7)
        yield later.send(customer, SURVEY, "stale, beyond cooldown", detected_us + 31 * DAY_US, 7)
        yield later.send(customer, SURVEY, "converted", later.now_ms * 1000 - DAY_US, 9)

    tables.slow.append(SlowStory(tables.now_ms + 65 * 86_400_000, rest))


STORIES = (
    stale_repeat,
    cooldown_edges,
    stale_edges,
    stale_conversion,
    every_transition,
    corrections,
    corrections_by_moving,
    full_history,
    edge_of_counting,
    edge_of_future,
    erasure,
)
