"""The index of anonymous responses by the day they were first seen, so that forgetting needs no full scan."""

from __future__ import annotations

DAY_MS = 86_400_000
INDEX_PREFIX = b"a"
_ANONYMOUS_KEY_PREFIX = b'["response",'
DAY_BYTES = 4
_LAST_DAY = (1 << 8 * DAY_BYTES) - 1


def is_anonymous(key: bytes) -> bool:
    """Is this journeys key one of an anonymous response?"""
    return key.startswith(_ANONYMOUS_KEY_PREFIX)


def index_key(first_seen_ms: int, key: bytes) -> bytes:
    """Return the store's key of the index entry; entries sort by day. `first_seen_ms` is a record time, ms."""
    return INDEX_PREFIX + _day(first_seen_ms) + key


def end_of_index(before_ms: int) -> bytes:
    """Return the key that all entries of days before the one of `before_ms` sort before."""
    return INDEX_PREFIX + _day(before_ms)


def indexed_key(entry: bytes) -> bytes:
    """Return the journeys key that an index entry points to."""
    return entry[len(INDEX_PREFIX) + DAY_BYTES :]


def _day(time_ms: int) -> bytes:
    # Record times are the publisher's: any number of 64 bits.
    return min(max(time_ms // DAY_MS, 0), _LAST_DAY).to_bytes(DAY_BYTES, "big")
