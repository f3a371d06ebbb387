"""How many webhooks one process delivers to a local receiver: `python -m tests.bench.webhooks`.

Events of 600 bytes are in Kafka before the process starts. The receiver is a process of its own on the same machine; it
takes the body and answers 200. Counted from the first delivery to the last, at the receiver; CPU is the deliverer's.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
from aiohttp import web

from streams.broker import Broker, free_port
from tests.bench.measuring import parser, write
from tests.webhooks.events import Publisher, WebhooksProcess, create_topics, environment, write_config

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 300.0
PREFIX = "bench."


class Counter:
    """The receiver."""

    def __init__(self) -> None:
        self.count = 0
        self.first_s = self.last_s = 0.0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response(text=f"{self.count} {self.last_s - self.first_s}")
        await request.read()
        self.last_s = time.perf_counter()
        self.first_s = self.first_s or self.last_s
        self.count += 1
        return web.Response()


async def _receive(port: int) -> None:
    runner = web.ServerRunner(web.Server(Counter().handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


def asked(port: int) -> tuple[int, float]:
    """Deliveries so far, seconds from the first to the last."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            count, seconds = answer.read().decode().split()
    except OSError:
        return 0, 0.0
    return int(count), float(seconds)


def measure(events: int, concurrency: int, broker: Broker, directory: Path) -> dict[str, float]:
    """Return deliveries a second and what they cost."""
    create_topics(broker.bootstrap_servers, PREFIX, partitions=4)
    publisher = Publisher(broker.bootstrap_servers, PREFIX)
    publisher.send_all([f"customer-{number}" for number in range(events // 10)], 10)
    port = free_port()
    config = write_config(directory, {"crm": f"http://127.0.0.1:{port}/"})
    settings = environment(broker.bootstrap_servers, PREFIX, free_port(), config, webhooks_concurrency=str(concurrency))
    receiver = subprocess.Popen([sys.executable, "-m", "tests.bench.webhooks", "--receive", str(port)], cwd=ROOT)
    try:
        with WebhooksProcess(settings, directory / "webhooks.log") as process:
            deadline = time.monotonic() + TIMEOUT_S
            while (found := asked(port))[0] < events:
                process.check_running()
                assert time.monotonic() < deadline, process.last_words()
                time.sleep(0.2)
            assert process.process is not None
            times = psutil.Process(process.process.pid).cpu_times()
    finally:
        receiver.kill()
        receiver.wait()
    count, seconds = found
    return {
        "deliveries": count,
        "per_second": count / seconds,
        "cpu_ms": (times.user + times.system) * 1000 / count,
    }


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--events", type=int, default=10_000)
    arguments.add_argument("--concurrency", type=int, default=16)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory, Broker(Path(directory) / "broker") as broker:
        found = measure(options.events, options.concurrency, broker, Path(directory))
    print(
        f"{found['deliveries']:,} deliveries, {options.concurrency} at once: {found['per_second']:,.0f}/s,"
        f" {found['cpu_ms']:.2f} ms of CPU each (start included)"
    )
    write(options.json, "webhooks", found)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--receive"]:
        asyncio.run(_receive(int(sys.argv[2])))
    sys.exit(main())
