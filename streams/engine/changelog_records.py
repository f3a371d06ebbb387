"""Reads the records of the changelogs: either a record is what a release wrote, or the worker stops and says where.

A null under a key that no release wrote is let pass: it deletes nothing, or by an operator's hand what can't be read.
Every value is decoded when it is restored, though only few will be needed soon (2 µs each): what can't be read is found
here, where its offset is known, and not when its customer answers again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.keys import MAX_KEY_BYTES, CountsKey, counts_key, journey_key, parse_counts_key, parse_journey_key
from streams.engine.anonymous import index_key, is_anonymous
from streams.engine.formats import COUNTS, JOURNEY, REMEMBERED, Corrupt, Unreadable
from streams.engine.store import Store
from streams.rules.journey import order

Records = Sequence[ConsumerRecord[bytes, bytes]]
StoreRow = tuple[bytes, bytes | None]

_SURVEY_ID: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,128}")


def journey_rows(store: Store, at: TopicPartition, records: Records) -> list[StoreRow]:
    """Return the rows to write: the records, and what they change in the index of anonymous responses.

    Raises Unreadable.
    """
    rows: list[StoreRow] = []
    anonymous: dict[bytes, bytes | None] = {}
    for record in records:
        key, value = record.key, record.value
        try:
            _check_present(key)
            if value is not None:
                _check_key(key, parse_journey_key, journey_key)
            if is_anonymous(key):
                before = anonymous[key] if key in anonymous else store.get(b"j" + key)
                if before is not None:
                    rows.append((index_key(REMEMBERED.decode(before).first_seen_ms, key), None))
                if value is not None:
                    rows.append((index_key(REMEMBERED.decode(value).first_seen_ms, key), b""))
                anonymous[key] = value
            elif value is not None:
                _check_order(value)
        except (Unreadable, ValueError) as error:
            raise _unreadable(at, record.offset, error) from error
        rows.append((b"j" + key, value))
    return rows


def count_rows(at: TopicPartition, records: Records) -> list[StoreRow]:
    """Return key and value of the records, without what is nobody's. Raises Unreadable."""
    rows: list[StoreRow] = []
    for record in records:
        key, value = record.key, record.value
        try:
            _check_present(key)
            if value is not None:
                _check_key(key, _parse_counts_key, counts_key)
                COUNTS.decode(value)
            elif not _is_counts_key(key):
                continue
        except (Unreadable, ValueError) as error:
            raise _unreadable(at, record.offset, error) from error
        rows.append((key, value))
    return rows


def _parse_counts_key(key: bytes) -> CountsKey:
    """Counts become score rows, under the same names: what no row can be named would stop the scores later."""
    if len(key) > MAX_KEY_BYTES:
        raise Corrupt(f"the record's key has more than {MAX_KEY_BYTES} bytes")
    parsed = parse_counts_key(key)
    if not parsed.segment or _SURVEY_ID.fullmatch(parsed.survey_id) is None:
        raise Corrupt("the record's key holds no id of a survey, or no segment")
    return parsed


def _is_counts_key(key: bytes) -> bool:
    try:
        _check_key(key, _parse_counts_key, counts_key)
    except (Corrupt, ValueError):
        return False
    return True


def _check_present(key: bytes | None) -> None:
    if key is None:
        raise Corrupt("the record has no key")


def _check_key(key: bytes, parse: Callable[[bytes], tuple[object, ...]], write: Callable[..., bytes]) -> None:
    """Look-ups compare bytes: a key that is written another way would never be found."""
    if write(*parse(key)) != key:
        raise Corrupt("the record's key is not written the one way that it must be")


def _check_order(value: bytes) -> None:
    if not all(order(older) <= order(newer) for older, newer in pairwise(JOURNEY.decode(value).history)):
        raise Corrupt("a journey's answers are not in order")


def _unreadable(at: TopicPartition, offset: int, error: Exception) -> Unreadable:
    return Unreadable(f"{at.topic} [{at.partition}] offset {offset}: {error}")
