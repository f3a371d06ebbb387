"""A worker as its users run it: a process of its own, configured by the environment, watched over HTTP and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
NPS_WORKER = ("streams.cli", "worker")
STARTS_WITHIN_S = 60.0
STOPS_WITHIN_S = 10.0

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""(name, sorted labels) → value."""


class WorkerProcess:
    """`nps worker` in a subprocess. Use as a context manager: whatever happens, the process is gone at the end.

    `environment` holds NPS_… settings; NPS_HTTP_PORT must be among them. What it writes goes to `log_file`. `module`
    names another module to run in its place, and its arguments; `root` another checkout of this project to run it from.
    """

    def __init__(
        self, environment: Mapping[str, str], log_file: Path, module: Sequence[str] = NPS_WORKER, root: Path = ROOT
    ) -> None:
        self.environment = dict(environment)
        self.log_file = log_file
        self.module = tuple(module)
        self.root = root
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.sigkill()
        if error is not None:
            error.add_note(f"worker {self.log_file.name} said last:\n{self.last_words()}")

    def start(self) -> None:
        """Start it (again) and return at once."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("NPS_")}
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.module],
                cwd=self.root,
                env={**inherited, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def check_running(self) -> None:
        """Raise AssertionError when it has ended by itself."""
        assert self.process is not None, "the worker was not started"
        status = self.process.poll()
        assert status is None, f"the worker ended with status {status}:\n{self.last_words()}"

    def wait_ready(self, timeout_s: float = STARTS_WITHIN_S) -> None:
        """Return once `/readyz` answers 200."""
        deadline = time.monotonic() + timeout_s
        while self.status("/readyz") != 200:
            self.check_running()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the worker was not ready within {timeout_s:g} s:\n{self.last_words()}")
            time.sleep(0.1)

    def sigterm(self, timeout_s: float = STOPS_WITHIN_S) -> int:
        """Ask it to stop in order; return its exit status. A worker that takes longer raises TimeoutExpired."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def sigkill(self) -> None:
        """End it as a crash would. Does nothing when it does not run."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def freeze(self) -> None:
        """Stop its clock (SIGSTOP): its connections stay open, it neither knows nor does anything."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.wait_frozen()

    def wait_frozen(self, timeout_s: float = STARTS_WITHIN_S) -> None:
        """Return once it stands still (or has ended), whoever stopped it."""
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        while os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the worker did not stand still within {timeout_s:g} s:\n{self.last_words()}")
            time.sleep(0.02)

    def thaw(self) -> None:
        """Let a frozen one go on (SIGCONT)."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def wait(self, timeout_s: float) -> int:
        """Wait until it ends by itself; return its exit status."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    # What it says

    def get(self, path: str, timeout_s: float = 10, **headers: str) -> bytes:
        """The body of a GET; raises urllib's errors."""
        url = f"http://127.0.0.1:{self.environment['NPS_HTTP_PORT']}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout_s) as answer:
            body: bytes = answer.read()
            return body

    def status(self, path: str) -> int | None:
        """The status of a GET, None when nobody answers."""
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None
        return 200

    def problem(self, path: str) -> str:
        """What a GET that fails says of it."""
        try:
            return self.get(path).decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError as error:
            return f"nothing ({error})"

    def scores(self, query: str = "") -> dict[str, Any]:
        """What `/v1/scores` answers."""
        answer: dict[str, Any] = json.loads(self.get("/v1/scores" + query))
        return answer

    def conversions(self, query: str = "") -> dict[str, Any]:
        """What `/v1/conversions` answers."""
        answer: dict[str, Any] = json.loads(self.get("/v1/conversions" + query))
        return answer

    def metrics(self) -> Samples:
        """Every sample of `/metrics`."""
        families = text_string_to_metric_families(self.get("/metrics", timeout_s=60).decode())
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    def last_words(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log().splitlines()[-lines:])

    def log(self) -> str:
        """All that it wrote, over all its starts."""
        return self.log_file.read_text(errors="replace")


def worker_environment(
    bootstrap_servers: str, prefix: str, group_id: str, port: int, state_dir: Path, partitions: int, **settings: str
) -> dict[str, str]:
    """The settings that every test needs; further ones by their names without `NPS_`, in lower case."""
    return {
        "NPS_BOOTSTRAP_SERVERS": bootstrap_servers,
        "NPS_TOPIC_PREFIX": prefix,
        "NPS_GROUP_ID": group_id,
        "NPS_HTTP_PORT": str(port),
        "NPS_STATE_DIR": str(state_dir),
        "NPS_PARTITIONS": str(partitions),
        **{f"NPS_{name.upper()}": value for name, value in settings.items()},
    }
