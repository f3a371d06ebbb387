"""How large a record is. Its key and headers count too: nothing bounds them but the broker."""

from __future__ import annotations

from collections.abc import Sequence


def size_bytes(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> int:
    """Return the bytes of a record's parts; of a header's name its characters."""
    size = (len(key) if key is not None else 0) + (len(value) if value is not None else 0)
    if headers:
        size += sum([len(name) + (len(held) if held is not None else 0) for name, held in headers])
    return size
