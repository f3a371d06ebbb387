"""What a response costs by stage, without a broker: `python -m tests.bench.stages`.

The load of `make bench`: as many responses of as many customers, four partitions in turn (each has rows and state of
its own, and they share the processor's caches), in units of as many records as a worker commits at once when it is
behind. The stages are the engine's own functions, called in the order in which it calls them; what is left out is the
network and the client's bookkeeping, which `make bench` has in it. CPU time of this process, the best of several passes
over new state.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import TopicPartition

from schemas.response import accept
from streams.app import tame_garbage_collection
from streams.engine.decider import Decider
from streams.engine.inbox import Inbox
from streams.engine.records import Record, read_as_bytes
from streams.engine.store import Store
from streams.engine.transaction import BATCH_BYTES_MAX, CODECS, Transactor
from tests.bench import pure
from tests.bench.measuring import parser, write
from tests.bench.workload import SHAPES, responses
from tests.support.corpus import Produced

FETCHED_RECORDS = 2_000
PARTITIONS = 4
AT = TopicPartition("nps.responses", 0)


class Stages:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = defaultdict(float)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.cpu_s[name] += time.process_time() - began


class Partition:
    """What a worker has of one, with all its records fetched and not yet parsed."""

    def __init__(self, made: Sequence[Produced], directory: Path) -> None:
        self.store = Store(directory)
        self.decider = pure.decider_on(self.store)
        self.inbox = Inbox()
        batches = []
        for first in range(0, len(made), FETCHED_RECORDS):
            builder = BatchBuilder(BATCH_BYTES_MAX, CODECS["none"], is_transactional=1)
            for record in made[first : first + FETCHED_RECORDS]:
                appended = builder.append(timestamp=record.timestamp_ms, key=record.key, value=record.value)
                assert appended is not None, "all of them fit into one"
            data = bytearray(builder._build())
            data[0:8] = first.to_bytes(8, "big")
            batches.append(bytes(data))
        self.reading = _parsed(batches)


def _parsed(batches: Sequence[bytes]) -> Iterator[list[Record]]:
    """Parse batches as the consumer does."""
    for data in batches:
        parts = fetcher.PartitionRecords(AT, fetcher.MemoryRecords(data), None, 0, None, None, True, READ_COMMITTED)
        yield list(parts)


async def once(shape: str, count: int, unit_records: int, directory: Path, seed: int) -> dict[str, float]:
    """One pass; returns CPU seconds by stage."""
    transactor = Transactor({"bootstrap_servers": "127.0.0.1:1"}, "nps", AT, 10_000, lambda _: None)
    made: list[list[Produced]] = [[] for _ in range(PARTITIONS)]
    for record in responses(shape, count, PARTITIONS, int(time.time() * 1000), seed):
        made[record.partition].append(record)
    partitions = [Partition(some, directory / f"{shape}-{seed}-{at}") for at, some in enumerate(made)]
    made.clear()
    stages, busy = Stages(), list(partitions)
    while busy:
        for one in list(busy):
            if not one.inbox:
                with stages.of("read"):
                    records = next(one.reading, None)
                if records is None:
                    busy.remove(one)
                    continue
                with stages.of("(of which validate)"):
                    for record in records:
                        accept(record.key, record.value, record.timestamp)
                with stages.of("inbox"):
                    one.inbox.put(records)
            arrived = one.inbox.take()
            with stages.of("decide"):
                one.decider.decide(arrived)
            if one.decider.unit.report.records >= unit_records:
                await commit(one.decider, one.store, transactor, stages)
    for one in partitions:
        await commit(one.decider, one.store, transactor, stages)
        one.store.close()
    await transactor.close()
    return stages.cpu_s


async def commit(decider: Decider, store: Store, transactor: Transactor, stages: Stages) -> None:
    with stages.of("encode counts"):
        unit = decider.close_unit()
    with stages.of("append rows"):
        counts = [*unit.counts.items(), *unit.case_counts.items()]
        built: list[Any] = await transactor._batches_of([*unit.states.items()]) + await transactor._batches_of(counts)
    by_topic = defaultdict(list)
    for record in unit.produced:
        by_topic[record.topic].append(record)
    with stages.of("append events"):
        for produced in by_topic.values():
            built += await transactor._batches_of_produced(produced)
    with stages.of("build"):
        for batch in built:
            batch._build()
    with stages.of("write store"):
        pure.write(store, unit)
    decider.unit_committed()


async def measure(shape: str, count: int, unit_records: int, runs: int, directory: Path) -> dict[str, float]:
    """Return µs a response by stage, the best of the runs."""
    best: dict[str, float] = {}
    for run in range(runs):
        for stage, cpu_s in (await once(shape, count, unit_records, directory, run)).items():
            best[stage] = min(best.get(stage, cpu_s), cpu_s)
    return {stage: cpu_s / count * 1e6 for stage, cpu_s in best.items()}


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--responses", type=int, default=300_000)
    arguments.add_argument("--unit", type=int, default=6_000, metavar="RECORDS", help="committed together")
    arguments.add_argument("--runs", type=int, default=2)
    given = arguments.parse_args()
    tame_garbage_collection()  # as a worker has it
    read_as_bytes()
    with tempfile.TemporaryDirectory() as directory:
        found = {
            shape: asyncio.run(measure(shape, given.responses, given.unit, given.runs, Path(directory)))
            for shape in SHAPES
        }
    print("µs of CPU a response  " + "".join(f"{shape:>8}" for shape in found))
    for stage in next(iter(found.values())):
        print(f"{stage:22}" + "".join(f"{costs[stage]:8.2f}" for costs in found.values()))
    total = {shape: sum(cost for stage, cost in costs.items() if "(" not in stage) for shape, costs in found.items()}
    print(f"{'together':22}" + "".join(f"{cost:8.2f}" for cost in total.values()))
    write(given.json, "stages", {"us": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
