"""CPU per response of one worker on the whole path, and the floors under it: `make bench`.

A run that is not equal to the oracle has no figure. The shapes and the floors take turns: a machine's speed drifts.
All runs of a shape do the same work. With `--against` the worker of another checkout takes turns too, without
follow-ups; it may be of a release that knew other rules, and is not compared with the oracle.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from streams.broker import Broker
from tests.bench import floors
from tests.bench.measuring import SCRAPE_EVERY_S, Bench, Load, Run, Work, as_json, median, parser, spread, write
from tests.bench.workload import SHAPES
from tests.support.worker import ROOT

SEED = 1
FOLLOWED_UP = " followed up"
"""To the name of a shape: one follow-up for three passives comes with its responses."""
OTHER = " elsewhere"
"""The same: done by the worker of the other checkout."""


class Job(NamedTuple):
    """What is done in each round, and whose worker does it."""

    work: Work
    checkout: Path = ROOT


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--responses", type=int, default=300_000)
    arguments.add_argument("--runs", type=int, default=2)
    arguments.add_argument("--shape", choices=[*SHAPES], action="append", help="default: both")
    arguments.add_argument("--follow-ups", action="store_true", help="each shape also with follow-ups")
    arguments.add_argument("--against", type=Path, metavar="CHECKOUT", help="its worker takes turns with this one's")
    arguments.add_argument("--scrape-every", type=float, default=SCRAPE_EVERY_S, metavar="SECONDS")
    options = arguments.parse_args()
    if options.against and not (options.against / "streams").is_dir():
        arguments.error(f"--against: {options.against} is no checkout of this project")
    compared = "compared but for those elsewhere" if options.against else "all compared"
    print(f"{options.responses:,} responses, 4 partitions, one worker, {options.runs} runs each, {compared}")
    floor_runs: dict[str, list[float]] = {name: [] for name in floors.FLOORS}
    with tempfile.TemporaryDirectory() as directory, Broker(Path(directory) / "broker") as broker:
        bench = Bench(broker, Path(directory), options.scrape_every)
        jobs: dict[str, Job] = {}
        for shape in options.shape or SHAPES:
            jobs[shape] = Job(Work(Load(shape, options.responses), SEED))
            if options.against:
                jobs[f"{shape}{OTHER}"] = Job(jobs[shape].work, options.against.absolute())
            if options.follow_ups:
                jobs[f"{shape}{FOLLOWED_UP}"] = Job(Work(Load(shape, options.responses, follow_ups=True), SEED))
        runs: dict[str, list[Run]] = {name: [] for name in jobs}
        topic = floors.prepare(broker.bootstrap_servers, next(iter(jobs.values())).work.records)
        for _ in range(options.runs):
            for name, taken in floor_runs.items():
                taken.append(floors.measure(broker.bootstrap_servers, topic, name))
            for name, job in jobs.items():
                runs[name].append(bench.do(job.work, check=job.checkout == ROOT, checkout=job.checkout))
                print(".", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    report(runs)
    for name, costs_us in floor_runs.items():
        print(f"floor: {name:24} {min(costs_us):.2f} µs, {1e6 / min(costs_us):,.0f} per CPU s")
    write(options.json, "cpu", {**{shape: as_json(taken) for shape, taken in runs.items()}, "floors_us": floor_runs})
    return 0


def report(runs: Mapping[str, Sequence[Run]]) -> None:
    """Print what the runs of each job have in common, and how jobs of one shape compare."""
    print(
        f"{'':18} {'µs of CPU a response':>24} {'per CPU s':>12} {'broker CPU':>12} {'per wall s':>12}"
        f" {'memory':>9} {'stall below':>12}"
    )
    for name, taken in runs.items():
        print(
            f"{name:18} {spread(taken, 'cpu_us'):>24} {1e6 / median(taken, 'cpu_us'):>12,.0f}"
            f" {median(taken, 'broker_cpu_us'):>9.1f} µs {median(taken, 'per_wall_s'):>12,.0f}"
            f" {max(one.memory_mb for one in taken):>6.0f} MB {max(one.longest_stall_s for one in taken):>10g} s"
        )
        print(
            f"{'':18} changelogs {median(taken, 'changelog_bytes'):.0f} bytes a response, "
            f"state {median(taken, 'state_bytes') / 1e6:.0f} MB"
        )
        threads = {
            kind: statistics.median(one.cpu_us_by_thread[kind] for one in taken) for kind in taken[0].cpu_us_by_thread
        }
        print(f"{'':18} by thread: " + ", ".join(f"{kind} {cost_us:.1f}" for kind, cost_us in threads.items()))
        shape = name.removesuffix(FOLLOWED_UP)
        for other, said in ((shape, "without follow-ups"), (f"{shape}{OTHER}", "the worker elsewhere")):
            if other in runs and name not in (other, f"{shape}{OTHER}"):
                # By rounds: what disturbs the machine for a while disturbs both.
                more = sorted(one.cpu_us / its.cpu_us - 1 for one, its in zip(taken, runs[other], strict=True))
                print(
                    f"{'':18} {statistics.median(more):+.1%} against {said}, by the median of the rounds"
                    f" ({more[0]:+.1%} to {more[-1]:+.1%})"
                )


if __name__ == "__main__":
    sys.exit(main())
