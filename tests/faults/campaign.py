"""A long run under load with workers killed again and again, compared with the oracle to the last record: `make soak`.

A broker of its own, real workers, a publisher of simulated real life at a steady rate (repeats, edits, stragglers,
erasures and rubbish included). Now and then one worker is killed -9, may lose its state directory, and comes back. At
the end the workers are asked to stop, and everything they wrote is held against the oracle. The seed fixes the input
and the schedule of kills, which is printed; the kills are placed by how much is committed, not by the clock.

    make soak                                            1,000,000 responses, 4 partitions, 2 workers, 5 kills
    make soak ARGS="--responses 100000 --kills 3 --seed 7"

Exits with 1 when anything differs, and then keeps the logs.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from streams.broker import Broker
from tests.faults.campaign_check import Checked, check
from tests.support.corpus import corpus
from tests.support.pacing import paced
from tests.support.stage import Stage, stage_for
from tests.support.worker import WorkerProcess

SESSION_TIMEOUT_MS = 3_000
"""Short: a killed worker's partitions wait for it to pass."""
LOOK_EVERY_S = 0.25
STALLED_AFTER_S = 90.0


@dataclass(frozen=True)
class Plan:
    responses: int
    partitions: int
    workers: int
    kills: int
    seed: int
    rate: float
    """Responses published per second."""


class Kill(NamedTuple):
    at_responses: int
    """When so many are committed."""
    worker: int
    down_s: float
    loses_state: bool

    def __str__(self) -> str:
        state = "loses its state" if self.loses_state else "keeps its state"
        return f"at {self.at_responses:>9,} responses: worker {self.worker}, down for {self.down_s:.1f} s, {state}"


@dataclass
class Summary:
    plan: Plan
    kills: int
    running_s: float
    """From the first response published to the last one committed."""
    stopping_s: float
    """The slowest worker's, from SIGTERM to its end."""
    checking_s: float
    checked: Checked


def scheduled(plan: Plan) -> list[Kill]:
    """The kills, in order: all while responses still come in."""
    rng = random.Random(plan.seed)
    moments = sorted(rng.uniform(0.05, 0.85) for _ in range(plan.kills))
    return [
        Kill(int(moment * plan.responses), rng.randrange(plan.workers), rng.uniform(0, 4), rng.random() < 0.4)
        for moment in moments
    ]


def run(plan: Plan, directory: Path, say: Callable[[str], None]) -> Summary:
    """Run a plan in a directory; raises AssertionError where something is not as it must be."""
    for kill in scheduled(plan):
        say(f"  will kill {kill}")
    with Broker(directory / "broker") as broker, ExitStack() as stack:
        stage = stage_for(broker.bootstrap_servers, f"soak-{plan.seed}", directory, partitions=plan.partitions)
        stage = stage.with_settings(session_timeout_ms=str(SESSION_TIMEOUT_MS))
        stage.create_topics()
        workers = [stage.worker(str(number)) for number in range(plan.workers)]
        for worker in workers:
            stack.enter_context(worker)
        for worker in workers:
            worker.wait_ready()
        began = time.monotonic()
        kills = _under_load(plan, stage, workers, say)
        running_s = time.monotonic() - began
        for worker in workers:
            worker.wait_ready()
        stopping_s = _stop(workers)
        say("comparing with the oracle")
        began = time.monotonic()
        checked = check(stage)
        assert sum(checked.offsets.values()) == plan.responses
        return Summary(plan, kills, running_s, stopping_s, time.monotonic() - began, checked)


def _under_load(plan: Plan, stage: Stage, workers: list[WorkerProcess], say: Callable[[str], None]) -> int:
    """Publish everything, and kill as scheduled, until everything is committed; returns the number of kills."""
    produced = corpus(plan.seed, plan.responses, time.time_ns() // 1_000_000, "load", plan.partitions)
    schedule = scheduled(plan)
    began = progressed = time.monotonic()
    committed = killed = 0
    with ThreadPoolExecutor(1) as background:
        publishing: Future[None] = background.submit(stage.publish, paced(produced, plan.rate))
        while committed < plan.responses:
            time.sleep(LOOK_EVERY_S)
            if publishing.done():
                publishing.result()  # raises what went wrong
            for worker in workers:
                worker.check_running()
            now = time.monotonic()
            before, committed = committed, sum(offset or 0 for offset in stage.committed().values())
            if committed > before:
                progressed = now
            assert now - progressed < STALLED_AFTER_S, f"nothing was committed for {STALLED_AFTER_S:.0f} s"
            if schedule and committed >= schedule[0].at_responses:
                kill = schedule.pop(0)
                say(f"{now - began:6.1f} s  {committed:>9,} committed: killing worker {kill.worker}")
                worker = workers[kill.worker]
                worker.sigkill()
                if kill.loses_state:
                    shutil.rmtree(stage.state_dir(str(kill.worker)))
                time.sleep(kill.down_s)
                worker.start()
                killed += 1
    say(f"{time.monotonic() - began:6.1f} s  {committed:>9,} committed: done")
    return killed


def _stop(workers: list[WorkerProcess]) -> float:
    """Ask all to stop; returns how long the slowest took, in seconds."""
    slowest_s = 0.0
    for worker in workers:
        began = time.monotonic()
        assert worker.sigterm() == 0, worker.last_words()
        slowest_s = max(slowest_s, time.monotonic() - began)
    return slowest_s


def summary_lines(summary: Summary) -> list[str]:
    plan, checked = summary.plan, summary.checked

    def detail(counter: Counter[str]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in sorted(counter.items()))

    rows = {
        "responses": f"{plan.responses:,} over {plan.partitions} partitions, {plan.workers} workers, seed {plan.seed}",
        "outcomes": detail(checked.outcomes),
        "events": f"{checked.events.total():,} ({detail(checked.events)})",
        "dead letters": f"{checked.dead_letters.total():,} ({detail(checked.dead_letters)})",
        "journeys": f"{checked.journeys:,}",
        "counted": f"{checked.counted:,}",
        "kills": f"{summary.kills} by SIGKILL",
        "stopping": f"status 0, {summary.stopping_s:.1f} s at most after SIGTERM",
        "wall time": f"{summary.running_s:.1f} s under load, {summary.checking_s:.1f} s to compare",
        "rate": f"{plan.responses / summary.running_s:,.0f} responses/s, kills included ({plan.rate:,.0f}/s published)",
        "equal to the oracle": "yes: events, dead letters, journeys, counts, committed offsets",
    }
    return [f"{name:>20}  {value}" for name, value in rows.items()]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--responses", type=int, default=1_000_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=None, help="of input and schedule; random when not given")
    parser.add_argument("--rate", type=float, default=10_000, help="responses published per second")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    plan = Plan(given.responses, given.partitions, given.workers, given.kills, seed, given.rate)
    directory = Path(tempfile.mkdtemp(prefix="nps-soak-"))
    print(f"{plan.responses:,} responses at {plan.rate:,.0f}/s, seed {seed}", flush=True)
    try:
        summary = run(plan, directory, lambda line: print(line, flush=True))
    except AssertionError as difference:
        print(f"\nNOT equal to the oracle, or not in time (seed {seed}, logs in {directory}):\n{difference}")
        return 1
    print("\n" + "\n".join(summary_lines(summary)))
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
