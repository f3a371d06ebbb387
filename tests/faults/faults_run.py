"""A campaign of faults: whatever can befall workers, at random, under steady load, compared all along: `make faults`.

A broker of its own, two or three workers, input at a steady rate. The seed fixes the input and the schedule of faults,
which is printed. Meanwhile processes of their own hold what the workers write against the oracle, and at the end the
rest of it: events, dead letters, journeys, cases, counts, committed offsets. A CRM follows some customers up.

    make faults                          10 minutes, a seed of its own, which it prints
    make faults SEED=7 MINUTES=25        that one again, for longer

Exits with 1 when anything differs, or does not recover, and then keeps the logs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from streams.broker import Broker
from tests.faults.faults_check import Checked
from tests.faults.faults_crm import Crm
from tests.faults.faults_feed import Feed
from tests.faults.faults_kinds import KINDS
from tests.faults.faults_live import Live
from tests.faults.faults_plan import DECK, SESSION_TIMEOUT_S, TRANSACTION_TIMEOUT_S, Fault, Plan, schedule
from tests.faults.faults_recovery import CommitWatch, percentile
from tests.faults.faults_scene import Scene, Subject
from tests.faults.faults_state import NEEDS_DISKS
from tests.support.kafka_reading import publish
from tests.support.small_disk import SmallDisk, disks_possible
from tests.support.stage import stage_for
from tests.support.worker import STARTS_WITHIN_S

RECOVERS_WITHIN_S = 60.0
"""From the end of a fault until every partition commits again and every worker is ready."""
FINISHES_WITHIN_S = 120.0
"""Everything published is committed."""
SLA_HOURS = 72
"""What the steady load is about comes to be due when all is over; of the CRM's customers, some do meanwhile."""
FAULTS_PER_MINUTE = 6
"""About so many; for what is printed beforehand."""
BROKER_PROPERTIES = {
    # How often the broker looks for transactions that have timed out; 10 s by default.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    # Segments are compacted when they are full, with 100 MB by default. A single node that was killed loads its logs
    # twice when it comes back, and if the first time is not over by then, its coordinator is in disorder (decision 90).
    "offsets.topic.segment.bytes": "1048576",
    "transaction.state.log.segment.bytes": "1048576",
    "log.cleaner.backoff.ms": "2000",
}


@dataclass
class Befallen:
    """A fault that was, with the moments (monotonic) that tell how long it took to get over it."""

    fault: Fault
    began_s: float
    there_s: float
    """The worker is gone, the broker stands still: nothing more comes of what was before."""
    ended_s: float
    recovered_s: float | None = None
    """Every partition had committed again while or after the fault was there."""
    all_clear_s: float | None = None
    """And after it was over."""


@dataclass
class Summary:
    plan: Plan
    befallen: list[Befallen]
    undisturbed_s: float
    """What is measured as a recovery when nothing happens."""
    published: int
    running_s: float
    stopping_s: float
    checking_s: float
    checked: Checked
    impossible: list[str] = field(default_factory=list)
    """Kinds that this machine can't do."""


