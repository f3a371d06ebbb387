"""A real Prometheus beside targets whose partitions change hands all the time: what is recorded is the truth or absent.

Scrapes end between one rule's evaluation and the next's, and between one group's and another's. So what is summed and
that it may be summed must come of one query.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.prometheus_binaries import Binaries
from tests.support.prometheus_server import RULES, PrometheusServer, scraping
from tests.support.stage import within

WORKERS = 4
PARTITIONS = 4
MOVES_FOR_S = 10.0
EVERY_S = 0.05
"""Scrapes and evaluations. As near to each other as they get: the more of them meet."""

SUMS = {
    "nps:window_responses:sum": 'nps_window_responses{survey="s",segment="all",window="7d",category="promoter"}',
    "nps:window_cases:sum": 'nps_window_cases{survey="s",segment="all",window="7d",state="cases"}',
    "nps:open_cases": 'nps_open_cases{survey="s"}',
    "nps:window_case_groups:sum": (
        'nps_window_case_groups{survey="s",window="7d",state="cases",score="7",reason="price",action="none"}'
    ),
    "nps:window_conversion_seconds:sum": (
        'nps_window_conversion_seconds{survey="s",window="7d",score="7",reason="price",action="none"}'
    ),
}
"""What is recorded, and what it is a sum of over the workers. Partition p counts 10 to the power of p."""
TRUTH = sum(10**partition for partition in range(PARTITIONS))


class Owners:
    """Who owns each partition; one of them moves now and then. Served as each worker would say it at that moment."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._lock = threading.Lock()
        self._owner = [partition % WORKERS for partition in range(PARTITIONS)]

    def move(self) -> None:
        with self._lock:
            self._owner[self._rng.randrange(PARTITIONS)] = self._rng.randrange(WORKERS)

    def exposition(self, worker: int) -> bytes:
        with self._lock:
            owned = [partition for partition, owner in enumerate(self._owner) if owner == worker]
        lines = [f"nps_partitions {PARTITIONS}"]
        lines += [f'nps_window_partitions{{partition="{partition}"}} 1' for partition in owned]
        lines += [f"{series} {sum(10**partition for partition in owned)}" for series in SUMS.values()]
        return "".join(f"{line}\n" for line in lines).encode()


@contextmanager
def target(owners: Owners, worker: int) -> Iterator[str]:
    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = owners.exposition(worker)
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_what_is_recorded_while_partitions_move_is_the_truth_or_absent(prometheus: Binaries, tmp_path: Path) -> None:
    seed = time.time_ns() % 1_000_000
    print(f"seed {seed}")
    rng = random.Random(seed)
    owners = Owners(rng)
    with ExitStack() as stack:
        targets = [stack.enter_context(target(owners, worker)) for worker in range(WORKERS)]
        config = scraping(targets, rule_files=RULES, interval_s=EVERY_S)
        server = stack.enter_context(PrometheusServer(tmp_path / "prometheus", config))
        within(20, lambda: server.value("nps:open_cases"))
        began = time.time()
        while time.time() < began + MOVES_FOR_S:
            time.sleep(rng.uniform(0, 8 * EVERY_S))
            owners.move()
        for name in SUMS:
            recorded = [value for series in server.query(f"{name}[{MOVES_FOR_S:.0f}s]") for _, value in series.samples]
            assert len(recorded) > 10, name
            assert set(recorded) == {TRUTH}, name
