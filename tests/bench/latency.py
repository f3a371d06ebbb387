"""From a response's record time to its event at a `read_committed` subscriber: `make bench-latency`.

Publisher, broker, worker and subscriber share the machine. The publisher sets each record's timestamp as it hands the
record to its client; a `passive-detected` says that time as `detected_at`; the subscriber compares it with the clock
when it has the event. The rates take turns, each on topics of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer

from streams.broker import Broker
from tests.bench.measuring import Bench, Load, parser, write
from tests.load.watching import Memory
from tests.support.corpus import Produced
from tests.support.kafka_reading import publish
from tests.support.pacing import paced
from tests.support.worker import ROOT, WorkerProcess

WARM_UP_S = 5.0
TIMEOUT_S = 120.0


class Subscriber:
    """Reads a topic of events in a thread of its own; `seen_ms` holds (clock, latency) of each."""

    def __init__(self, servers: str, topic: str) -> None:
        settings = {
            "bootstrap.servers": servers,
            "group.id": "latency",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 20,
        }
        self._consumer = Consumer(settings)
        self._consumer.subscribe([topic])
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.seen_ms: list[tuple[float, float]] = []
        self._thread.start()

    def _read(self) -> None:
        while not self._over.is_set():
            messages = self._consumer.consume(500, timeout=0.02)
            now_ms = time.time() * 1000
            for message in messages:
                if message.error() is None:
                    at_ms = datetime.fromisoformat(json.loads(message.value())["detected_at"]).timestamp() * 1000
                    self.seen_ms.append((now_ms, now_ms - at_ms))
        self._consumer.close()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def as_of_now(records: list[Produced], per_second: float) -> Iterator[Produced]:
    """Yield the records at this rate, each with the time at which it is."""
    for record in paced(records, per_second):
        yield record._replace(timestamp_ms=int(time.time() * 1000))


def measure(bench: Bench, per_second: int, seconds: float, commit_interval_ms: int) -> dict[str, float]:
    """Return percentiles in ms, and how much of a core the worker used."""
    load = Load("live", int(per_second * (WARM_UP_S + seconds)))
    topics, [environment] = bench.environment(load)
    settings = {**environment, "NPS_COMMIT_INTERVAL_MS": str(commit_interval_ms)}
    servers = bench.broker.bootstrap_servers
    with WorkerProcess(settings, bench.directory / f"{topics.prefix}log") as worker:
        worker.wait_ready()
        subscriber = Subscriber(servers, topics.passive_detected)
        began_ms = time.time() * 1000
        memory = Memory(worker)
        used_s = memory.cpu_s
        command = [sys.executable, "-m", "tests.bench.latency", "--publish", servers, topics.responses, str(per_second)]
        subprocess.run([*command, str(load.count)], cwd=ROOT, check=True, timeout=WARM_UP_S + seconds + TIMEOUT_S)
        share = (memory.cpu_s - used_s) / (time.time() - began_ms / 1000)
        time.sleep(2)
        subscriber.stop()
        assert worker.sigterm() == 0
    latencies = np.array([latency for at_ms, latency in subscriber.seen_ms if at_ms > began_ms + WARM_UP_S * 1000])
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
    percentiles = {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "max_ms": latencies.max()}
    return {"events": len(latencies), **percentiles, "cpu_share": share}


def _publish(servers: str, topic: str, per_second: str, count: str) -> int:
    publish(servers, topic, as_of_now(Load("live", int(count)).records(5), float(per_second)), TIMEOUT_S)
    return 0


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--rates", type=int, nargs="+", default=[200, 10_000, 20_000], metavar="PER_SECOND")
    arguments.add_argument("--seconds", type=float, default=20.0)
    arguments.add_argument("--commit-interval-ms", type=int, default=100)
    options = arguments.parse_args()
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as directory, Broker(Path(directory) / "broker") as broker:
        bench = Bench(broker, Path(directory))
        print(f"commits every {options.commit_interval_ms} ms; record time to event at the subscriber, ms")
        print("responses/s    events     p50     p95     p99     max   worker")
        for per_second in options.rates:
            figures = measure(bench, per_second, options.seconds, options.commit_interval_ms)
            found[str(per_second)] = figures
            print(f"{per_second:>11,} {figures['events']:>9,.0f} ", end="")
            print(" ".join(f"{figures[name]:7.0f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")), end="")
            print(f" {figures['cpu_share']:8.0%}", flush=True)
    write(options.json, "latency", {"commit_interval_ms": options.commit_interval_ms, "rates": found})
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--publish"]:
        sys.exit(_publish(*sys.argv[2:]))
    sys.exit(main())
