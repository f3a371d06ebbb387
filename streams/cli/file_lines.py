"""A stream of bytes cut into lines, or into the rows of a CSV, as they arrive and within a limit of memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import BinaryIO, NamedTuple

from schemas.response import MAX_VALUE_BYTES

CHUNK_BYTES = 64 * 1024
MAX_ROW_BYTES = 1024 * 1024
"""Of a CSV row that is read at all: 16 times a value, for what is in columns that are left out."""


class Piece(NamedTuple):
    """A line or a row."""

    content: bytes
    """Without its end. One that is longer than the limit is cut to one byte more: enough to judge it too large."""
    number: int
    """Of its first line, from 1."""
    lines: int
    """How many it has: a quoted cell may hold line ends."""
    open: bool = False
    """The stream ended inside a quoted cell."""


class Lines:
    """The lines of a stream: a pipe's line is there as soon as it was written."""

    LIMIT_BYTES = MAX_VALUE_BYTES

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._held = bytearray()
        """The beginning of the piece that has not ended yet."""
        self._number = 1
        """Of the first line of that piece."""
        self._line_ends = 0
        """In that piece."""
        self._line_ended = False
        """With what was read last."""
        self._ready: list[Piece] = []  # newest first
        self._ended = False
        self.bytes_read = 0

    @property
    def waiting(self) -> bool:
        """Whether the next piece has to be read from the stream, which may take for ever."""
        return not self._ready and not self._ended

    def __iter__(self) -> Iterator[Piece]:
        """Iterate once."""
        return self

    def __next__(self) -> Piece:
        """Return the next piece."""
        while not self._ready:
            if self._ended:
                raise StopIteration
            self._read()
        return self._ready.pop()

    def _read(self) -> None:
        read = getattr(self._stream, "read1", self._stream.read)  # as much as there is, at least one byte
        chunk: bytes = read(CHUNK_BYTES)
        self.bytes_read += len(chunk)
        start = 0
        while (end := self._end(chunk, start)) >= 0:
            self._hold(chunk[start:end])
            self._ready.append(self._piece())
            start = end + 1
        self._hold(chunk[start:])
        if not chunk:
            self._ended = True
            if self._held:
                self._line_ends -= self._line_ended  # no line begins after the last line end
                self._ready.append(self._piece(open_=self._quoted()))
        self._line_ended = chunk.endswith(b"\n")
        self._ready.reverse()

    def _end(self, chunk: bytes, start: int) -> int:
        """Return where the line end is that ends the piece, -1: not in this chunk."""
        return chunk.find(b"\n", start)

    def _quoted(self) -> bool:
        """Whether the piece is inside a quoted cell now."""
        return False

    def _hold(self, part: bytes) -> None:
        self._line_ends += part.count(b"\n")
        if len(self._held) <= self.LIMIT_BYTES + 1:  # one more for a carriage return; the rest would tell nothing new
            self._held += part
            del self._held[self.LIMIT_BYTES + 2 :]

    def _piece(self, *, open_: bool = False) -> Piece:
        content = bytes(self._held).removesuffix(b"\r")[: self.LIMIT_BYTES + 1]
        piece = Piece(content, self._number, self._line_ends + 1, open_)
        self._number += piece.lines
        self._held.clear()
        self._line_ends = 0
        return piece


class _At(Enum):
    """Where in a row."""

    CELL_START = 1
    PLAIN = 2
    QUOTED = 3
    AFTER_QUOTE = 4
    """In a quoted cell: this quote has ended it, unless another one follows."""


_PLAIN_ENDS = re.compile(rb'\n|,"|,\Z')
_QUOTE = ord('"')


class Rows(Lines):
    """The rows of a CSV, where Python's reader sees their ends. It is not asked, since it holds all of a row, however
    long, and begins in the middle of a cell after one that is too long for it.
    """

    LIMIT_BYTES = MAX_ROW_BYTES

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self._at = _At.CELL_START

    def _end(self, chunk: bytes, start: int) -> int:
        while start < len(chunk):
            if self._at is _At.QUOTED:
                start = chunk.find(b'"', start) + 1
                if not start:
                    return -1
                self._at = _At.AFTER_QUOTE
            elif self._at is not _At.PLAIN and chunk[start] == _QUOTE:
                start += 1
                self._at = _At.QUOTED
            else:
                self._at = _At.PLAIN
                ends = _PLAIN_ENDS.search(chunk, start)
                if ends is None:
                    return -1
                if ends[0] == b"\n":
                    self._at = _At.CELL_START
                    return ends.start()
                start = ends.start() + 1
                self._at = _At.CELL_START
        return -1

    def _quoted(self) -> bool:
        return self._at is _At.QUOTED
