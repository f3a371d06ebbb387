"""How the cost of a response grows: with customers, segments, partitions, and over two workers: `make bench-scale`.

Each row is compared with the first of its block, in runs that take turns.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from streams.broker import Broker
from tests.bench.measuring import Bench, Load, Run, as_json, median, parser, write

BASE = Load("live", 200_000)
BLOCKS: dict[str, dict[str, Load]] = {
    "customers": {f"{count:,} customers": replace(BASE, customers=count) for count in (10_000, 200_000, 2_000_000)},
    "segments": {f"{count} segments": replace(BASE, segments=count) for count in (1, 3, 8)},
    "partitions": {f"{count} partitions": replace(BASE, partitions=count) for count in (2, 4, 12, 64)},
    "workers": {f"{count} workers": replace(BASE, partitions=2, workers=count) for count in (1, 2)},
}


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=2)
    arguments.add_argument("--block", choices=[*BLOCKS], action="append", help="default: all")
    options = arguments.parse_args()
    found: dict[str, dict[str, list[Run]]] = {}
    with tempfile.TemporaryDirectory() as directory, Broker(Path(directory) / "broker") as broker:
        bench = Bench(broker, Path(directory))
        print(f"{BASE.count:,} responses, {BASE.shape}; all compared with the oracle")
        print("                       µs of CPU   against the first   memory    stall below   state/customer")
        for block in options.block or BLOCKS:
            runs: dict[str, list[Run]] = {name: [] for name in BLOCKS[block]}
            for number in range(options.runs):
                for name, load in BLOCKS[block].items():
                    runs[name].append(bench.run(load, number + 1))
            first = median(next(iter(runs.values())), "cpu_us")
            for name, taken in runs.items():
                load = BLOCKS[block][name]
                seen = load.customers * (1 - (1 - 1 / load.customers) ** load.count)  # who of them answered at all
                print(
                    f"{name:22} {median(taken, 'cpu_us'):9.1f} {median(taken, 'cpu_us') / first:19.2f}"
                    f" {max(one.memory_mb for one in taken):6.0f} MB {max(one.longest_stall_s for one in taken):10g} s"
                    f" {median(taken, 'state_bytes') / seen:12.0f} B",
                    flush=True,
                )
            found[block] = runs
    write(
        options.json,
        "scale",
        {block: {name: as_json(taken) for name, taken in runs.items()} for block, runs in found.items()},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
