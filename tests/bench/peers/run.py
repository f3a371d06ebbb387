"""Kafka Streams, Quix Streams and stock Faust beside this processor, on the same responses: `make bench-peers`.

The peers do less than this processor: they drop what is not valid, keep the newest response of each customer to each
survey, publish the two events that follow from it, and count per segment, hour and day. It also keeps a ledger of
response ids, takes edits back, checks times, writes dead letters, serves scores and metrics. Each peer is written as
its users would write it, well; nothing befalls it while it runs, so nothing is said about what a crash leaves. All that
a peer published and counted is compared with the oracle. All find their input in the topic and catch up. One
broker for all, each run with topics of its own; peers and shapes take turns, as a machine's speed drifts.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from streams.broker import Broker
from streams.broker_jars import java_command
from tests.bench.measuring import Bench, Load, parser, write
from tests.bench.peers import reading
from tests.bench.peers.building import kstreams_classpath, quix_python
from tests.bench.peers.running import Figures, Peer, PeerBench, PeerFailed
from tests.bench.workload import SHAPES

OURS = "nps-streams"
WARM = "kstreams-packed-warm"

Runs = dict[str, list[Figures]]
"""Peer → its runs."""


@dataclass(frozen=True)
class Entry:
    """A row of the table."""

    title: str
    guarantee: str
    responses: int
    """Enough that a run takes many of its commit intervals."""
    peer: Peer | None = None
    """None for this processor."""


def kstreams(topology: str) -> list[str]:
    java = [java_command(), "-Xms1g", "-Xmx2g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return [*java, "-cp", kstreams_classpath(), "peers.Main", topology]


def quix() -> list[str]:
    return [quix_python(), "-m", "tests.bench.peers.quix_app"]


def faust() -> list[str]:
    app = [sys.executable, "-m", "faust", "-A", "tests.bench.peers.faust_app", "-L", "uvloop"]
    return [*app, "worker", "--without-web", "--loglevel", "error"]  # it warns of each full buffer, and they all are


DSL = Peer(lambda: kstreams("dsl"), reading.kstreams_dsl)
PACKED = Peer(lambda: kstreams("packed"), reading.kstreams_packed)
ENTRIES = {
    OURS: Entry("nps-streams", "exactly once, 100 ms", 300_000),
    "kstreams-dsl": Entry("Kafka Streams, DSL", "exactly once, 100 ms", 300_000, DSL),
    "kstreams-packed": Entry("Kafka Streams, packed counts", "exactly once, 100 ms", 300_000, PACKED),
    WARM: Entry("the same, the JVM warm for longer", "exactly once, 100 ms", 1_000_000, PACKED),
    "quix": Entry("Quix Streams, packed counts", "exactly once, 1 s", 60_000, Peer(quix, reading.quix)),
    "faust": Entry("Faust, packed partial counts", "at least once, 1 s", 20_000, Peer(faust, reading.faust)),
}


def run_once(ours: Bench, peers: PeerBench, name: str, load: Load, seed: int) -> Figures:
    peer = ENTRIES[name].peer
    try:
        if peer is not None:
            return peers.run(name, peer, load, seed)
        run = ours.run(load, seed)
    except (AssertionError, PeerFailed, TimeoutError) as error:
        print(f"\n{name}: {error}", file=sys.stderr)
        return Figures(load.count, 0, 0, 0, 0, str(error) or type(error).__name__)
    return Figures(load.count, run.cpu_us, run.broker_cpu_us, load.count / run.per_wall_s, run.memory_mb, None)


def per_cpu_s(runs: Sequence[Figures]) -> list[float]:
    return [1e6 / one.cpu_us for one in runs if one.cpu_us]


def row(entry: Entry, runs: Sequence[Figures], ours: Sequence[Figures]) -> str:
    cells = f"{entry.title:33} {entry.guarantee:20} {runs[0].responses:>9,}"
    problems = [one.problem for one in runs if one.problem]
    verdict = f"NOT EXACT: {problems[0].splitlines()[0]}" if problems else "exact"
    rates, our_rates = per_cpu_s(runs), per_cpu_s(ours)
    if not rates:
        return f"{cells} {verdict}"
    rate = statistics.median(rates)
    ratio = f"{statistics.median(our_rates) / rate:.2f}" if our_rates else "-"
    return (
        f"{cells} {statistics.median(one.cpu_us for one in runs):>7.1f}"
        f" {f'{rate:,.0f} ({min(rates):,.0f} to {max(rates):,.0f})':>27} {ratio:>8}"
        f" {statistics.median(one.broker_cpu_us for one in runs):>10.1f}"
        f" {statistics.median(one.wall_s for one in runs):>7.1f} {max(one.memory_mb for one in runs):>8,.0f}  {verdict}"
    )


def table(shape: str, runs: Mapping[str, Sequence[Figures]]) -> str:
    heading = (
        f"{shape:33} {'guarantee, commit':20} {'responses':>9} {'CPU µs':>7} {'responses per CPU second':>27}"
        f" {'ours/its':>8} {'broker µs':>10} {'wall s':>7} {'peak MB':>8}"
    )
    return "\n".join([heading, *[row(ENTRIES[name], taken, runs.get(OURS, [])) for name, taken in runs.items()]])


def options() -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=2)
    arguments.add_argument("--shape", choices=[*SHAPES], action="append", help="default: both")
    arguments.add_argument("--peers", nargs="+", choices=[*ENTRIES], help="default: all but the warm one")
    arguments.add_argument("--warm", action="store_true", help=f"{WARM} too")
    arguments.add_argument("--responses", type=int, metavar="MOST", help="no peer gets more; for a quick look")
    return arguments.parse_args()


def main() -> int:
    given = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no peer is left behind
    shapes: list[str] = given.shape or [*SHAPES]
    names: list[str] = given.peers or [name for name in ENTRIES if name != WARM or given.warm]
    counts = {name: min(ENTRIES[name].responses, given.responses or sys.maxsize) for name in names}
    for name in names:
        peer = ENTRIES[name].peer
        if peer is not None:
            peer.command()  # makes first what it runs on
    found: dict[str, Runs] = {shape: {name: [] for name in names} for shape in shapes}
    with tempfile.TemporaryDirectory() as directory, Broker(Path(directory) / "broker") as broker:
        ours, peers = Bench(broker, Path(directory)), PeerBench(broker, Path(directory))
        for number in range(given.runs):
            for shape in shapes:
                for name in names:
                    figures = run_once(ours, peers, name, Load(shape, counts[name]), number + 1)
                    found[shape][name].append(figures)
                    print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(f"{given.runs} runs each, 4 partitions, one process; CPU a response; ours/its: of responses per CPU second")
    for shape in shapes:
        print(table(shape, found[shape]))
    as_json = {
        shape: {name: [asdict(one) for one in taken] for name, taken in runs.items()} for shape, runs in found.items()
    }
    write(given.json, "peers", as_json)
    return int(any(one.problem for runs in found.values() for taken in runs.values() for one in taken))


if __name__ == "__main__":
    sys.exit(main())
