"""`make dashboard-preview`: draws the programme dashboard as it is after twelve weeks of simulated life, replayed fast.

A real broker, two workers, `nps simulate` and a real Prometheus; every panel's own queries, asked of it. The picture is
drawn by matplotlib (`dashboard_drawing`), for no Grafana runs here. ARGS: --seconds, --output.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from streams.broker import Broker, free_port
from tests.operations.dashboard_drawing import Answers, answers_to, draw
from tests.support.dashboard_answers import View
from tests.support.dashboards import dashboards
from tests.support.kafka_reading import end_offsets, wait_until_committed
from tests.support.prometheus_server import PrometheusServer, scraping
from tests.support.stage import within
from tests.support.worker import WorkerProcess, worker_environment

DAYS, RESPONSES, PARTITIONS, WORKERS = 84, 40_000, 4, 2
UID = "nps-programme"
SHOWN = {
    "job": "nps",
    "namespace": "",
    "survey": "relationship",
    "segment": "all",
    "window": "90d",
    "dimension": "[^=+]+",
}
"""What is chosen at the top of the dashboard."""
INTERVAL_S = 1.0


def run(directory: Path, seconds: int) -> Answers:
    """Replay the past within so many seconds; what the panels' queries find afterwards."""
    with Broker(directory / "broker") as broker:
        workers = [
            WorkerProcess(
                worker_environment(
                    *(broker.bootstrap_servers, "nps.", "nps", free_port()),
                    directory / f"state-{name}",
                    PARTITIONS,
                    windows="1d,7d,30d,90d",
                ),
                directory / f"worker-{name}.log",
            )
            for name in range(WORKERS)
        ]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.wait_ready()
            targets = [f"127.0.0.1:{worker.environment['NPS_HTTP_PORT']}" for worker in workers]
            with PrometheusServer(directory / "prometheus", scraping(targets, interval_s=INTERVAL_S)) as prometheus:
                return _answers(prometheus, workers, broker.bootstrap_servers, seconds)
        finally:
            for worker in workers:
                worker.sigkill()


def _answers(
    prometheus: PrometheusServer, workers: list[WorkerProcess], bootstrap_servers: str, seconds: int
) -> Answers:
    def every_partition_is_owned() -> None:
        assert prometheus.value("sum(nps_owned_partitions)") == PARTITIONS

    def all_is_seen() -> None:
        read = sum(end_offsets(bootstrap_servers, "nps.responses").values())
        assert prometheus.value("sum(nps_responses_total)") == read

    within(60, every_partition_is_owned)
    began_s = time.time()
    replay = ("simulate", "--days", str(DAYS), "--responses", str(RESPONSES), "--rate", str(RESPONSES // seconds))
    subprocess.run(
        [sys.executable, "-m", "streams.cli", *replay],
        env={**os.environ, "NPS_BOOTSTRAP_SERVERS": bootstrap_servers},
        check=True,
        timeout=10 * seconds,
    )
    targets = end_offsets(bootstrap_servers, "nps.responses")
    wait_until_committed(bootstrap_servers, "nps", "nps.responses", targets, 60, lambda: workers[0].check_running())
    within(30, all_is_seen)
    time.sleep(2)
    ended_s = time.time()
    view = View(prometheus, began_s, ended_s, INTERVAL_S, SHOWN)
    return answers_to(dashboards()[UID], view.ask)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make dashboard-preview", description=__doc__)
    parser.add_argument("--seconds", type=int, default=150, help="how long the replay takes")
    parser.add_argument("--output", type=Path, default=Path("docs/images/programme.png"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nps-preview-", ignore_cleanup_errors=True) as directory:
        answers = run(Path(directory), options.seconds)
    caption = (
        f"Drawn with matplotlib from Prometheus' answers to the panels' queries; not a screenshot of Grafana. {DAYS} "
        f"days of simulated responses, replayed in {options.seconds} s."
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    draw(dashboards()[UID], answers, SHOWN, caption, options.output)
    print(f"{options.output}: {options.output.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
