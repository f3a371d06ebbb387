"""Where an index of the store begins. Entries leave it from its front, and RocksDB keeps for a while that they did: a
look for the first one that walked over all those would take longer with each.
"""

from __future__ import annotations

from collections.abc import Iterable

from streams.engine.store import Store


class Front:
    """Of the index whose entries are a letter, a number of so many bytes, and a key. No entry of the store is before
    it. Of what stays, only the number is remembered: the key names a customer, who may be erased.
    """

    def __init__(self, store: Store, letter: bytes, number_bytes: int) -> None:
        self._store = store
        self._letter = letter
        self._kept_bytes = len(letter) + number_bytes
        self._end = letter + b"\xff" * (number_bytes + 1)
        """Behind every entry: no key begins with that byte."""
        self._at = letter

    def first(self) -> bytes | None:
        """The first entry."""
        entry, _ = next(self._store.scan(self._letter, self._at), (None, None))
        self._at = self._end if entry is None else entry[: self._kept_bytes]
        return entry

    def take(self, end: bytes, most: int) -> list[bytes]:
        """The first entries before `end`, which the caller is to delete. Are they so many, there may be more."""
        taken: list[bytes] = []
        for entry, _ in self._store.scan(self._letter, self._at):
            if entry >= end:
                self._at = entry[: self._kept_bytes]
                return taken
            taken.append(entry)
            if len(taken) == most:
                self._at = entry + b"\0"  # those behind it are asked for at once
                return taken
        self._at = taken[-1][: self._kept_bytes] if taken else self._end
        return taken

    def written(self, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take note of what was put into the store, or deleted, of this index and others."""
        for entry, value in changes:
            if value is not None and entry < self._at and entry.startswith(self._letter):
                self._at = entry[: self._kept_bytes]
