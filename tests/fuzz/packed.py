"""One input of the guided fuzzer as bytes: which target, and what it is given. Any bytes are an input.

    target (1 byte), number (8 bytes, signed), then parts: length (2 bytes, 0xffff: null) and that many bytes

A length that goes beyond the end means what is left.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

HEAD = struct.Struct(">Bq")
NULL = 0xFFFF
"""Instead of a length."""


class Packed(NamedTuple):
    """An input, taken apart."""

    target: int
    number: int
    """A record time in ms, or a seed."""
    parts: tuple[bytes | None, ...]


def pack(target: int, number: int, parts: Sequence[bytes | None]) -> bytes:
    """Put it together; parts longer than 65,534 bytes are cut."""
    packed = [HEAD.pack(target, number)]
    for part in parts:
        if part is None:
            packed.append(NULL.to_bytes(2, "big"))
        else:
            kept = part[: NULL - 1]
            packed += (len(kept).to_bytes(2, "big"), kept)
    return b"".join(packed)


def unpack(data: bytes) -> Packed:
    """Take any bytes apart."""
    target, number = HEAD.unpack(data[: HEAD.size].ljust(HEAD.size, b"\0"))
    parts: list[bytes | None] = []
    at = HEAD.size
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        at += 2
        if length == NULL:
            parts.append(None)
        else:
            parts.append(data[at : at + length])
            at += length
    return Packed(target, number, tuple(parts))
