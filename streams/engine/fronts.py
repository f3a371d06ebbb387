"""Where an index of the store begins. Entries leave it from its front, and RocksDB keeps for a while that they did: a
look for the first one that walked over all those would take longer with each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streams.engine.store import Store


class Front:
    """Of the index whose entries begin with a prefix. No entry of the store is before it."""

    def __init__(self, store: Store, prefix: bytes) -> None:
        self._store = store
        self._prefix = prefix
        self._end = prefix + b"\xff" * 9
        """Behind every entry: no number of days or µs that they begin with is that high."""
        self._at = prefix

    def scan(self) -> Iterator[bytes]:
        """Yield the entries in order. Each one but the last that is taken must be on its way out of the store."""
        empty = True
        for entry, _ in self._store.scan(self._prefix, self._at):
            self._at, empty = entry, False
            yield entry
        if empty:
            self._at = self._end

    def written(self, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take note of what was put into the store, or deleted, of this index and others."""
        for entry, value in changes:
            if value is not None and entry < self._at and entry.startswith(self._prefix):
                self._at = entry
