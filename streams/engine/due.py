"""The index of cases that wait for a contact, by when they are due: to find those overdue needs no full scan."""

from __future__ import annotations

from schemas.times import MIN_US
from streams.rules.journey import Journey

DUE_PREFIX = b"d"
TIME_BYTES = 8


def due_entry(journey: Journey | None, key: bytes) -> bytes | None:
    """Return the store's key of a journey's index entry; None: nothing of it is due, or there is no journey."""
    if journey is None or journey.case is None:
        return None
    due_us = journey.case.awaits_contact_until
    return None if due_us is None else end_of_due(due_us) + key


def end_of_due(before_us: int) -> bytes:
    """Return the key that all entries due before this time sort before, and no others. µs since the epoch."""
    return DUE_PREFIX + (before_us - MIN_US).to_bytes(TIME_BYTES, "big")


def due_key(entry: bytes) -> bytes:
    """Return the journeys key that an index entry points to."""
    return entry[len(DUE_PREFIX) + TIME_BYTES :]
