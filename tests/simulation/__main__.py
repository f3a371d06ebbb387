"""Run many schedules on all cores: `python -m tests.simulation [--schedules N] [--seed FIRST] [--rocksdb]`.

Prints what happened, as a table, and of every schedule that broke an invariant its story and how to run it again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.many import run_many

FAILURES_TOLD = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first schedule; the others follow")
    parser.add_argument("--rocksdb", action="store_true", help="on real RocksDB, about ten times slower")
    parser.add_argument("--processes", type=int)
    arguments = parser.parse_args()
    began = time.monotonic()
    happened: Counter[str] = Counter()
    failures: list[str] = []
    for some, failed in run_many(
        arguments.schedules, arguments.seed, rocksdb=arguments.rocksdb, processes=arguments.processes
    ):
        happened += some
        failures += failed
        for report in failed[: max(FAILURES_TOLD - len(failures) + len(failed), 0)]:
            print(report, end="\n\n")
    for what, count in sorted(happened.items()):
        print(f"{count:10,}  {what}")
    took_s = time.monotonic() - began
    print(f"{arguments.schedules:,} schedules from seed {arguments.seed} in {took_s:.0f} s, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
