"""What a scan of the store costs does not depend on what was deleted, behind its end or before its beginning."""

from __future__ import annotations

import random
import time
from contextlib import closing
from itertools import islice
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
    entries = [b"d%08d" % number for number in range(DELETED)]
    with closing(Store(tmp_path / "store")) as store:
        front = Front(store, b"d")
        store.write([(entry, b"") for entry in entries], Checkpoint(0, 0, 0))
        for first in range(0, DELETED, 500):
            assert list(islice(front.scan(), 500)) == entries[first : first + 500]
            store.write([(entry, None) for entry in entries[first : first + 500]], Checkpoint(0, 0, 0))
        began = time.process_time()
        for _ in range(SCANS):
            assert next(front.scan(), None) is None
        assert time.process_time() - began < CPU_S


@pytest.mark.parametrize("seed", range(5))
def test_no_entry_is_overlooked(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    alive: set[bytes] = set()
    with closing(Store(tmp_path / "store")) as store:
        front, other = Front(store, b"d"), Front(store, b"a")
        for _ in range(300):
            taken = list(islice(front.scan(), rng.randint(0, 4)))
            assert taken == sorted(alive)[: len(taken)]
            assert next(other.scan(), None) is None
            rows: dict[bytes, bytes | None] = dict.fromkeys(taken[:-1])
            rows |= {b"d%03d" % rng.randrange(1_000): rng.choice((b"", None)) for _ in range(rng.randint(0, 3))}
            store.write(rows.items(), Checkpoint(0, 0, 0))
            for each in (front, other):
                each.written(rows.items())
            alive = {entry for entry in alive | rows.keys() if rows.get(entry, b"") is not None}
        assert list(front.scan()) == sorted(alive)