def run(plan: Plan, directory: Path, say: Callable[[str], None], only: Collection[str] = tuple(DECK)) -> Summary:
    """Run a campaign in a directory; raises AssertionError where something is not as it must be."""
    can_mount = disks_possible()
    impossible = [] if can_mount else list(NEEDS_DISKS)
    for kind in impossible:
        say(f"not possible here: {kind} (needs the right to mount a file system)")
    possible = [kind for kind in only if kind not in impossible]
    for fault in islice(schedule(plan, possible), int(plan.minutes * FAULTS_PER_MINUTE)):
        say(f"  planned {fault.number:>3}: {fault}")
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(directory / "broker", extra_properties=BROKER_PROPERTIES, short_lived=True))
        stage = stage_for(broker.bootstrap_servers, f"faults-{plan.seed}", directory, partitions=plan.partitions)
        stage = replace(stage, oracle_config=replace(stage.oracle_config, sla_hours=SLA_HOURS)).with_settings(
            follow_up_sla_hours=str(SLA_HOURS),
            session_timeout_ms=str(int(SESSION_TIMEOUT_S * 1000)),
            transaction_timeout_ms=str(int(TRANSACTION_TIMEOUT_S * 1000)),
            static_membership=str(plan.static),
        )
        stage.create_topics()
        scene = Scene(plan, broker, stage, say)
        for name in plan.names:
            disk = stack.enter_context(SmallDisk(directory / f"disk-{name}")) if can_mount else None
            subject = scene.subjects[name] = Subject(stage, name, disk)
            stack.enter_context(subject.process)
            subject.kill()  # entered to be gone at the end; its life begins below
            subject.start()
        scene.live = stack.enter_context(Live(stage))
        scene.commits = stack.enter_context(CommitWatch(stage))
        count = int((plan.minutes * 60 + 600) * plan.rate)
        scene.feed = Feed(plan.seed, count, time.time_ns() // 1_000_000, plan.partitions, plan.rate)
        scene.crm = Crm(stage, plan.seed, scene.commits)
        publishers = stack.enter_context(ThreadPoolExecutor(2))
        stack.callback(scene.feed.stop)  # whatever happens, and before the threads are waited for
        stack.callback(scene.crm.abort)
        began = time.monotonic()
        scene.publishing = publishers.submit(publish, stage.bootstrap_servers, stage.topics.responses, scene.feed)
        scene.caring = publishers.submit(scene.crm.play)
        return _campaign(scene, schedule(plan, possible), began, impossible)


def _campaign(scene: Scene, faults: Iterator[Fault], began: float, impossible: list[str]) -> Summary:
    plan, say = scene.plan, scene.say
    for name in plan.names:
        scene.until_ready(name, STARTS_WITHIN_S)
    undisturbed_s = _undisturbed(scene)
    befallen: list[Befallen] = []
    pending: list[Befallen] = []
    deadline = time.monotonic() + plan.minutes * 60
    while time.monotonic() < deadline:
        fault = next(faults)
        scene.sleep(fault.gap_s)
        say(f"{time.monotonic() - began:7.1f} s  {scene.live.compared:>9,} compared  {fault.number:>3}: {fault}")
        try:
            one = _befall(scene, fault)
            befallen.append(one)
            pending.append(one)
            if not fault.overlaps:
                _until_over(scene, pending)
        except AssertionError as error:
            error.add_note(f"during fault {fault.number}: {fault}")
            scene.let_workers_tell()
            raise
    _until_over(scene, pending)
    return _finish(scene, befallen, undisturbed_s, began, impossible)


def _undisturbed(scene: Scene) -> float:
    """How long it takes until every partition has committed again when nothing is wrong."""
    samples: list[float] = []
    while len(samples) < 5:
        since_s = time.monotonic()
        while (recovered_s := scene.commits.recovered_at(since_s)) is None:
            scene.sleep(0.02)
        samples.append(recovered_s - since_s)
    return percentile(samples, 0.5)


def _befall(scene: Scene, fault: Fault) -> Befallen:
    scene.began()
    with KINDS[fault.kind](scene, **fault.parameters):
        there_s = time.monotonic()
        scene.sleep(fault.hold_s)
    return Befallen(fault, scene.onset_s, there_s, time.monotonic())


def _until_over(scene: Scene, pending: list[Befallen]) -> None:
    """Wait until every partition commits again and every worker is ready."""

    def over() -> bool:
        for one in pending:
            one.recovered_s = scene.commits.recovered_at(one.there_s)
            one.all_clear_s = scene.commits.recovered_at(one.ended_s)
        return all(one.recovered_s and one.all_clear_s for one in pending)

    what = f"recovered from {', '.join(str(one.fault.kind) for one in pending)}"
    scene.until(over, RECOVERS_WITHIN_S, what)
    for name, subject in scene.subjects.items():
        assert subject.should_run, f"worker {name} is not meant to be down"
        scene.until_ready(name, RECOVERS_WITHIN_S)
    for one in pending:
        assert one.recovered_s is not None
        assert one.all_clear_s is not None
        scene.say(
            f"{'':>10}{one.fault.number:>3} committed again {one.recovered_s - one.began_s:.1f} s after it began, "
            f"{max(one.all_clear_s - one.ended_s, 0):.1f} s after it ended"
        )
    pending.clear()


def _finish(
    scene: Scene, befallen: list[Befallen], undisturbed_s: float, began: float, impossible: list[str]
) -> Summary:
    stage = scene.stage
    scene.crm.stop()
    scene.until(scene.caring.done, FINISHES_WITHIN_S, "the CRM has done what it had begun")
    scene.feed.stop()
    scene.until(scene.publishing.done, FINISHES_WITHIN_S, "everything is published")
    published = scene.publishing.result() + scene.crm.published[stage.topics.responses]
    followed_up = scene.crm.published[stage.topics.follow_ups]

    def all_committed() -> bool:
        return sum(offset or 0 for offset in stage.committed().values()) >= published  # follow-ups were waited for

    scene.until(all_committed, FINISHES_WITHIN_S, "everything is committed")
    running_s = time.monotonic() - began
    scene.say(f"{running_s:7.1f} s  everything is committed: stopping, and comparing the rest with the oracle")
    stopping_s = 0.0
    for name in scene.plan.names:
        stopping = time.monotonic()
        scene.stop(name)
        stopping_s = max(stopping_s, time.monotonic() - stopping)
    comparing = time.monotonic()
    checked = scene.live.finish()
    assert stage.committed() == checked.offsets, "the group's committed offsets"
    assert sum(checked.offsets.values()) == published, "what was published and what is in the log"
    assert stage.committed(follow_ups=True) == checked.follow_up_offsets, "the group's committed offsets of follow-ups"
    assert sum(checked.follow_up_offsets.values()) == followed_up, "follow-ups published, and those in the log"
    checking_s = time.monotonic() - comparing
    return Summary(
        scene.plan, befallen, undisturbed_s, published, running_s, stopping_s, checking_s, checked, impossible
    )


def table(summary: Summary) -> list[str]:
    """Kinds, how often, and how long until every partition had committed again: Markdown."""
    rows = [
        "| fault | count | from its begin, p50 | p95 | from its end, p50 | p95 |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for kind in [*DECK, "all"]:
        those = [one for one in summary.befallen if kind in (one.fault.kind, "all")]
        name = kind.replace("_", " ")
        if kind in summary.impossible:
            rows.append(f"| {name} | not possible here | | | | |")
        if not those:
            continue
        cells = [str(len(those))]
        for times in (
            [(one.recovered_s or 0.0) - one.began_s for one in those],
            [max((one.all_clear_s or 0.0) - one.ended_s, 0.0) for one in those],
        ):
            cells += [f"{percentile(times, share):.1f} s" for share in (0.5, 0.95)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def summary_lines(summary: Summary) -> list[str]:
    plan, checked = summary.plan, summary.checked
    rows = {
        "faults": f"{len(summary.befallen)}, seed {plan.seed}",
        "lost, repeated, wrong": "0: events, dead letters, journeys, cases, counts, committed offsets equal the oracle",
        "responses": f"{summary.published:,} over {plan.partitions} partitions, {plan.workers} workers",
        "follow-ups": f"{checked.follow_ups.total():,}: {_counted(checked.follow_ups)}",
        "events": f"{checked.events.total():,}: {_counted(checked.events)}",
        "dead letters": f"{checked.dead_letters.total():,}",
        "journeys": f"{checked.journeys:,}",
        "cases": f"{checked.cases:,}",
        "counted": f"{checked.counted:,}",
        "undisturbed": f"{summary.undisturbed_s:.1f} s until every partition has committed, with no fault at all",
        "stopping": f"status 0, {summary.stopping_s:.1f} s at most after SIGTERM",
        "wall time": f"{summary.running_s:.0f} s under load, {summary.checking_s:.0f} s to compare the rest",
    }
    return [*table(summary), "", *(f"{name:>22}  {value}" for name, value in rows.items())]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="under load")
    parser.add_argument("--seed", type=int, default=None, help="of input and schedule; random when not given")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=Plan.rate, help="responses published per second")
    parser.add_argument("--static", action="store_true", help="workers are static members of the group")
    parser.add_argument("--only", nargs="+", choices=DECK, default=list(DECK), metavar="KIND", help=", ".join(DECK))
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    plan = Plan(seed, given.minutes, given.workers, rate=given.rate, static=given.static)
    for name in [name for name in os.environ if name.startswith("NPS_")]:
        del os.environ[name]
    directory = Path(tempfile.mkdtemp(prefix="nps-faults-"))
    print(f"{plan.minutes:g} minutes of faults at {plan.rate:,.0f} responses/s, seed {seed}", flush=True)
    try:
        summary = run(plan, directory, lambda line: print(line, flush=True), given.only)
    except AssertionError as difference:
        notes = "\n".join(getattr(difference, "__notes__", ()))
        print(f"\nNOT equal to the oracle, or not recovered (seed {seed}, logs in {directory}):\n{difference}\n{notes}")
        return 1
    print("\n" + "\n".join(summary_lines(summary)))
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
