"""What waits to be decided is bounded: a partition with too much of it is not fetched until some is decided."""

from __future__ import annotations

import pytest
from aiokafka.structs import ConsumerRecord

from streams.engine.inbox import INBOX_BYTES_MAX, INBOX_RECORDS_MAX, SLICE_RECORDS, Inbox


def records(
    first: int, count: int, value: bytes | None = b"v", part: str = "value"
) -> list[ConsumerRecord[bytes, bytes]]:
    """All of `part`: the value, the key, or a header."""
    key = value if part == "key" else None
    headers = (("", value),) if part == "header" else ()
    value = value if part == "value" else None
    return [
        ConsumerRecord("nps.responses", 0, offset, 0, 0, key, value, None, 1, len(value or b""), headers)
        for offset in range(first, first + count)
    ]


@pytest.mark.parametrize(
    ("count", "value", "part"),
    [
        (INBOX_RECORDS_MAX, None, "value"),
        (INBOX_RECORDS_MAX, b"v", "value"),
        *((INBOX_BYTES_MAX // 65_536, b"v" * 65_536, part) for part in ("value", "key", "header")),
    ],
    ids=["tombstones", "records", "bytes of values", "of keys", "of headers"],
)
def test_a_full_inbox_has_no_room_until_some_is_taken(count: int, value: bytes | None, part: str) -> None:
    inbox = Inbox()
    inbox.put(records(0, count - 1, value, part))
    assert inbox.has_room
    inbox.put(records(count - 1, 1, value, part))
    assert not inbox.has_room
    assert inbox.take().records[0].offset == 0
    assert inbox.has_room
    while inbox:
        inbox.take()
    inbox.put(records(count, count - 1, value, part))
    assert inbox.has_room, "what was taken no longer counts"


def test_what_is_taken_together_is_bounded_and_tells_its_size() -> None:
    inbox = Inbox()
    inbox.put(records(0, SLICE_RECORDS + 10, b"12345"))
    first, second = inbox.take(), inbox.take()
    assert not inbox
    assert [record.offset for record in (*first.records, *second.records)] == list(range(SLICE_RECORDS + 10))
    assert (len(first.records), first.size_bytes) == (SLICE_RECORDS, 5 * SLICE_RECORDS)
    assert (len(second.records), second.size_bytes) == (10, 50)


def test_records_before_the_position_are_dropped_and_the_rest_stays_in_order() -> None:
    inbox = Inbox()
    inbox.put(records(0, 5))
    inbox.begin_at(3)
    assert not inbox
    inbox.put(records(0, 3))
    assert not inbox
    inbox.put(records(1, 4))
    inbox.put(records(3, 4))
    assert [record.offset for record in (*inbox.take().records, *inbox.take().records)] == [3, 4, 5, 6]
