"""A real single-node Apache Kafka in KRaft mode for development and tests: start, stop, kill, pause, find.

Everything of one broker is in its data directory, in which the Java process runs:

    server.properties   what it was started with; the addresses stay the same from start to start
    log/                Kafka's own files
    broker.log          what it said
    broker.json         the process: pid, when it started, its address

It listens on 127.0.0.1 only. A broker started here is a child that dies with the Python process that started it,
however that one ends (a watcher process sees to it); `detached=True` leaves it running, for `nps broker start`.
"""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streams.broker_address import HOST, answers, free_port, ports_before, refuse_taken_port
from streams.broker_jars import (
    KAFKA_VERSION,
    BrokerError,
    broker_files,
    fetch_jars,
    java_command,
    java_problem,
    maven_problem,
)

__all__ = [
    "KAFKA_VERSION",
    "Broker",
    "BrokerError",
    "RunningBroker",
    "broker_problem",
    "find_broker",
    "free_port",
    "java_problem",
    "maven_problem",
    "stop_broker",
]

_POLL_S: Final = 0.05
_FORMAT_TIMEOUT_S: Final = 60

# Runs beside a broker that must not outlive its starter. It waits on process descriptors: a pid may be given anew.
_WATCHER: Final = """
import os, select, signal, sys
try:
    starter, broker = (os.pidfd_open(int(pid)) for pid in sys.argv[1:])
except ProcessLookupError:
    os.kill(int(sys.argv[2]), signal.SIGKILL)
    sys.exit()
poll = select.poll()
poll.register(starter, select.POLLIN)
poll.register(broker, select.POLLIN)
ended = [descriptor for descriptor, _ in poll.poll()]
if broker not in ended:
    signal.pidfd_send_signal(broker, signal.SIGKILL)
"""


def broker_problem() -> str | None:
    """Return one sentence that says what to install before a broker can be started here, else None."""
    return java_problem() or maven_problem()


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker's process as another process sees it, read from its data directory."""

    pid: int
    bootstrap_servers: str
    kafka_version: str
    started_at_s: float
    """Seconds since the epoch."""


def find_broker(data_dir: Path) -> RunningBroker | None:
    """Return the broker that runs in `data_dir`, or None. A pid that now belongs to something else is no broker."""
    try:
        found = RunningBroker(**json.loads((data_dir / "broker.json").read_text()))
        command = Path(f"/proc/{found.pid}/cmdline").read_bytes().split(b"\0")
        runs_in = Path(f"/proc/{found.pid}/cwd").resolve(strict=True)
    except (OSError, ValueError, TypeError):
        return None
    return found if b"kafka.Kafka" in command and runs_in == data_dir.resolve() else None


def stop_broker(data_dir: Path, timeout_s: float = 20) -> RunningBroker | None:
    """Stop the broker that runs in `data_dir`, whoever started it, and return what it was; None when there is none.

    It has `timeout_s` to end in order, then it is killed.
    """
    found = find_broker(data_dir)
    if found is None:
        return None
    try:
        process = os.pidfd_open(found.pid)
    except ProcessLookupError:  # ended just now
        return None
    try:
        # Found once more: from here on the descriptor cannot come to mean another process.
        if find_broker(data_dir) == found:
            signal.pidfd_send_signal(process, signal.SIGTERM)
            if not select.select([process], [], [], timeout_s)[0]:
                signal.pidfd_send_signal(process, signal.SIGKILL)
                select.select([process], [], [])
    finally:
        os.close(process)
    (data_dir / "broker.json").unlink(missing_ok=True)
    return found


