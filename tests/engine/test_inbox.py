"""What waits to be decided is bounded: a partition with too much of it is not fetched until some is decided."""

from __future__ import annotations

import pytest
from aiokafka.structs import ConsumerRecord

from streams.engine.inbox import INBOX_BYTES_MAX, INBOX_RECORDS_MAX, Inbox


def records(first: int, count: int, value: bytes | None = b"v") -> list[ConsumerRecord[bytes, bytes]]:
    return [
        ConsumerRecord("nps.responses", 0, offset, 0, 0, b"k", value, None, 1, len(value or b""), ())
        for offset in range(first, first + count)
    ]


@pytest.mark.parametrize(
    ("count", "value"),
    [(INBOX_RECORDS_MAX, None), (INBOX_RECORDS_MAX, b"v"), (INBOX_BYTES_MAX // 65_536, b"v" * 65_536)],
    ids=["tombstones", "records", "bytes"],
)
def test_a_full_inbox_has_no_room_until_some_is_taken(count: int, value: bytes | None) -> None:
    inbox = Inbox()
    inbox.put(records(0, count - 1, value))
    assert inbox.has_room
    inbox.put(records(count - 1, 1, value))
    assert not inbox.has_room
    assert [record.offset for record in inbox.take(1)] == [0]
    assert inbox.has_room
    while inbox:
        inbox.take(250)
    inbox.put(records(count, count - 1, value))
    assert inbox.has_room, "what was taken no longer counts"


def test_records_before_the_position_are_dropped_and_the_rest_stays_in_order() -> None:
    inbox = Inbox()
    inbox.put(records(0, 5))
    inbox.begin_at(3)
    assert not inbox
    inbox.put(records(0, 3))
    assert not inbox
    inbox.put(records(1, 4))
    inbox.put(records(3, 4))
    assert [record.offset for record in (*inbox.take(10), *inbox.take(10))] == [3, 4, 5, 6]
