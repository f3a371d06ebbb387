"""How fast a worker rebuilds its state from an empty disk: `make bench-restore`.

A worker processes the workload and stops; its state is deleted; it is started again. Each partition says in the log how
many changelog records it restored and when: the rate is all of them over the time from the first partition's beginning
to the last one's end, and the CPU is that of the whole process from its start until it is ready.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from streams.broker import Broker
from tests.bench.measuring import TIMEOUT_S, Bench, Load, parser, write
from tests.load.watching import Memory, Watch
from tests.support.kafka_reading import end_offsets, publish, wait_until_committed
from tests.support.worker import WorkerProcess

BEGAN = re.compile(r"^(\S+ \S+) INFO .*partition \d+: no local state to continue", re.MULTILINE)
RESTORED = re.compile(r"^(\S+ \S+) INFO .*partition \d+: owned, at offset \d+, (\d+) changelog records", re.MULTILINE)


def at(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007: only differences are taken


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--responses", type=int, default=1_000_000)
    arguments.add_argument("--customers", type=int, default=1_000_000)
    arguments.add_argument("--partitions", type=int, default=4)
    arguments.add_argument("--runs", type=int, default=3)
    options = arguments.parse_args()
    load = Load("live", options.responses, options.partitions, options.customers)
    rates, cpu_us = [], []
    with tempfile.TemporaryDirectory() as directory, Broker(Path(directory) / "broker") as broker:
        bench = Bench(broker, Path(directory))
        topics, [environment] = bench.environment(load)
        log = Path(directory) / "worker.log"
        with WorkerProcess({**environment, "NPS_LOG_LEVEL": "info"}, log) as worker:
            worker.wait_ready()
            servers, group = broker.bootstrap_servers, f"{topics.prefix}group"
            publish(servers, topics.responses, load.records(1), TIMEOUT_S)
            ends = end_offsets(servers, topics.responses)
            memory = Memory(worker)
            with Watch(memory.look):
                wait_until_committed(servers, group, topics.responses, ends, TIMEOUT_S, worker.check_running)
            processing_mb = memory.most_bytes / 1e6
            print(f"{options.responses:,} responses of {options.customers:,} customers: {processing_mb:.0f} MB at most")
            for _ in range(options.runs):
                assert worker.sigterm() == 0
                shutil.rmtree(environment["NPS_STATE_DIR"])
                said = len(worker.log())
                worker.start()
                while worker.status("/healthz") != 200:
                    time.sleep(0.05)
                memory = Memory(worker)
                with Watch(memory.look):
                    worker.wait_ready(TIMEOUT_S)
                text = worker.log()[said:]
                done = [(at(when), int(count)) for when, count in RESTORED.findall(text)]
                records = sum(count for _, count in done)
                took_s = max(when for when, _ in done) - min(at(when) for when in BEGAN.findall(text))
                rates.append(records / took_s)
                cpu_us.append(memory.cpu_s / records * 1e6)
                print(
                    f"{records:,} changelog records in {took_s:.1f} s: {rates[-1]:,.0f}/s, "
                    f"{cpu_us[-1]:.2f} µs of CPU each with start-up, {memory.most_bytes / 1e6:.0f} MB at most",
                    flush=True,
                )
            assert worker.sigterm() == 0
    write(options.json, "restore", {"records_per_s": rates, "cpu_us": cpu_us, "processing_mb": processing_mb})
    return 0


if __name__ == "__main__":
    sys.exit(main())
