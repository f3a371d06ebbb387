"""CPU per response of one worker on the whole path: `make bench`.

For each shape of input: a worker is started on empty topics; the responses are published; CPU (user and system, all
threads of the worker's process) is read before the first response and when the last one is committed. Start-up is left
out; validation, journeys, counts, events, changelogs, transactions, RocksDB, metrics and scoreboard are in. Then what
the worker wrote is compared with the oracle: a run that is not exact has no figure.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from schemas.topics import Topics
from streams.broker import Broker, free_port
from tests.bench.workload import SHAPES, responses
from tests.support.comparing import assert_all_topics
from tests.support.corpus import as_logs
from tests.support.kafka_reading import publish, read_topic, wait_until_committed
from tests.support.oracle import OracleConfig, run
from tests.support.worker import WorkerProcess, worker_environment

PARTITIONS = 4
EVENT_MAX_AGE_DAYS = 100
"""So that the spread shape publishes its events too: they are part of the work."""
TIMEOUT_S = 300.0
RETENTION_DAYS = 400


def measure(broker: Broker, shape: str, count: int, seed: int, directory: Path) -> dict[str, float]:
    """Return CPU seconds, wall seconds and peak memory of one run; raises AssertionError unless it was exact."""
    prefix = f"bench-{shape}-{seed}."
    topics = Topics(prefix)
    records = list(responses(shape, count, PARTITIONS, int(time.time() * 1000), seed))
    environment = worker_environment(
        broker.bootstrap_servers,
        prefix,
        prefix + "group",
        free_port(),
        directory / prefix,
        PARTITIONS,
        event_max_age_days=str(EVENT_MAX_AGE_DAYS),
        log_level="warning",
    )
    logs = as_logs(records, PARTITIONS)
    with WorkerProcess(environment, directory / f"{prefix}log") as worker:
        worker.wait_ready()
        assert worker.process is not None
        process = psutil.Process(worker.process.pid)
        before, began = process.cpu_times(), time.monotonic()
        publish(broker.bootstrap_servers, topics.responses, records, TIMEOUT_S)
        ends = {partition: len(log) for partition, log in logs.items()}
        wait_until_committed(
            broker.bootstrap_servers, prefix + "group", topics.responses, ends, TIMEOUT_S, worker.check_running
        )
        wall_s, after = time.monotonic() - began, process.cpu_times()
        peak_mb = process.memory_full_info().rss / 1e6
        assert worker.sigterm() == 0
    oracles = run(logs, OracleConfig(PARTITIONS, event_max_age_days=EVENT_MAX_AGE_DAYS))
    assert_all_topics(
        lambda topic: read_topic(broker.bootstrap_servers, topic, TIMEOUT_S),
        topics,
        oracles,
        time.time_ns() // 1000,
        RETENTION_DAYS,
    )
    cpu_s = after.user + after.system - before.user - before.system
    return {"cpu_s": cpu_s, "wall_s": wall_s, "memory_mb": peak_mb}


def main() -> int:
    """Run every shape `--runs` times and print a table."""
    arguments = argparse.ArgumentParser(description="CPU per response of one worker on the whole path.")
    arguments.add_argument("--responses", type=int, default=300_000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--shape", choices=[*SHAPES], action="append", help="default: both")
    options = arguments.parse_args()
    print(f"{options.responses} responses, {PARTITIONS} partitions, one worker, {options.runs} runs each, all compared")
    print("shape   CPU µs a response: median (range)   responses per CPU s   wall s   memory MB", flush=True)
    with tempfile.TemporaryDirectory() as directory, Broker(Path(directory) / "broker") as broker:
        runs: dict[str, list[dict[str, float]]] = {shape: [] for shape in options.shape or SHAPES}
        for number in range(options.runs):  # the shapes take turns: a machine's speed drifts
            for shape, results in runs.items():
                results.append(measure(broker, shape, options.responses, number + 1, Path(directory)))
                print(".", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    for shape, results in runs.items():
        costs_us = [result["cpu_s"] / options.responses * 1e6 for result in results]
        cost_us = statistics.median(costs_us)
        wall_s = statistics.median(result["wall_s"] for result in results)
        memory_mb = max(result["memory_mb"] for result in results)
        print(
            f"{shape:7} {cost_us:18.1f} ({min(costs_us):.1f} to {max(costs_us):.1f}) {1e6 / cost_us:21,.0f}"
            f" {wall_s:8.1f} {memory_mb:11.0f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
