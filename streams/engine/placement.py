"""Which partition a key belongs to, for many keys at once: murmur2 as in Kafka's Java client.

Every record is checked, because producers that disagree on the partitioner split a customer's journey unseen. A murmur2
in Python takes 5 to 10 µs a key; over a batch, as arrays, it takes about 0.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from aiokafka.partitioner import murmur2

LONG_KEY_BYTES = 256
"""Keys above it are hashed one by one: an array is as wide as its longest key."""
FEW_KEYS = 16
"""So many at most are hashed one by one: making arrays takes longer."""
_M = np.uint32(0x5BD1E995)
_SEED = np.uint32(0x9747B28C)
_SHIFT_24, _SHIFT_13, _SHIFT_15 = np.uint32(24), np.uint32(13), np.uint32(15)


def partitions_of(keys: Sequence[bytes], partitions: int) -> list[int]:
    """Return `toPositive(murmur2(key)) % partitions` of each key."""
    if len(keys) <= FEW_KEYS or max(map(len, keys)) > LONG_KEY_BYTES:
        return [(murmur2(key) & 0x7FFFFFFF) % partitions for key in keys]
    lengths = np.fromiter(map(len, keys), np.uint32, len(keys))
    words_max = int(lengths.max()) // 4 + 1
    # Fixed-width bytes pad with zeros, which is what a partial last word needs.
    words = np.array(keys, dtype=f"S{words_max * 4}").view("<u4").reshape(len(keys), words_max)
    whole = lengths >> np.uint32(2)
    hashes = _SEED ^ lengths
    for column in range(words_max):
        word = words[:, column] * _M
        word ^= word >> _SHIFT_24
        word *= _M
        mixed = (hashes * _M) ^ word
        # The last word of a key with 1 to 3 bytes over is mixed in as it is.
        last = (hashes ^ words[:, column]) * _M
        has_rest = (column == whole) & ((lengths & np.uint32(3)) != 0)
        hashes = np.where(column < whole, mixed, np.where(has_rest, last, hashes))
    hashes ^= hashes >> _SHIFT_13
    hashes *= _M
    hashes ^= hashes >> _SHIFT_15
    placed: list[int] = ((hashes & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)).tolist()
    return placed
