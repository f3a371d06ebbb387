"""What the topic of scores holds, held against a snapshot: which rows have to be sent.

Anything may be in the topic, for others can write to it. A row is found again by its key; one that a worker of this
release would not write is deleted if it was meant as a row, and let be if it is something else altogether. Nothing in
there stops a worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
import numpy as np
from pydantic import ValidationError

from schemas.keys import MAX_KEY_BYTES, parse_score_key, score_key
from streams.rules.counts import COUNTERS
from streams.rules.scores import score_row
from streams.scoreboard.snapshot import Snapshot
from streams.scoreboard.table import Ints

_UNPUBLISHED: Final = 0
_DOUBTFUL: Final = -1
"""Counters that no row has: what is published may not be what we think."""

Name = tuple[str, str]
Message = tuple[bytes, bytes | None]


class _Responses(msgspec.Struct):
    """What is read of a published row."""

    responses: int


def has_responses(value: bytes | None) -> bool:
    """Whether a published row has responses; one that cannot be read is taken to have."""
    if value is None:
        return False
    try:
        return msgspec.json.decode(value, type=_Responses).responses > 0
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return True


def left_by_another(snapshot: Snapshot, live: Iterable[bytes]) -> tuple[Ints, list[Message]]:
    """Return the counters to compare with, so that all rows that have or had responses differ; and what is gone.

    `live` are the keys in the topic under which there may be a row with responses.
    """
    before = np.full(snapshot.totals.shape, _UNPUBLISHED, dtype=np.int64)
    place_of = {name: place for place, name in enumerate(snapshot.series)}
    window_of = {window.name: place for place, window in enumerate(snapshot.windows)}
    gone: list[Message] = []
    for key in live:
        if len(key) > MAX_KEY_BYTES:
            continue
        try:
            survey_id, segment, window = parse_score_key(key)
        except ValueError:
            continue
        if window not in window_of or score_key(survey_id, segment, window) != key:
            gone.append((key, None))  # a window that is no longer configured has no row, not an empty one
        elif (survey_id, segment) in place_of:
            before[place_of[survey_id, segment], window_of[window]] = _DOUBTFUL
        else:
            try:
                gone.append(_empty_row(snapshot, survey_id, segment, window))
            except ValidationError:
                gone.append((key, None))
    return before, gone


def left_by_us(
    snapshot: Snapshot, series: Sequence[Name], counters: Ints, *, all_again: bool
) -> tuple[Ints, list[Message]]:
    """Return the published counters ([series, window, counter]) at the snapshot's places; and what is gone.

    `all_again`: rows that have or had responses are to be sent, changed or not.
    """
    gone: list[Message] = []
    if snapshot.series is series:
        before = counters.copy()
    else:
        before = np.full(snapshot.totals.shape, _UNPUBLISHED, dtype=np.int64)
        place_of = {name: place for place, name in enumerate(snapshot.series)}
        for name, published in zip(series, counters, strict=True):
            place = place_of.get(name)
            if place is not None:
                before[place] = published
            else:
                held = zip(snapshot.windows, published, strict=True)
                gone += [_empty_row(snapshot, *name, window.name) for window, counted in held if counted.any()]
    if all_again:
        before[before.any(axis=2)] = _DOUBTFUL
    return before, gone


def messages(snapshot: Snapshot, places: Sequence[tuple[int, int]]) -> list[Message]:
    """Return key and value of the rows at these (series, window) places."""

    def encoded() -> Iterator[Message]:
        for row in snapshot.rows(places):
            yield score_key(row.survey_id, row.segment, row.window), row.model_dump_json().encode()

    return list(encoded())


def _empty_row(snapshot: Snapshot, survey_id: str, segment: str, window: str) -> Message:
    row = score_row(survey_id, segment, window, snapshot.as_of_us, (0,) * COUNTERS)
    return score_key(survey_id, segment, window), row.model_dump_json().encode()
