"""Whatever crashes, freezes, is lost or is taken over, what `read_committed` readers see equals the oracle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.many import run_many
from tests.simulation.run import run
from tests.simulation.schedule import CRASH_POINTS

SCHEDULES = 10_000
ON_ROCKSDB = 60
FIRST_ON_ROCKSDB = 1_000_000


def happened_in(schedules: int, seed: int, *, rocksdb: bool = False) -> Counter[str]:
    happened: Counter[str] = Counter()
    failures: list[str] = []
    for some, failed in run_many(schedules, seed, rocksdb=rocksdb):
        happened += some
        failures += failed
        if failures:
            break
    assert not failures, "\n".join(failures[:2])
    return happened


@pytest.mark.alone  # it keeps all cores busy by itself
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_no_schedule_loses_repeats_or_halves_a_record() -> None:
    happened = happened_in(SCHEDULES, 0)
    assert happened["schedules with a crash"] > 0.95 * SCHEDULES
    for point in CRASH_POINTS:
        assert happened[f"kill at {point}"] > SCHEDULES / 10
    for rare in (
        "commit lost",
        "commits fenced",
        "freeze at commit sent",
        "compact",
        "clock jumps",
        "day passes",
        "outage",
        "overdue",
        *(
            f"follow-up {outcome}"
            for outcome in ("matched", "amended", "duplicate", "late", "feedback", "unknown_case")
        ),
    ):
        assert happened[rare], f"no schedule had {rare}"


def test_real_rocksdb_makes_no_difference() -> None:
    happened_in(ON_ROCKSDB, FIRST_ON_ROCKSDB, rocksdb=True)


def test_a_schedule_is_the_same_every_time() -> None:
    """The seed is everything: neither the order of sets nor an earlier schedule has a say."""
    seeds = (3, 5, 8)
    code = f"from tests.simulation.run import run; print([(run(s).story, run(s).ends) for s in {seeds}])"
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2", "11")
    }
    assert len(told) == 1
    run(4)
    here = f"{[(run(seed).story, run(seed).ends) for seed in seeds]}\n"
    there = told.pop()
    differs = next((at for at, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), 0)
    assert here == there, (
        f"{here[:differs][-600:]}\n>>> here  {here[differs:][:300]}\n>>> there {there[differs:][:300]}"
    )
