"""What a fault acts upon: a broker, workers under load, and the waits in which everything else is kept an eye on."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from streams.broker import Broker, free_port
from tests.faults.faults_crm import Crm
from tests.faults.faults_feed import Feed
from tests.faults.faults_live import Live
from tests.faults.faults_plan import Plan
from tests.faults.faults_recovery import CommitWatch
from tests.faults.faults_worker import Controls
from tests.support.small_disk import SmallDisk
from tests.support.stage import Stage
from tests.support.worker import STOPS_WITHIN_S, WorkerProcess

ENDS_WITHIN_S = 30.0
"""A worker that can't go on: from the moment that it can't until it has ended."""
PASSES_WITHIN_S = 20.0
"""A busy worker passes any crash point a dozen times."""
LOOK_EVERY_S = 0.05


class Subject:
    """One worker that faults happen to."""

    def __init__(self, stage: Stage, name: str, disk: SmallDisk | None) -> None:
        self.name = name
        self.disk = disk
        self.state_dir = (disk.path if disk is not None else stage.directory / f"disk-{name}") / "state"
        self.controls = Controls(stage.directory / f"controls-{name}")
        self.process = stage.worker(name, self.controls.module)
        self.process.environment["NPS_STATE_DIR"] = str(self.state_dir)
        self.should_run = False
        self._log_began = 0

    def start(self, *, should_run: bool = True) -> None:
        """Start it (again); if it shouldn't run, it is going to end by itself."""
        log = self.process.log_file
        self._log_began = log.stat().st_size if log.exists() else 0
        self.process.environment["NPS_HTTP_PORT"] = str(free_port())  # the last one may be another's by now
        self.process.start()
        self.should_run = should_run

    def kill(self) -> None:
        self.should_run = False
        self.process.sigkill()
        self.controls.put_fuse_out()

    @property
    def owned(self) -> list[int]:
        """The partitions that it processes, by its metrics."""
        lags = [dict(labels) for name, labels in self.process.metrics() if name == "nps_consumer_lag_records"]
        return sorted(int(labels["partition"]) for labels in lags)

    def said(self) -> str:
        """Its log since it was started last."""
        with self.process.log_file.open("rb") as log:
            log.seek(self._log_began)
            return log.read().decode(errors="replace")


class Scene:
    """Everything of one campaign."""

    def __init__(self, plan: Plan, broker: Broker, stage: Stage, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.broker = broker
        self.stage = stage
        self.say = say
        self.subjects: dict[str, Subject] = {}
        self.feed: Feed
        self.live: Live
        self.commits: CommitWatch
        self.publishing: Future[int]
        self.crm: Crm
        self.caring: Future[Counter[str]]
        self.onset_s = 0.0

    def began(self) -> None:
        """The fault under way is there now: what was before was its preparation."""
        self.onset_s = time.monotonic()

    # Waiting

    def check(self) -> None:
        """Raise AssertionError where something is not as it must be at any moment."""
        self.live.check()
        for work in (self.publishing, self.caring):
            if work.done():
                work.result()  # raises what went wrong
        for subject in self.subjects.values():
            if subject.should_run:
                subject.process.check_running()

    def let_workers_tell(self) -> None:
        """Let each say in its log what it is doing."""
        for subject in self.subjects.values():
            if subject.process.process is not None and subject.process.running:
                subject.process.process.send_signal(signal.SIGUSR1)
        time.sleep(1)

    def sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left_s := deadline - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left_s, LOOK_EVERY_S))

    def until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            self.check()
            assert time.monotonic() < deadline, f"{what}: not within {timeout_s:.0f} s"
            time.sleep(LOOK_EVERY_S)

    def until_ready(self, name: str, timeout_s: float = 60.0) -> None:
        process = self.subjects[name].process
        try:
            self.until(lambda: process.status("/readyz") == 200, timeout_s, f"worker {name} is ready")
        except AssertionError as error:
            error.add_note(f"worker {name} says: {process.problem('/readyz')}")
            raise

    def until_alive(self, name: str) -> None:
        """Its state directory is its own, and it has begun."""
        process = self.subjects[name].process
        self.until(lambda: process.status("/healthz") == 200, 60.0, f"worker {name} is alive")

    # What happens to workers

    def stop(self, name: str) -> None:
        """Ask it to stop, which it must do in time and in order."""
        subject = self.subjects[name]
        self.until_alive(name)  # before that a signal ends it as it ends any process
        subject.should_run = False
        began = time.monotonic()
        try:
            status = subject.process.sigterm()
        except subprocess.TimeoutExpired:
            raise AssertionError(f"worker {name} did not stop within {STOPS_WITHIN_S:.0f} s") from None
        late = "it will be read again" in subject.said()  # of a broker that has only just come back
        assert status == 0 or late, f"worker {name} stopped with {status}:\n{subject.process.last_words()}"
        if late:
            self.say(f"          worker {name} gave up its last commits after {time.monotonic() - began:.1f} s")

    def until_frozen(self, name: str, timeout_s: float = PASSES_WITHIN_S) -> None:
        process = self.subjects[name].process.process
        assert process is not None
        stat = Path(f"/proc/{process.pid}/stat")
        self.until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", timeout_s, f"worker {name} is frozen")

    def light_fuse(self, name: str, point: str, passing: int, number: signal.Signals) -> None:
        """Let it kill or freeze itself at a crash point, and wait for that."""
        subject = self.subjects[name]
        self.until_ready(name)
        if number == signal.SIGKILL:
            subject.should_run = False
        subject.controls.light_fuse(point, passing, number)
        if number == signal.SIGKILL:
            self.until(lambda: not subject.process.running, PASSES_WITHIN_S, f"worker {name} dies {point}")
        else:
            self.until_frozen(name)
        self.began()

    def until_ended(self, name: str, *words: str, timeout_s: float = ENDS_WITHIN_S) -> None:
        """It must end by itself, with status 1, and its last words must be one line that holds these."""
        subject = self.subjects[name]
        self.until(lambda: not subject.process.running, timeout_s, f"worker {name} ends")
        assert_refused(subject.process, subject.said(), *words)

    @contextmanager
    def extra_worker(self, name: str, **settings: str) -> Iterator[Subject]:
        """One more, for a while."""
        subject = Subject(self.stage.with_settings(**settings), name, None)
        self.subjects[name] = subject
        try:
            yield subject
        finally:
            subject.kill()
            del self.subjects[name]

    def connect(self, name: str) -> socket.socket:
        """A connection to its HTTP port."""
        port = int(self.subjects[name].process.environment["NPS_HTTP_PORT"])
        return socket.create_connection(("127.0.0.1", port), timeout=5)


def assert_refused(process: WorkerProcess, said: str, *words: str) -> None:
    """It ended with status 1, and its last line says why, without a trace. (A fault before this one may have shown the
    client's.)
    """
    status = process.wait(0)
    assert status == 1, f"ended with {status}, not 1:\n{process.last_words()}"
    ending = said.rpartition("streams.app: stopping")[2]
    assert "Traceback" not in ending, f"a trace in place of a sentence:\n{process.last_words()}"
    last = said.splitlines()[-1]
    for word in words:
        assert word in last, f"the last line doesn't say {word!r}:\n{process.last_words()}"
