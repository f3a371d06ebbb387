"""Responses from files: NDJSON and CSV into the bytes that are published, line by line, as a stream.

Nothing here judges a response; that is `schemas.response.accept`'s. Only what never becomes a value to judge is refused
here: a CSV row that does not fit its header.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from schemas.response import MAX_VALUE_BYTES, SurveyResponse
from streams.cli.choices import FileFormat
from streams.cli.console import Failure

CHUNK_BYTES = 64 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SEGMENT_COLUMN = re.compile(r"segments?[._](.+)")
INTEGER_COLUMNS = frozenset({"score", "csat", "revision"})
REQUIRED_COLUMNS = ("response_id", "survey_id", "score", "responded_at")
NO_CSV = f"a cell is longer than {csv.field_size_limit():,} characters, or a carriage return stands outside quotes"
"""All that Python's reader calls an error."""
KNOWN_COLUMNS = frozenset(SurveyResponse.model_fields) - {"segments"}

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")


class Line(NamedTuple):
    """One response of a file."""

    number: int
    """Of its last line, from 1."""
    original: bytes
    """As in the file, for whoever repairs it."""
    value: bytes
    """What is published: JSON."""
    problem: str | None = None
    """Why there is no value, in a sentence."""


class Lines:
    """The lines of a stream, without their ends, as they arrive: a pipe's line is there as soon as it was written.

    A line longer than the limit is cut to one byte more, so that it is judged too large without being held in memory.
    """

    def __init__(self, stream: BinaryIO, limit_bytes: int = MAX_VALUE_BYTES) -> None:
        self._stream = stream
        self._limit = limit_bytes
        self._rest = b""
        self._ready: list[bytes] = []  # newest first
        self._ended = False
        self.bytes_read = 0

    @property
    def waiting(self) -> bool:
        """Whether the next line has to be read from the stream, which may take for ever."""
        return not self._ready and not self._ended

    def __iter__(self) -> Iterator[bytes]:
        """Iterate once."""
        return self

    def __next__(self) -> bytes:
        """Return the next line."""
        while not self._ready:
            if self._ended:
                raise StopIteration
            self._read()
        line = self._ready.pop()
        return line.removesuffix(b"\r")[: self._limit + 1]

    def _read(self) -> None:
        read = getattr(self._stream, "read1", self._stream.read)  # as much as there is, at least one byte
        chunk: bytes = read(CHUNK_BYTES)
        self.bytes_read += len(chunk)
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > self._limit + 2:
            self._rest = self._rest[: self._limit + 2]  # it is too large already: what follows tells nothing new
        if not chunk:
            self._ended = True
            if self._rest:
                lines.append(self._rest)
        self._ready = lines[::-1]


def read(lines: Lines, form: FileFormat, remark: Callable[[str], None]) -> Iterator[Line]:
    """Every response of the stream. `remark` is told, in a sentence, what is left out on purpose.

    Raises:
        Failure: the header of a CSV is none, or lacks a column that every response needs.
    """
    return _read_csv(lines, remark) if form is FileFormat.CSV else _read_ndjson(lines)


def _read_ndjson(lines: Lines) -> Iterator[Line]:
    for number, line in enumerate(lines, start=1):
        value = line.strip()
        if number == 1:
            value = value.removeprefix(BYTE_ORDER_MARK)  # editors write it; in a record it would be refused
        if value:
            yield Line(number, line, value)


def _read_csv(lines: Lines, remark: Callable[[str], None]) -> Iterator[Line]:
    taken: list[bytes] = []  # the lines of the row that is being read

    def texts() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line.decode("utf-8", "surrogateescape") + "\n"

    rows = csv.reader(texts())
    try:
        header = next(rows, [])
    except csv.Error:
        raise Failure(f"the file is no CSV: in its header {NO_CSV}") from None
    if header:
        header[0] = header[0].removeprefix("\ufeff")
    header = [name.strip() for name in header]
    _check_header(header, remark)
    while True:
        taken.clear()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:  # the reader goes on with the next line
            yield Line(rows.line_num, b"\n".join(taken), b"", NO_CSV)
            continue
        if cells:
            yield _csv_line(rows.line_num, header, cells, b"\n".join(taken))


def _check_header(header: list[str], remark: Callable[[str], None]) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing:
        raise Failure(f"the CSV header has no column {', '.join(missing)}; its columns are named like the fields")
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise Failure(f"the CSV header names {', '.join(repeated)} more than once")
    unknown = [repr(name) for name in header if not _is_known(name)]
    if unknown:
        remark(f"columns that are no fields of a response are left out: {', '.join(unknown)}")


def _is_known(column: str) -> bool:
    return column in KNOWN_COLUMNS or SEGMENT_COLUMN.fullmatch(column) is not None


def _csv_line(number: int, header: list[str], cells: list[str], original: bytes) -> Line:
    if len(cells) != len(header):
        return Line(number, original, b"", f"the row has {len(cells)} cells, the header {len(header)}")
    response: dict[str, object] = {}
    segments: dict[str, str] = {}
    for name, cell in zip(header, cells, strict=True):
        if not cell or not _is_known(name):
            continue
        segment = SEGMENT_COLUMN.fullmatch(name)
        if segment is not None:
            segments[segment[1]] = cell
        elif name in INTEGER_COLUMNS and _INTEGER.fullmatch(cell):
            response[name] = int(cell)
        else:
            response[name] = cell
    if segments:
        response["segments"] = segments
    try:
        value = json.dumps(response, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return Line(number, original, b"", "the row is not UTF-8")
    return Line(number, original, value)
