"""What a scan of the store costs does not depend on what was deleted behind its end."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

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
