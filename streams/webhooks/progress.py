"""How far one partition was delivered, kept as the group's committed offset and a note beside it.

The offset is the first event that is neither delivered nor dead-lettered, so lag tools show the truth. Where one event
is tried for hours, those behind it are delivered meanwhile: the note says which of the offsets up to `seen` are still
open, so that a restart delivers those again and not a day of others. Kafka limits a note; where it would be longer,
`seen` ends before what does not fit.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import accumulate
from typing import Final, NamedTuple

import msgspec

MAX_NOTE_BYTES: Final = 3_000
"""Brokers take 4,096 unless set otherwise (`offset.metadata.max.bytes`)."""


class _Note(msgspec.Struct):
    seen: int
    """Offsets below this one are delivered or dead-lettered, but for `open`."""
    open: list[int]
    """Each as its distance from the one before; the first from the committed offset."""


class Commit(NamedTuple):
    """What a group commits for a partition."""

    offset: int
    note: str


class Progress:
    """Of one partition. Records are begun in the order of their offsets, and done in any."""

    def __init__(self, committed: Commit) -> None:
        """Go on where a group's commit says; ValueError for a note that no release wrote."""
        self._next, left = _read(committed)
        self._open: OrderedDict[int, None] = OrderedDict.fromkeys(left)
        self._unread = deque(left)
        """Those of the open that were not read since the restart."""

    @property
    def next(self) -> int:
        """The first offset that was never seen."""
        return self._next

    def is_done(self, offset: int) -> bool:
        """Whether this was delivered before a restart."""
        return offset < self._next and offset not in self._open

    def begin(self, offset: int) -> None:
        """Take responsibility for a record that was read."""
        self.passed(offset)
        if self._unread and self._unread[0] == offset:
            self._unread.popleft()
        self._open[offset] = None
        self._next = max(self._next, offset + 1)

    def done(self, offset: int) -> None:
        """Delivered, dead-lettered, or not wanted."""
        self._open.pop(offset, None)

    def passed(self, offset: int) -> None:
        """All that there is before this offset was read: also marks of transactions, and what retention has deleted."""
        while self._unread and self._unread[0] < offset:
            self._open.pop(self._unread.popleft(), None)
        self._next = max(self._next, offset)

    def left_before(self, offset: int) -> int:
        """Return how many offsets before this one were left by whoever was here before and are not read yet."""
        return sum(each < offset for each in self._unread) + max(offset - self._next, 0)

    def commit(self) -> Commit:
        """Return what to commit now."""
        lowest = next(iter(self._open), self._next)
        distances: list[int] = []
        before, seen, size = lowest, self._next, 0
        for offset in self._open:
            size += len(str(offset - before)) + 1
            if size > MAX_NOTE_BYTES:
                seen = offset
                break
            distances.append(offset - before)
            before = offset
        return Commit(lowest, msgspec.json.encode(_Note(seen, distances)).decode() if self._open else "")


def resume(committed: Commit, end: int) -> tuple[Progress, str]:
    """Go on behind a group's commit; `end` is the partition's.

    A note that cannot be right is not obeyed, so that nothing is passed over: what is wrong with it is returned, too.
    """
    try:
        progress = Progress(committed)
        if progress.next > end:
            raise ValueError("the note of a committed offset says more than there is")
    except ValueError as error:
        return Progress(committed._replace(note="")), str(error)
    return progress, ""


def _read(committed: Commit) -> tuple[int, list[int]]:
    """Return the first offset that was never seen, and those before it that are open."""
    if not committed.note:
        return committed.offset, []
    try:
        note = msgspec.json.decode(committed.note, type=_Note)
    except msgspec.DecodeError as error:
        raise ValueError(f"the note of a committed offset cannot be read: {error}") from None
    return note.seen, list(accumulate(note.open, initial=committed.offset))[1:]
