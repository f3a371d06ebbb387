"""Try very many inputs: `python -m tests.fuzz [--inputs N] [--seed S]`. Prints what came of them, and what failed."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.fuzz.many import FAILURES_KEPT, run_many


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int)
    arguments = parser.parse_args()
    began = time.monotonic()
    came: Counter[str] = Counter()
    failures: list[str] = []
    for some, failed in run_many(arguments.inputs, arguments.seed, arguments.processes):
        came += some
        failures += failed
    for what, count in sorted(came.items()):
        print(f"{count:12,}  {what}")
    print(*failures[:FAILURES_KEPT], sep="\n")
    failed_total = sum(count for what, count in came.items() if what.endswith("FAILED"))
    took_s = time.monotonic() - began
    print(f"{arguments.inputs:,} inputs of seed {arguments.seed} in {took_s:.0f} s, {failed_total} failed")
    return 1 if failed_total else 0


if __name__ == "__main__":
    sys.exit(main())
