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
from streams.cli.console import Failure, plural
from streams.cli.file_lines import MAX_ROW_BYTES, Lines, Piece, Rows

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SEGMENT_COLUMN = re.compile(r"segments?[._](.+)")
INTEGER_COLUMNS = frozenset({"score", "csat", "revision"})
REQUIRED_COLUMNS = ("response_id", "survey_id", "score", "responded_at")
NO_CSV = "a carriage return stands outside quotes"
"""All that Python's reader calls an error, but for cells that are longer than we let it have."""
TOO_LONG = f"the row is longer than {MAX_ROW_BYTES:,} bytes"
KNOWN_COLUMNS = frozenset(SurveyResponse.model_fields) - {"segments"}

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")


class Line(NamedTuple):
    """One response of a file."""

    number: int
    """Of its first line, from 1."""
    original: bytes
    """As in the file, for whoever repairs it."""
    value: bytes
    """What is published: JSON."""
    problem: str | None = None
    """Why there is no value, in a sentence."""


def lines_of(stream: BinaryIO, form: FileFormat) -> Lines:
    """The stream, cut into what holds a response each."""
    return Rows(stream) if form is FileFormat.CSV else Lines(stream)


def read(lines: Lines, form: FileFormat, remark: Callable[[str], None]) -> Iterator[Line]:
    """Every response of the stream. `remark` is told, in a sentence, what is left out on purpose.

    Raises:
        Failure: the header of a CSV is none, or lacks a column that every response needs.
    """
    return _read_csv(lines, remark) if form is FileFormat.CSV else _read_ndjson(lines)


def _read_ndjson(lines: Lines) -> Iterator[Line]:
    for content, number, *_ in lines:
        value = content.strip() if len(content) <= MAX_VALUE_BYTES else content  # which is cut
        if number == 1:
            value = value.removeprefix(BYTE_ORDER_MARK)  # editors write it; in a record it would be refused
        if value:
            yield Line(number, content, value)


def _read_csv(rows: Lines, remark: Callable[[str], None]) -> Iterator[Line]:
    csv.field_size_limit(MAX_ROW_BYTES)  # of the whole process, which reads no other CSV
    header: list[str] = []
    for row in rows:
        problem = _problem(row)
        cells: list[str] = []
        if problem is None:
            try:
                cells = _cells(row)
            except csv.Error:
                problem = NO_CSV
        if row.number == 1:
            if problem is not None:
                raise Failure(f"the file is no CSV: in its header {problem}")
            header = [name.strip() for name in cells]
            _check_header(header, remark)
        elif problem is not None:
            yield Line(row.number, row.content, b"", problem)
        elif cells:
            yield _csv_line(row.number, header, cells, row.content)
    if not header:
        _check_header(header, remark)


def _problem(row: Piece) -> str | None:
    """Why a row cannot be given to Python's reader."""
    if row.open:
        problem = "a cell that begins with a quote here never ends"
        if row.lines > 1:
            after = plural(row.lines - 1, "line")
            problem += f": what is a row in the {after} up to the end of the file can not be told, none is published"
        return problem
    return TOO_LONG if len(row.content) > MAX_ROW_BYTES else None


def _cells(row: Piece) -> list[str]:
    content = row.content.removeprefix(BYTE_ORDER_MARK) if row.number == 1 else row.content
    return next(csv.reader([content.replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")]), [])


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
