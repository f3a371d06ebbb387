"""What cuts a file into lines and CSV rows: where Python's own readers would, in bounded memory."""

from __future__ import annotations

import csv
import io
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.cli.choices import FileFormat
from streams.cli.file_lines import MAX_ROW_BYTES, Lines, Rows
from streams.cli.response_files import lines_of, read

TEXTS = st.text(st.sampled_from('a",\n'), max_size=40)


class Pipe(io.RawIOBase):
    """Gives no more than so many bytes at once."""

    def __init__(self, content: bytes, piece_bytes: int) -> None:
        super().__init__()
        self._content = io.BytesIO(content)
        self._piece_bytes = piece_bytes

    def read(self, size: int = -1) -> bytes:
        return self._content.read(min(size, self._piece_bytes))


@settings(deadline=None, print_blob=True, max_examples=500)
@given(TEXTS, st.integers(1, 45))
def test_rows_are_those_of_pythons_reader(text: str, piece_bytes: int) -> None:
    rows = [row for row in Rows(Pipe(text.encode(), piece_bytes)) if not row.open]  # type: ignore[arg-type]
    theirs = list(csv.reader(io.StringIO(text)))
    assert [next(csv.reader([row.content.decode()]), []) for row in rows] == theirs[: len(rows)]
    lines = text.splitlines()
    for row in rows:
        assert row.content.decode() == "\n".join(lines[row.number - 1 : row.number - 1 + row.lines])


@settings(deadline=None, print_blob=True, max_examples=500)
@given(TEXTS)
def test_a_row_is_open_where_the_strict_reader_misses_its_end(text: str) -> None:
    text = text.replace('a"', "a").replace('"a', '"')  # quotes inside cells without them, which it refuses too
    try:
        list(csv.reader(io.StringIO(text), strict=True))
        missed = False
    except csv.Error as error:
        missed = "unexpected end of data" in str(error)
        if not missed:
            return
    assert any(row.open for row in Rows(io.BytesIO(text.encode()))) is missed


@settings(deadline=None, print_blob=True)
@given(st.text(st.sampled_from("ab\r\n"), max_size=40), st.integers(1, 45))
def test_lines_are_those_between_line_feeds(text: str, piece_bytes: int) -> None:
    theirs = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    found = list(Lines(Pipe(text.encode(), piece_bytes)))  # type: ignore[arg-type]
    assert [line.content.decode() for line in found] == theirs
    assert [line.number for line in found] == list(range(1, len(theirs) + 1))


class Endless(io.RawIOBase):
    """A header, then a quoted cell of so many bytes that does not end."""

    def __init__(self, length_bytes: int) -> None:
        super().__init__()
        self._left = length_bytes
        self._begin = b'response_id,survey_id,score,responded_at\nr,s,8,"'

    def read(self, size: int = -1) -> bytes:
        if self._begin:
            begin, self._begin = self._begin, b""
            return begin
        size = min(size, self._left)
        self._left -= size
        return b"x\n" * (size // 2)


def test_a_row_without_an_end_takes_no_more_memory_than_its_limit() -> None:
    lines = lines_of(Endless(64 * MAX_ROW_BYTES), FileFormat.CSV)  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        (line,) = read(lines, FileFormat.CSV, print)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert line.number == 2
    assert line.problem is not None
    assert "never ends" in line.problem
    assert peak < 6 * MAX_ROW_BYTES