class Broker:
    """One broker on one data directory. Not for use from two threads at once.

    `port` and `controller_port`: None takes the ones that this data directory had before, else free ones. `listeners`:
    further ones beside PLAINTEXT, name → security protocol, on loopback and free ports too (see `address_of`).
    `extra_properties` are put last into server.properties, so they win. `short_lived`: for some minutes, in which
    compiling the broker's code as well as Java can would take half a core.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        controller_port: int | None = None,
        listeners: Mapping[str, str] | None = None,
        heap_min: str = "512m",
        heap_max: str = "1g",
        extra_properties: Mapping[str, str] | None = None,
        detached: bool = False,
        short_lived: bool = False,
    ) -> None:
        self.data_dir = data_dir.resolve()
        before = ports_before(self.data_dir)
        self.port = port or before.get("PLAINTEXT") or free_port()
        self.controller_port = controller_port or before.get("CONTROLLER") or free_port()
        self._protocols = dict(listeners or {})
        self._ports = {name: before.get(name) or free_port() for name in self._protocols}
        self._java_options = [f"-Xms{heap_min}", f"-Xmx{heap_max}"]
        if short_lived:
            self._java_options.append(_QUICK_COMPILER)
        self._extra_properties = dict(extra_properties or {})
        self._detached = detached
        self._java: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients, host:port."""
        return f"{HOST}:{self.port}"

    def address_of(self, listener: str) -> str:
        """The address for clients of a further listener, host:port."""
        return f"{HOST}:{self._ports[listener]}"

    @property
    def pid(self) -> int:
        """The Java process; raises BrokerError when it does not run."""
        return self._running().pid

    @property
    def log_file(self) -> Path:
        """What the broker says, over all its starts."""
        return self.data_dir / "broker.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, timeout_s: float = 60) -> None:
        """Start the broker and return once it answers clients; formats a new data directory first.

        Fetches Kafka's jars when they are not in the cache, outside `timeout_s`. Raises BrokerError.
        """
        problem = java_problem()
        if problem:
            raise BrokerError(problem)
        found = find_broker(self.data_dir)
        if found is not None:
            raise BrokerError(f"A broker runs in {self.data_dir} already: pid {found.pid}, {found.bootstrap_servers}.")
        refuse_taken_port(self.port)
        classpath = f"{fetch_jars()}/*"
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            (self.data_dir / "server.properties").write_text(self._properties(), encoding="ascii")
            self.log_file.touch()
        except OSError as error:
            raise BrokerError(
                f"The broker's data directory {self.data_dir} cannot be used ({error.strerror}): "
                "name one that can be written, with --data-dir."
            ) from None
        if not (self.data_dir / "log" / "meta.properties").exists():
            self._format(classpath)
        deadline = time.monotonic() + timeout_s
        with self.log_file.open("ab") as log:
            self._java = self._spawn(
                [java_command(), *self._java_options, *_JVM, "-cp", classpath, "kafka.Kafka", "server.properties"],
                log.fileno(),
            )
        if not self._detached:
            self._watcher = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _WATCHER, str(os.getpid()), str(self._java.pid)],
                start_new_session=True,
            )
        try:
            self._wait_until_ready(deadline, timeout_s)
        except BaseException:
            self.kill()
            raise
        running = {
            "pid": self._java.pid,
            "bootstrap_servers": self.bootstrap_servers,
            "kafka_version": KAFKA_VERSION,
            "started_at_s": time.time(),
        }
        (self.data_dir / "broker.json").write_text(json.dumps(running))

    def stop(self, timeout_s: float = 20) -> None:
        """End the broker in order, or by force after `timeout_s`. Does nothing when it does not run."""
        if self._java is None:
            return
        self.resume()
        self._java.terminate()
        try:
            self._java.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._java.kill()
        self._clean_up()

    def kill(self) -> None:
        """End the broker at once, as a crash would (SIGKILL). Does nothing when it does not run."""
        if self._java is None:
            return
        self._java.kill()
        self._clean_up()

    def restart(self, timeout_s: float = 60) -> None:
        """Stop the broker if it runs, then start it on the same data and the same ports."""
        self.stop()
        self.start(timeout_s)

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP): its connections stay open and nothing answers. Returns once all of it is."""
        java = self._running()
        java.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, java.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a paused broker go on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._java is None or self._java.poll() is not None:
            raise BrokerError(f"The broker in {self.data_dir} does not run.")
        return self._java

    def _clean_up(self) -> None:
        assert self._java is not None
        self._java.wait()
        self._java = None
        if self._watcher is not None:
            self._watcher.wait()
            self._watcher = None
        (self.data_dir / "broker.json").unlink(missing_ok=True)

    def _properties(self) -> str:
        addresses = {"PLAINTEXT": self.bootstrap_servers, **{name: self.address_of(name) for name in self._ports}}
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **self._protocols}
        controller = f"{HOST}:{self.controller_port}"
        for_clients = ",".join(f"{name}://{address}" for name, address in addresses.items())
        added = {
            "listeners": f"{for_clients},CONTROLLER://{controller}",
            "advertised.listeners": for_clients,
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "controller.quorum.bootstrap.servers": controller,
            **self._extra_properties,
        }
        template = (broker_files() / "server.properties").read_text(encoding="ascii")
        return template + "\n" + "".join(f"{name}={value}\n" for name, value in added.items())

    def _spawn(self, command: list[str], output: int) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C at the terminal is for whoever started the broker, who then stops it last.
        return subprocess.Popen(
            command,
            cwd=self.data_dir,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def _format(self, classpath: str) -> None:
        # 16 bytes in base64, as Kafka's own random-uuid; a leading hyphen would be read as an option.
        cluster_id = "-"
        while cluster_id.startswith("-"):
            cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = [
            java_command(),
            "-XX:TieredStopAtLevel=1",
            *_JVM,
            "-cp",
            classpath,
            "kafka.tools.StorageTool",
            "format",
        ]
        command += ["--standalone", "--cluster-id", cluster_id, "--config", "server.properties"]
        with self.log_file.open("ab") as log:
            tool = self._spawn(command, log.fileno())
        try:
            status = tool.wait(_FORMAT_TIMEOUT_S)
        except BaseException:  # interrupted, or too slow: it must not go on in a directory that may be removed
            tool.kill()
            tool.wait()
            raise
        if status != 0:
            raise BrokerError(f"The broker's data directory could not be formatted: {self._last_words()}")

    def _wait_until_ready(self, deadline: float, timeout_s: float) -> None:
        assert self._java is not None
        while not answers(self.port):
            if self._java.poll() is not None:
                raise BrokerError(f"The broker ended while starting: {self._last_words()}")
            if time.monotonic() > deadline:
                raise BrokerError(f"The broker did not answer within {timeout_s:g} s: {self._last_words()}")
            time.sleep(_POLL_S)

    def _last_words(self) -> str:
        """Return the last error in the log, else its last line, and where the log is."""
        lines = self.log_file.read_text(errors="replace").splitlines()[-500:]
        errors = [line for line in lines if "ERROR" in line or "Exception" in line]
        return f"{(errors or lines or ['it said nothing'])[-1].strip()} (log: {self.log_file})"


# slf4j-simple is set up by system properties. Two loggers are quieter, as they print all settings at each start.
_JVM: Final = (
    "-XX:+UseG1GC",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
    "-Dorg.slf4j.simpleLogger.levelInBrackets=true",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn",
)


_QUICK_COMPILER: Final = "-XX:TieredStopAtLevel=1"
