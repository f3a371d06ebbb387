"""Runs one schedule: tells the story, heals the world, checks what came of it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.structs import TopicPartition

from tests.simulation.cases import case_of
from tests.simulation.disk import Disks, MemoryDisks, RocksDisks
from tests.simulation.loop import NothingLeft, VirtualLoop
from tests.simulation.schedule import Element, draw
from tests.simulation.worker import Fuse
from tests.simulation.world import World

SCHEDULES_PER_CASE = 10
LONG_EVERY = 20
"""The others are short: small worlds, of which there can be many more in the same time."""
HEALING_MAX_S = 400.0
"""Virtual. Longer than a hanging request, a session, a transaction's timeout and the pauses between attempts."""


class Failed(Exception):
    """A schedule broke an invariant; the message tells everything about it."""


@dataclass
class Outcome:
    """What happened in a schedule, for the table; equal for equal seeds."""

    happened: Counter[str] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)


def run(seed: int, rocksdb: Path | None = None) -> Outcome:
    """Run the schedule of a seed, on real RocksDB in an empty directory if one is given. Raises Failed."""
    rng = random.Random(seed)
    short = seed % LONG_EVERY != 0
    names, elements = draw(rng, short=short)
    disks: Disks = RocksDisks(rng, rocksdb) if rocksdb is not None else MemoryDisks(rng)
    loop = VirtualLoop()
    world = World(loop, rng, case_of(seed // SCHEDULES_PER_CASE, short=short), disks)
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with world.in_place():
            try:
                loop.run_until_complete(_tell(world, names, elements))
                if world.failures:
                    raise world.failures[0]
                world.checks.all_is_exact()
            except (Exception, NothingLeft) as error:
                raise Failed(_report(seed, world, elements, rocksdb is not None)) from error
            finally:
                _end(world)
    finally:
        logging.disable(level)
        disks.close()
    world.happened["schedules with a crash"] += any(what.startswith("kill") for what in world.happened)
    ends = {f"{at.topic}-{at.partition}": log.end for at, log in world.cluster.logs.items()}
    return Outcome(world.happened, world.story, ends)


async def _tell(world: World, names: list[str], elements: list[Element]) -> None:
    for name in names:
        world.start(name)
    await asyncio.sleep(world.rng.choice((0.0, 1.0)))
    for element in elements:
        world.note(str(element))
        await _do(world, element)
        if world.failures:
            return
    await _heal(world)


async def _do(world: World, element: Element) -> None:
    worker = world.workers.get(element.worker)
    if element.what in ("share", "outage", "compact", "clock jumps", "day passes"):
        world.happened[element.what] += 1
    match element.what:
        case "wait":
            await asyncio.sleep(element.seconds)
        case "start":
            world.start(element.worker)
        case "fetch":
            _fetch(world, element.count)
            await asyncio.sleep(0.05)
        case "thaw" if worker is not None:
            worker.thaw()
        case "share":
            world.group.share()
        case "outage":
            world.down_until_s = world.loop.now_s + element.seconds
        case "compact":
            world.compact()
        case "clock jumps":
            world.clock.ahead_s += element.seconds
        case "day passes":  # longer than changelogs keep nulls
            world.clock.ahead_s += element.seconds
            world.compact()
        case "crash" if element.moment and element.count:
            world.fuses.append(Fuse(element.worker, element.moment, element.count, "kill", element.loss))
        case "freeze":
            world.fuses.append(Fuse(element.worker, element.moment, element.count, "freeze"))
        case _ if worker is None or worker.dead:
            pass
        case "crash":
            world.happened["kill now"] += 1
            worker.kill(element.loss)
        case "stop":
            worker.spawn(worker.stop())
        case fault:
            worker.faults.setdefault(element.moment, []).append(fault)


def _fetch(world: World, count: int) -> None:
    """Everybody fetches, as consumers do all the time; and the CRM sends something, now and then."""
    if world.rng.random() < 0.4:
        world.follow_up(world.rng.choice((1, 1, 2, 5)))
    for worker in world.workers.values():
        if worker.owned and not worker.halted:
            worker.spawn(worker.fetch(count))


async def _heal(world: World) -> None:
    """No more faults but kills that are still due: whoever is killed is started, whoever was frozen goes on, and all is
    read to its end.
    """
    world.note("heal")
    world.down_until_s = 0.0
    world.fuses = [fuse for fuse in world.fuses if fuse.action == "kill"]
    for name, worker in list(world.workers.items()):
        worker.faults.clear()
        worker.thaw()
        world.start(name)
    world.follow_up(1_000)
    deadline_s = world.loop.now_s + HEALING_MAX_S
    while not _is_done(world):
        if world.failures:
            return
        if world.loop.now_s > deadline_s:
            raise AssertionError(f"not done after {HEALING_MAX_S:g} s: {_stuck(world)}")
        for name in list(world.workers):
            world.start(name)  # a stop may have been under way
        _fetch(world, 30)
        await asyncio.sleep(0.8)
    world.note("done")
    for worker in world.workers.values():
        if not worker.dead:
            _, waiting = await asyncio.wait([worker.spawn(worker.engine.stop())], timeout=HEALING_MAX_S)
            assert not waiting or worker.dead, f"{worker.name} does not stop"
        world.checks.stores(worker)


def _is_done(world: World) -> bool:
    offsets = world.cluster.offsets
    group, topic = world.group.name, world.topics.responses
    follow_ups = world.topics.follow_ups
    return (
        world.cluster.quiet
        and all(
            offsets.get((group, TopicPartition(topic, number)), (0, ""))[0] == len(log)
            for number, log in world.case.logs.items()
        )
        and all(
            offsets.get((group, TopicPartition(follow_ups, number)), (0, ""))[0] == len(log)
            for number, log in world.case.follow_ups.items()
        )
        and not any(oracle.due(world.clock.time_ns() // 1000) for oracle in world.checks.oracles.values())
    )


def _stuck(world: World) -> str:
    states = {
        worker.name: [f"{status.partition} ready={status.ready} lag={status.lag_records}" for status in statuses]
        for worker in world.workers.values()
        if (statuses := worker.engine.partitions()) is not None
    }
    return f"{states}, generation {world.group.generation}"


def _end(world: World) -> None:
    """Everybody's tasks end; nothing of it counts."""
    loop = world.loop
    for worker in world.everybody:
        worker.network.cut = True
        loop.resume(worker)
        worker.world.group.members.clear()
    loop.set_exception_handler(lambda *_: None)
    for _ in range(20):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        loop.run_until_complete(_some_steps())
    loop.close()


async def _some_steps() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _report(seed: int, world: World, elements: list[Element], rocksdb: bool) -> str:
    told: list[Any] = [
        f"schedule {seed} broke an invariant; again: python -m tests.simulation --seed {seed} --schedules 1"
        + (" --rocksdb" if rocksdb else ""),
        "elements:",
        *(f"  {element}" for element in elements),
        "what happened:",
        *(f"  {line}" for line in world.story),
        *(f"{type(error).__name__}: {error}" for error in world.failures),
    ]
    return "\n".join(map(str, told))
