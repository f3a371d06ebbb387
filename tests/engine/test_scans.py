"""What a scan of the store costs does not depend on what was deleted, behind its end or before its beginning."""

from __future__ import annotations

import random
import time
from contextlib import closing
from pathlib import Path

import pytest

from streams.engine.fronts import Front
from streams.engine.store import Checkpoint, Store

DELETED = 30_000
SCANS = 100
CPU_S = 0.15
"""In all. Where each scan walks over the deleted keys it is a second and more."""


def test_an_erasure_after_many_others_does_not_walk_over_them(tmp_path: Path) -> None:
    keys = [b'j["customer","c-%06d","s"]' % number for number in range(DELETED)]
    with closing(Store(tmp_path / "store")) as store:
        store.write([(key, bytes(300)) for key in keys], Checkpoint(0, 0, 0))
        store.write([(key, None) for key in keys], Checkpoint(0, 0, 0))
        began = time.process_time()
        for number in range(SCANS):
            assert list(store.scan(b'j["customer","c-%06d",' % number)) == []
        assert time.process_time() - began < CPU_S


def test_a_look_for_the_first_entry_does_not_walk_over_those_that_have_left(tmp_path: Path) -> None:
    entries = [b"d%08d-key" % number for number in range(DELETED)]
    with closing(Store(tmp_path / "store")) as store:
        front = Front(store, b"d", 8)
        store.write([(entry, b"") for entry in entries], Checkpoint(0, 0, 0))
        for start in range(0, DELETED, 500):
            assert front.take(b"e", 500) == entries[start : start + 500]
            store.write([(entry, None) for entry in entries[start : start + 500]], Checkpoint(0, 0, 0))
        began = time.process_time()
        for _ in range(SCANS):
            assert front.first() is None
            assert front.take(b"e", 500) == []
        assert time.process_time() - began < CPU_S


@pytest.mark.parametrize("seed", range(8))
def test_no_entry_is_overlooked(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    alive: set[bytes] = set()
    with closing(Store(tmp_path / "store")) as store:
        front, other = Front(store, b"d", 3), Front(store, b"a", 3)
        for _ in range(300):
            assert front.first() == min(alive, default=None)
            end, most = b"d%03d" % rng.randrange(1_000), rng.randint(1, 4)
            taken = front.take(end, most)
            assert taken == sorted(entry for entry in alive if entry < end)[:most]
            assert other.first() is None
            rows: dict[bytes, bytes | None] = dict.fromkeys(taken)
            rows |= {
                b"d%03d-%d" % (rng.randrange(1_000), rng.randrange(3)): rng.choice((b"", None))
                for _ in range(rng.randint(0, 3))
            }
            store.write(rows.items(), Checkpoint(0, 0, 0))
            for each in (front, other):
                each.written(rows.items())
            alive = {entry for entry in alive | rows.keys() if rows.get(entry, b"") is not None}
