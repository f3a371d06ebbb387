"""Reads the records of the changelogs: either a record is what a release wrote, or the worker stops and says where.

A null under a key that no release wrote is let pass: it deletes nothing, or by an operator's hand what can't be read.
Every value is decoded when it is restored, though only few will be needed soon (2 µs each): what can't be read is found
here, where its offset is known, and not when its customer answers again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiokafka.structs import TopicPartition

from schemas.keys import (
    MAX_KEY_BYTES,
    CountsKey,
    counts_key,
    journey_key,
    journey_kind,
    parse_counts_key,
    parse_journey_key,
)
from streams.engine.anonymous import index_key, is_anonymous
from streams.engine.due import due_entry
from streams.engine.formats import JOURNEY, REMEMBERED, Corrupt, Format, Unreadable
from streams.engine.records import Record
from streams.engine.store import Store
from streams.rules.journey import Journey, order

Records = Sequence[Record]
StoreRow = tuple[bytes, bytes | None]

DUE_REMEMBERED_MAX: Final = 300_000
"""Index entries remembered while a store is being filled (some 70 MB). Above it the store is asked, which is slower."""

_SURVEY_ID: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,128}")


class JourneyRows:
    """Makes rows of the records of journeys: the records, and what they change in the indexes.

    An index entry that a record makes wrong must go. What is in the store tells it, and while a store that was empty is
    being filled, what is remembered of the entries in it, which costs a third of looking everything up.
    """

    def __init__(self, store: Store, *, empty: bool) -> None:
        self._store = store
        self._due: dict[bytes, bytes] | None = {} if empty else None
        """The entry of each key that has one; None: to be found through the store."""

    def of(self, at: TopicPartition, records: Records) -> list[StoreRow]:
        """Return the rows to write before the next call. Raises Unreadable."""
        rows: list[StoreRow] = []
        anonymous: dict[bytes, bytes | None] = {}
        due = self._stored_due(records) if self._due is None else self._due
        for record in records:
            value = record.value
            try:
                key = _present(record.key)
                if value is None:
                    anonymous_one = is_anonymous(key)
                else:
                    if (kind := journey_kind(key)) is None:
                        _check_key(key, parse_journey_key, journey_key)  # says what is wrong
                    anonymous_one = kind == "response"
                if anonymous_one:
                    before = anonymous[key] if key in anonymous else self._store.get(b"j" + key)
                    if before is not None:
                        rows.append((index_key(REMEMBERED.decode(before).first_seen_ms, key), None))
                    if value is not None:
                        rows.append((index_key(REMEMBERED.decode(value).first_seen_ms, key), b""))
                    anonymous[key] = value
                else:
                    entry_before = due.get(key)
                    entry = None if value is None else due_entry(_journey(value), key)
                    if entry != entry_before:
                        if entry_before is not None:
                            rows.append((entry_before, None))
                            del due[key]
                        if entry is not None:
                            rows.append((entry, b""))
                            due[key] = entry
            except (Unreadable, ValueError) as error:
                raise _unreadable(at, record.offset, error) from error
            rows.append((b"j" + key, value))
        if self._due is not None and len(self._due) > DUE_REMEMBERED_MAX:
            self._due = None
        return rows

    def _stored_due(self, records: Records) -> dict[bytes, bytes]:
        """The entries of what the store holds under the keys of these records."""
        keys = list({record.key for record in records if record.key is not None and not is_anonymous(record.key)})
        stored = self._store.get_many([b"j" + key for key in keys]) if keys else []
        entries = {}
        for key, value in zip(keys, stored, strict=True):
            if value is not None and (entry := due_entry(JOURNEY.decode(value), key)) is not None:
                entries[key] = entry
        return entries


def count_rows(at: TopicPartition, records: Records, stored: Format[Any]) -> list[StoreRow]:
    """Return key and value of the records, without what is nobody's. Raises Unreadable."""
    rows: list[StoreRow] = []
    for record in records:
        value = record.value
        try:
            key = _present(record.key)
            if value is not None:
                _check_key(key, _parse_counts_key, counts_key)
                stored.decode(value)
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


def _present(key: bytes | None) -> bytes:
    if key is None:
        raise Corrupt("the record has no key")
    return key


def _check_key(key: bytes, parse: Callable[[bytes], tuple[object, ...]], write: Callable[..., bytes]) -> None:
    """Look-ups compare bytes: a key that is written another way would never be found."""
    if write(*parse(key)) != key:
        raise Corrupt("the record's key is not written the one way that it must be")


def _journey(value: bytes) -> Journey:
    journey = JOURNEY.decode(value)
    history = journey.history
    if len(history) > 1:
        older = order(history[0])
        for answer in history:
            newer = order(answer)
            if newer < older:
                raise Corrupt("a journey's answers are not in order")
            older = newer
    return journey


def _unreadable(at: TopicPartition, offset: int, error: Exception) -> Unreadable:
    return Unreadable(f"{at.topic} [{at.partition}] offset {offset}: {error}")
