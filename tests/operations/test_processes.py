"""`nps worker --processes`: a parent that keeps workers running and takes them along when it goes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from schemas.topics import Topics
from streams.broker import Broker, free_port
from tests.support.corpus import as_logs, corpus
from tests.support.kafka_reading import publish, wait_until_committed
from tests.support.stage import within
from tests.support.worker import ROOT, WorkerProcess, worker_environment

PARTITIONS = 4


def two_free_ports() -> int:
    """The first of two that follow each other."""
    while True:
        port = free_port()
        with socket.socket() as next_one:
            try:
                next_one.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


@pytest.fixture
def pair(broker: Broker, unique: str, tmp_path: Path) -> Iterator[tuple[WorkerProcess, WorkerProcess]]:
    """The parent, which answers as its first worker does, and what speaks to the second."""
    environment = worker_environment(
        broker.bootstrap_servers, f"{unique}.", unique, two_free_ports(), tmp_path / "state", PARTITIONS
    )
    parent = WorkerProcess(environment, tmp_path / "log", ("streams.cli", "worker", "--processes", "2"))
    second_port = str(int(environment["NPS_HTTP_PORT"]) + 1)
    with parent:
        yield parent, WorkerProcess({**environment, "NPS_HTTP_PORT": second_port}, tmp_path / "log")


def workers_of(parent: WorkerProcess) -> list[psutil.Process]:
    assert parent.process is not None
    found = psutil.Process(parent.process.pid).children(recursive=True)
    alive = [one for one in found if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in alive if "spawn_main" in " ".join(one.cmdline())]


def check_shared(first: WorkerProcess, second: WorkerProcess) -> None:
    """Two workers run, and both own partitions."""
    assert len(workers_of(first)) == 2
    assert (first.status("/readyz"), second.status("/readyz")) == (200, 200)
    owned = [one.metrics()["nps_owned_partitions", ()] for one in (first, second)]
    assert all(owned)
    assert sum(owned) == PARTITIONS


def test_workers_share_the_work_are_started_again_and_stop_in_order(
    broker: Broker, unique: str, tmp_path: Path, pair: tuple[WorkerProcess, WorkerProcess]
) -> None:
    parent, second = pair
    within(60, lambda: check_shared(parent, second))
    before = workers_of(parent)
    before[0].kill()
    within(60, lambda: check_shared(parent, second))
    assert len({one.pid for one in (*before, *workers_of(parent))}) == 3
    assert "ended with status -9: starting it again in 1 s" in parent.log()

    records = list(corpus(3, 500, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    topic = Topics(f"{unique}.").responses
    publish(broker.bootstrap_servers, topic, records, 30)
    ends = {partition: len(log) for partition, log in as_logs(records, PARTITIONS).items()}
    wait_until_committed(broker.bootstrap_servers, unique, topic, ends, 30, parent.check_running)
    assert {path.name for path in (tmp_path / "state").iterdir()} == {"worker-0", "worker-1"}
    assert all(f"INFO {name} streams." in parent.log() for name in ("worker-0", "worker-1")), "lines say whose they are"

    assert parent.sigterm() == 0
    assert not any(one.is_running() for one in before)
    assert parent.log().count("stopped in") == 2


def test_workers_stop_when_their_parent_is_killed(pair: tuple[WorkerProcess, WorkerProcess]) -> None:
    parent, second = pair
    within(60, lambda: check_shared(parent, second))
    workers = workers_of(parent)
    parent.sigkill()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    assert parent.log().count("stopped in") == 2, "as if asked to"


def test_ports_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    environment = worker_environment("127.0.0.1:1", "x.", "x", 65_530, tmp_path, 1)
    refused = subprocess.run(
        [sys.executable, "-m", "streams.cli", "worker", "--processes", "8"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    assert "NPS_HTTP_PORT" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_process_has_no_thread_that_nobody_asked_for() -> None:
    """With as many processes as cores, libraries that start a thread for each core would have their square."""
    listed = "import os, streams.app; print(len(os.listdir('/proc/self/task')))"
    fresh = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS")}
    counted = subprocess.run(
        [sys.executable, "-c", listed], cwd=ROOT, env=fresh, capture_output=True, text=True, check=True
    )
    assert counted.stdout == "1\n"
