"""What stands beside a committed offset is ours or tells nothing: any tool may set it."""

from __future__ import annotations

import pytest

from streams.engine.transaction import OffsetNote


@pytest.mark.parametrize("stream_time_ms", [0, 1, 2**63 - 1])
@pytest.mark.parametrize("follow_ups", [None, 0, 2**63 - 1])
def test_a_note_is_read_back(stream_time_ms: int, follow_ups: int | None) -> None:
    note = OffsetNote(stream_time_ms, follow_ups)
    assert OffsetNote.decode(note.encode()) == note


def test_a_note_of_an_older_release_is_read() -> None:
    assert OffsetNote.decode('{"stream_time_ms":7}') == OffsetNote(7, None)


@pytest.mark.parametrize(
    "text",
    [
        *("", "note", "[]", "1", "\ud800", '{"stream_time_ms":"1"}', '{"stream_time_ms":1.5}', '{"stream_time_ms":-1}'),
        f'{{"stream_time_ms":{2**63}}}',
        '{"a":' + "[" * 99_999,
    ],
)
def test_anything_else_tells_nothing(text: str) -> None:
    assert OffsetNote.decode(text) == OffsetNote()
