"""Many schedules on all cores."""

from __future__ import annotations

import gc
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.simulation.run import SCHEDULES_PER_CASE, Failed, run

CHUNK = 5 * SCHEDULES_PER_CASE


def run_chunk(first: int, count: int, rocksdb: bool) -> tuple[Counter[str], list[str]]:
    """Run schedules one after the other; returns what happened, and the reports of those that failed."""
    happened: Counter[str] = Counter()
    failures = []
    for seed in range(first, first + count):
        try:
            if rocksdb:
                with tempfile.TemporaryDirectory() as directory:
                    happened.update(run(seed, Path(directory)).happened)
            else:
                happened.update(run(seed).happened)
        except Failed as failure:
            failures.append(f"{failure}\n{type(failure.__cause__).__name__}: {failure.__cause__}")
    return happened, failures


def run_many(
    schedules: int, seed: int, *, rocksdb: bool = False, processes: int | None = None
) -> Iterator[tuple[Counter[str], list[str]]]:
    """Run them in parallel, in chunks."""
    chunks = [(at, min(CHUNK, seed + schedules - at), rocksdb) for at in range(seed, seed + schedules, CHUNK)]
    workers = min(processes or os.cpu_count() or 1, len(chunks))
    if workers == 1:
        yield from (run_chunk(*chunk) for chunk in chunks)
        return
    # Objects of a schedule die with it: collecting more often than now and then finds nothing.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=gc.set_threshold, initargs=(50_000, 10, 10)
    ) as pool:
        yield from pool.map(run_chunk, *zip(*chunks, strict=True))
