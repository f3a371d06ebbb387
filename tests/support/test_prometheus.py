"""The means of tests that ask a real Prometheus."""

from __future__ import annotations

import http.server
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.prometheus_binaries import Binaries, PrometheusError
from tests.support.prometheus_server import PrometheusServer, scraping

ROOT = Path(__file__).parents[2]


class Exposition(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b'things{kind="a"} 2\nthings{kind="b"} 3\nodd NaN\n')

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def target() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exposition) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_scrapes_evaluates_and_answers(prometheus: Binaries, target: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: [{name: g, rules: [{record: all, expr: sum(things)}, {alert: Odd, expr: all > 4}]}]")
    with PrometheusServer(tmp_path / "p", scraping([target], rule_files=[rules], interval_s=0.2)) as server:
        server.wait_scraped(1)
        assert server.values("things", "kind") == {("a",): 2, ("b",): 3}
        assert math.isnan(server.value("odd"))
        assert server.value("1 / 0") == math.inf
        deadline = time.monotonic() + 20
        while not server.alerts() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [alert["labels"]["alertname"] for alert in server.alerts()] == ["Odd"]
        assert {(rule["name"], rule["health"]) for rule in server.rules()} == {("all", "ok"), ("Odd", "ok")}
        assert [found["health"] for found in server.targets()] == ["up"]
        (series,) = server.query_range("all", time.time() - 1, time.time(), 0.2)
        assert {value for _, value in series.samples} == {5}
        with pytest.raises(AssertionError, match="finds 2 series"):
            server.value("things")
        with pytest.raises(PrometheusError, match="parse error"):
            server.query("sum(")
        pid = server.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_configuration_that_is_refused_is_told(prometheus: Binaries, tmp_path: Path) -> None:
    with pytest.raises(PrometheusError, match="nonsense"):
        PrometheusServer(tmp_path, {"nonsense": 1}).start()


@pytest.mark.parametrize(
    ("prints", "problem"),
    [
        (None, "no prometheus with its promtool was found"),
        ("prometheus, version 2.31.2+ds1 (branch: debian/sid)", "2.31 was found"),
        ("nonsense", "does not start"),
        ("prometheus, version 2.42.0+ds (branch: debian/sid)", None),
        ("prometheus, version 3.5.0 (branch: HEAD)", None),
    ],
)
def test_what_is_missing_is_told(tmp_path: Path, prints: str | None, problem: str | None) -> None:
    """As a process of its own, where only these programs are on the PATH: no apt-get, nothing in the cache."""
    if prints:
        for name in ("prometheus", "promtool"):
            (tmp_path / name).write_text(f"#!/bin/sh\necho '{prints}'\n")
            (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.prometheus_binaries"],
        env={"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if problem is None:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 1
        assert problem in done.stderr
        assert "make prometheus" in done.stderr
