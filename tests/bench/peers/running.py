"""One run of one peer, watched from outside, and compared with the oracle.

The input is all there before the peer starts: it catches up. CPU (user and system, the whole tree of processes) is read
when the peer says that it has its first record, so that start-up is left out, and at the last change of anything that
the run moves: its group's offsets and the `read_committed` ends of its topics. These are looked at every 0.2 s, so a
figure may hold 0.2 s too much.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from streams.broker import Broker
from tests.bench.measuring import Load
from tests.bench.peers.oracle import Counts, outcome
from tests.bench.peers.reading import Read, outcome_of
from tests.support.corpus import Produced
from tests.support.kafka_reading import committed_offsets, publish
from tests.support.worker import ROOT

LOOK_INTERVAL_S = 0.2
QUIET_S = 4.0
"""Nothing changed for so long: more than two of the longest commit interval."""
TIMEOUT_S = 600.0
STOPS_WITHIN_S = 40.0

Offsets = dict[tuple[str, int], int]
"""(Topic, partition) → offset."""


@dataclass(frozen=True)
class Peer:
    """A program that does the work, and how its counters are read."""

    command: Callable[[], Sequence[str]]
    counts: Callable[[Read], Counts]


@dataclass(frozen=True)
class Figures:
    """What a run took."""

    responses: int
    cpu_us: float
    """A response."""
    broker_cpu_us: float
    wall_s: float
    memory_mb: float
    """Most resident memory."""
    problem: str | None
    """In what it is not exact."""


@dataclass(frozen=True)
class _Clock:
    at_s: float
    cpu_s: float
    broker_cpu_s: float


class _Process:
    """A peer's process. What it writes goes to a log, but for the mark of its first record."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log_file: Path, broker_pid: int) -> None:
        self._broker = psutil.Process(broker_pid)
        self._log_file = log_file
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("NPS_")}
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.began: _Clock | None = None
        self.most_bytes = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._log_file.open("w") as log:
            for line in self._process.stdout:
                if self.began is None and line.strip() == "first record":
                    self.began = self.clock()
                log.write(line)
                log.flush()

    def clock(self) -> _Clock:
        spent_s = 0.0
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):  # a child of it may end at any moment
                taken = process.cpu_times()
                spent_s += taken.user + taken.system
        brokers = self._broker.cpu_times()
        return _Clock(time.monotonic(), spent_s, brokers.user + brokers.system)

    def look_at_memory(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self.most_bytes = max(self.most_bytes, sum(process.memory_info().rss for process in self._tree()))

    def check_running(self) -> None:
        if self._process.poll() is not None:
            raise PeerFailed(f"ended with status {self._process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        lines = self._log_file.read_text(errors="replace").splitlines()
        return "\n".join(lines[-20:])

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _tree(self) -> list[psutil.Process]:
        top = psutil.Process(self._process.pid)
        return [top, *top.children(recursive=True)]


class PeerFailed(Exception):
    """A peer did not come to its end."""


class _Topics:
    """The topics of one run, all of whose names have its group in them."""

    def __init__(self, servers: str, group: str) -> None:
        self._servers = servers
        self._admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        self.group = group
        self.input = f"{group}-responses"
        self.output = f"{group}-events"

    def create(self, partitions: int) -> None:
        # Without end: Kafka Streams gives its records the answers' own times, which may be long ago.
        config = {"retention.ms": "-1"}
        topics = [NewTopic(topic, partitions, 1, config=config) for topic in (self.input, self.output)]
        for made in self._admin.create_topics(topics).values():
            made.result()

    def delete(self) -> None:
        for deleted in self._admin.delete_topics([*self.partitions()]).values():
            deleted.result()

    def partitions(self) -> dict[str, int]:
        topics = self._admin.list_topics(timeout=30).topics
        return {topic: len(metadata.partitions) for topic, metadata in topics.items() if self.group in topic}

    def ends(self) -> Offsets:
        asked = {
            TopicPartition(topic, partition): OffsetSpec.latest()
            for topic, count in self.partitions().items()
            for partition in range(count)
        }
        found = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
        return {(at.topic, at.partition): future.result().offset for at, future in found.items()}

    def committed(self) -> Offsets:
        """The group's offsets of what it consumes: the input, and a topic that it repartitions by."""
        consumed = [
            topic
            for topic in self.partitions()
            if topic == self.input or ("repartition" in topic and "changelog" not in topic)
        ]
        return {
            (topic, partition): offset or 0
            for topic in consumed
            for partition, offset in committed_offsets(self._servers, self.group, topic).items()
        }

    def is_behind(self, ends: Offsets, committed: Offsets) -> bool:
        """An offset may lack the marker of the last transaction in a topic, which nobody has to consume."""
        return any(
            offset < ends.get((topic, partition), 0) - (0 if topic == self.input else 1)
            for (topic, partition), offset in committed.items()
        )


class PeerBench:
    """A broker, and runs on it, each with topics of its own."""

    def __init__(self, broker: Broker, directory: Path) -> None:
        self._broker = broker
        self._directory = directory
        self._runs = 0

    def run(self, name: str, peer: Peer, load: Load, seed: int) -> Figures:
        """Raises PeerFailed when there is nothing to compare."""
        self._runs += 1
        servers = self._broker.bootstrap_servers
        topics = _Topics(servers, f"peers-{self._runs}-{name}")
        records = load.records(seed)
        topics.create(load.partitions)
        try:
            publish(servers, topics.input, records, TIMEOUT_S)
            with self._started(peer, topics) as process:
                ended = _until_done(topics, process)
            assert process.began is not None
            problem = _problem(servers, topics, peer, records)
        finally:
            topics.delete()
        began = process.began
        return Figures(
            load.count,
            (ended.cpu_s - began.cpu_s) / load.count * 1e6,
            (ended.broker_cpu_s - began.broker_cpu_s) / load.count * 1e6,
            ended.at_s - began.at_s,
            process.most_bytes / 1e6,
            problem,
        )

    @contextmanager
    def _started(self, peer: Peer, topics: _Topics) -> Iterator[_Process]:
        state = self._directory / f"{topics.group}-state"
        state.mkdir()
        environment = {
            "PEER_BOOTSTRAP_SERVERS": self._broker.bootstrap_servers,
            "PEER_GROUP": topics.group,
            "PEER_INPUT": topics.input,
            "PEER_OUTPUT": topics.output,
            "PEER_STATE_DIR": str(state),
        }
        log = self._directory / f"{topics.group}.log"
        process = _Process(peer.command(), environment, log, self._broker.pid)
        try:
            yield process
        finally:
            process.stop()
            shutil.rmtree(state, ignore_errors=True)


def _until_done(topics: _Topics, process: _Process) -> _Clock:
    """Return the clock at the last change, once nothing is left to do and nothing changes any more."""
    deadline = time.monotonic() + TIMEOUT_S
    seen: Any = None
    changed = process.clock()
    while True:
        process.check_running()
        process.look_at_memory()
        with suppress(KafkaException):  # a topic or a group made a moment ago has no leader or coordinator yet
            ends, committed = topics.ends(), topics.committed()
            if (ends, committed) != seen:
                seen, changed = (ends, committed), process.clock()
            behind = process.began is None or topics.is_behind(ends, committed)
            if not behind and time.monotonic() - changed.at_s > QUIET_S:
                return changed
        if time.monotonic() > deadline:
            raise PeerFailed(f"was not done within {TIMEOUT_S:g} s: {process.last_words()}")
        time.sleep(LOOK_INTERVAL_S)


def _problem(servers: str, topics: _Topics, peer: Peer, records: Sequence[Produced]) -> str | None:
    """In what the peer's outcome is not exact, or not even to be read."""
    try:
        found = outcome_of(servers, [*topics.partitions()], topics.output, peer.counts)
    except (AssertionError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return found.difference(outcome(records))
