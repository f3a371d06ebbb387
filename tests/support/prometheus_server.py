"""A real Prometheus with a data directory of its own, on loopback: scrape, evaluate rules, ask it in PromQL.

    with PrometheusServer(tmp_path / "prometheus", scraping([f"127.0.0.1:{port}"], rule_files=RULES)) as prometheus:
        prometheus.wait_scraped(1)
        assert prometheus.value("sum(up)") == 1

Times are in seconds, instants in seconds since the epoch.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from streams.broker import free_port
from tests.support.prometheus_binaries import PrometheusError, find_binaries

ROOT = Path(__file__).parents[2]
RULES = tuple(sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")))
"""The rule files that are deployed."""

STARTS_WITHIN_S = 60.0
STOPS_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Series:
    """Labels, `__name__` among them where there is one, and samples: (instant, value), ascending."""

    labels: dict[str, str]
    samples: list[tuple[float, float]]

    @property
    def value(self) -> float:
        """The last sample's."""
        return self.samples[-1][1]


def scraping(
    targets: Iterable[str],
    *,
    rule_files: Sequence[Path] = (),
    job: str = "nps",
    interval_s: float = 1,
    evaluation_interval_s: float | None = None,
) -> dict[str, Any]:
    """A configuration that scrapes `targets` (host:port) and evaluates the rules, each every so many seconds."""
    return {
        "global": {
            "scrape_interval": duration(interval_s),
            "scrape_timeout": duration(interval_s),
            "evaluation_interval": duration(evaluation_interval_s or interval_s),
        },
        "rule_files": [str(path.resolve()) for path in rule_files],
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": list(targets)}]}],
    }


def duration(seconds: float) -> str:
    """As Prometheus writes it, to the millisecond."""
    return f"{round(seconds * 1000)}ms"


class PrometheusServer:
    """Prometheus in a subprocess. Use as a context manager: whatever happens, the process is gone at the end.

    `config` is that of prometheus.yml. `data_dir` is made; what was in it before stays, such as blocks that
    `promtool tsdb create-blocks-from` wrote into `data_dir / "tsdb"`.
    """

    def __init__(self, data_dir: Path, config: Mapping[str, Any]) -> None:
        self.data_dir = data_dir.resolve()
        self.config = dict(config)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = self.data_dir / "prometheus.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process, which must run."""
        assert self._process is not None, "Prometheus was not started"
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None:
            error.add_note(f"Prometheus said last:\n{self._last_words()}")

    def start(self, timeout_s: float = STARTS_WITHIN_S) -> None:
        """Start it and return once it answers queries; raises PrometheusError."""
        program = find_binaries().prometheus
        self.data_dir.mkdir(parents=True, exist_ok=True)
        config_file = self.data_dir / "prometheus.yml"
        config_file.write_text(yaml.safe_dump(self.config, sort_keys=False))
        command = [
            str(program),
            f"--config.file={config_file}",
            f"--storage.tsdb.path={self.data_dir / 'tsdb'}",
            "--storage.tsdb.retention.time=10y",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.data_dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_ready(timeout_s)
        except BaseException:
            self.stop()
            raise

    def _wait_ready(self, timeout_s: float) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5):
                    return
            except OSError:  # refused, or 503 until it is ready
                pass
            if self._process.poll() is not None:
                raise PrometheusError(f"Prometheus ended while starting:\n{self._last_words()}")
            if time.monotonic() > deadline:
                raise PrometheusError(f"Prometheus was not ready within {timeout_s:g} s:\n{self._last_words()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it. Does nothing when it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    # What it knows

    def query(self, promql: str, at_s: float | None = None) -> list[Series]:
        """What an instant query finds, now or at an instant, each with one sample. A scalar has no labels."""
        found = self._get("query", query=promql, **({} if at_s is None else {"time": f"{at_s:.3f}"}))
        if found["resultType"] == "scalar":
            return [Series({}, [_sample(found["result"])])]
        return [
            Series(series["metric"], [_sample(sample) for sample in series.get("values") or [series["value"]]])
            for series in found["result"]
        ]

    def value(self, promql: str, at_s: float | None = None) -> float:
        """The one value that an instant query finds; AssertionError where it finds none or several."""
        found = self.query(promql, at_s)
        assert len(found) == 1, f"{promql} finds {len(found)} series, not 1: {found[:3]}"
        return found[0].value

    def values(self, promql: str, *labels: str, at_s: float | None = None) -> dict[tuple[str, ...], float]:
        """What an instant query finds, by the values of these labels ("" where one is missing)."""
        found = self.query(promql, at_s)
        by_labels = {tuple(series.labels.get(label, "") for label in labels): series.value for series in found}
        assert len(by_labels) == len(found), f"{promql}: {labels} do not tell the series apart"
        return by_labels

    def query_range(self, promql: str, start_s: float, end_s: float, step_s: float) -> list[Series]:
        """What a range query finds."""
        found = self._get("query_range", query=promql, start=f"{start_s:.3f}", end=f"{end_s:.3f}", step=f"{step_s:.3f}")
        return [
            Series(series["metric"], [_sample(sample) for sample in series["values"]]) for series in found["result"]
        ]

    def targets(self) -> list[dict[str, Any]]:
        """Active targets as the API tells them: `scrapeUrl`, `health`, `lastError`, …"""
        active: list[dict[str, Any]] = self._get("targets", state="active")["activeTargets"]
        return active

    def rules(self) -> list[dict[str, Any]]:
        """Every rule as the API tells it: `type`, `name`, `health`, `lastError`, of an alert also `state`, …"""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def alerts(self) -> list[dict[str, Any]]:
        """Alerts that are pending or firing, as the API tells them: `labels`, `annotations`, `state`, …"""
        alerts: list[dict[str, Any]] = self._get("alerts")["alerts"]
        return alerts

    def wait_scraped(self, count: int, timeout_s: float = 30) -> None:
        """Return once so many targets are up."""
        deadline = time.monotonic() + timeout_s
        while sum(series.value for series in self.query("up")) < count:
            assert time.monotonic() < deadline, [(at["scrapeUrl"], at["lastError"]) for at in self.targets()]
            time.sleep(0.1)

    def _get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of the API; a refusal raises PrometheusError with its reason."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            body = error.read().decode(errors="replace")
            raise PrometheusError(f"Prometheus answers {error.code} to {parameters}: {body}") from None

    def _last_words(self, lines: int = 40) -> str:
        if not self.log_file.exists():
            return "nothing"
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])


def _sample(pair: Sequence[Any]) -> tuple[float, float]:
    """Values travel as text: "12.5", "NaN", "+Inf"."""
    at_s, text = pair
    return float(at_s), math.inf if text == "+Inf" else float(text)
