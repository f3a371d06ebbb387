"""A great many inputs on all cores. A failure is kept with the number that brings it back."""

from __future__ import annotations

import os
import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.fuzz.internal import changelogs_of
from tests.fuzz.mutations import Mutations
from tests.fuzz.targets import changelogs, decide, read, read_as_the_oracle

CHUNK = 25_000
DECIDED_TOGETHER = 100
ORACLE_EVERY = 10
"""One value in so many is read by the oracle too, which takes ten times as long."""
DECIDED_SHARE = 0.02
INTERNAL_SHARE = 0.02
FAILURES_KEPT = 3

Results = tuple[Counter[str], list[str]]


def run_chunk(seed: int, inputs: int) -> Results:
    """Try `inputs` records of one seed; returns how often what came of them, and the failures."""
    came: Counter[str] = Counter()
    failures: list[str] = []
    rng = random.Random(seed)
    mutations = Mutations(seed)

    def attempt(what: str, target: Callable[[], str | None]) -> None:
        try:
            came[f"{what}: {target() or 'equal'}"] += 1
        except Exception:
            came[f"{what}: FAILED"] += 1
            if len(failures) < FAILURES_KEPT:
                failures.append(f"chunk {seed}, {what}\n{traceback.format_exc()}")

    decided = int(inputs * DECIDED_SHARE)
    internal = int(inputs * INTERNAL_SHARE)
    for number in range(inputs - decided - internal):
        record = mutations.record()
        if record.value is None:
            came["read: null"] += 1
        elif number % ORACLE_EVERY:
            attempt("read", lambda record=record: read(record))  # type: ignore[misc]
        else:
            attempt("read as the oracle", lambda record=record: read_as_the_oracle(record))  # type: ignore[misc]
    for _ in range(decided // DECIDED_TOGETHER):
        log = [mutations.record() for _ in range(DECIDED_TOGETHER)]
        attempt(f"{DECIDED_TOGETHER} decided", lambda log=log: decide(log, rng.randrange(1 << 30)))  # type: ignore[misc]
    for _ in range(internal):
        journeys, counts, log = changelogs_of(rng, mutations)
        attempt("internal", lambda j=journeys, c=counts, r=log: changelogs(j, c, r))  # type: ignore[misc]
    return came, failures


def run_many(inputs: int, seed: int, processes: int | None = None) -> Iterator[Results]:
    """Run in parallel, in chunks of seeds of their own."""
    chunks = [(seed * 1_000_000 + number, min(CHUNK, inputs - number * CHUNK)) for number in range(-(-inputs // CHUNK))]
    workers = min(processes or os.cpu_count() or 1, len(chunks))
    if workers == 1:
        yield from (run_chunk(*chunk) for chunk in chunks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(run_chunk, *zip(*chunks, strict=True))
