"""`nps scores` against an HTTP server that answers as a worker does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import pytest
from typer.testing import CliRunner, Result

from streams.broker import free_port
from streams.cli.application import app


def row(segment: str, window: str, nps: float | None, responses: int, **more: Any) -> dict[str, Any]:
    return {
        "survey_id": "relationship", "segment": segment, "window": window, "as_of": "2026-11-22T10:00:00Z",
        "responses": responses, "promoters": 5, "passives": 1234, "detractors": 2, "sevens": 1000, "eights": 234,
        "nps": nps, "nps_low": None if nps is None else nps - 10.06, "nps_high": None if nps is None else nps + 10,
        "passive_share": None if nps is None else 0.5049, "csat_mean": None, "csat_responses": 0,
        "small_sample": responses < 30, "answered": 3, "answered_share": None if nps is None else 0.1,
    } | more  # fmt: skip


ROWS = [
    row("country=NO", "7d", -0.04, 29),
    row("all", "30d", 31.25, 31_000, csat_mean=4.125, csat_responses=8),
    row("all", "7d", 33.349, 30),
    row("all", "12h", None, 0),
]


class Worker(BaseHTTPRequestHandler):
    """Answers with ROWS, and remembers what it was asked."""

    status: ClassVar[int] = 200
    answer: ClassVar[dict[str, Any]] = {}
    asked: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        assert urlsplit(self.path).path == f"/v1/{[*self.answer][-1]}" or self.status != 200
        self.asked.append(dict(parse_qsl(urlsplit(self.path).query)))
        body = json.dumps(self.answer).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None: ...  # noqa: A002


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setattr(Worker, "answer", {"as_of": "2026-11-22T10:00:00Z", "complete": True, "scores": ROWS})
    monkeypatch.setattr(Worker, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Worker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def run(worker: ThreadingHTTPServer, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["scores", *arguments], env={"NPS_HTTP_PORT": str(worker.server_port)})


def test_the_table_rounds_once_and_sorts_for_people(worker: ThreadingHTTPServer) -> None:
    result = run(worker)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [(line[1], line[2]) for line in lines[1:5]] == [
        ("all", "12h"), ("all", "7d"), ("all", "30d"), ("country=NO", "7d"),
    ]  # fmt: skip
    assert lines[1][3:] == ["-*", "-", "0", "5", "1,234", "1,000", "234", "2", "-", "-", "-"]
    assert lines[2][3:8] == ["+33.3", "+23.3", "…", "+43.3", "30"]
    assert lines[3][-3:] == ["50%", "10%", "4.12"]
    assert lines[4][3:6] == ["+0.0*", "-10.1", "…"]
    assert "as of 2026-11-22T10:00:00Z; * fewer than 30 responses" in result.stdout
    assert "incomplete" not in result.stdout


def test_json_is_the_workers_answer(worker: ThreadingHTTPServer) -> None:
    assert json.loads(run(worker, "--json").stdout) == Worker.answer


def test_filters_are_asked_of_the_worker(worker: ThreadingHTTPServer) -> None:
    run(worker, "--survey", "relationship", "--segment", "country=NO+plan=a%2Bb", "--window", "7d")
    run(worker, "--url", f"http://127.0.0.1:{worker.server_port}/", "--window", "1d")
    assert Worker.asked == [
        {"survey_id": "relationship", "segment": "country=NO+plan=a%2Bb", "window": "7d"},
        {"window": "1d"},
    ]


def test_incomplete_and_empty_answers_are_said(worker: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "answer", {"as_of": "2026-11-22T10:00:00Z", "complete": False, "scores": []})
    assert "incomplete: not every partition has been read yet; no responses" in run(worker).stdout


def test_a_refusal_is_told_in_the_workers_words(worker: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "status", 503)
    monkeypatch.setattr(Worker, "answer", {"title": "Not ready", "detail": "partitions are being restored"})
    result = run(worker)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"nps: http://127.0.0.1:{worker.server_port} answered 503: partitions are being restored\n"


def test_no_worker_is_one_sentence() -> None:
    port = free_port()
    result = CliRunner().invoke(app, ["scores"], env={"NPS_HTTP_PORT": str(port), "NPS_HTTP_HOST": "0.0.0.0"})
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"nps: no worker answers at http://127.0.0.1:{port} ")
    assert len(result.stderr.splitlines()) == 1


def test_watching_goes_on_until_ctrl_c(worker: ThreadingHTTPServer) -> None:

    with subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "scores", "--watch", "--json"],
        env={**os.environ, "NPS_HTTP_PORT": str(worker.server_port), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            answers = [json.loads(process.stdout.readline()) for _ in range(2)]
            assert answers == [Worker.answer] * 2
            process.send_signal(signal.SIGINT)
            assert process.wait(15) == 0
            assert process.stderr.read() == b""
        finally:
            process.kill()


def test_watching_into_a_pipe_shows_each_table(worker: ThreadingHTTPServer) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "scores", "--watch"],
        env={**os.environ, "NPS_HTTP_PORT": str(worker.server_port)},
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(2 * (len(ROWS) + 2))]
            assert lines[: len(ROWS) + 2] == lines[len(ROWS) + 2 :]
            assert lines[0].startswith(b"Survey")
        finally:
            process.kill()


CONVERSIONS = {
    "survey_id": "relationship", "segment": "all", "window": "90d", "reason": "value_for_price", "action": "incentive",
    "cases": 1200, "contacted": 900, "contacted_in_time": 850, "overdue": 300, "converted": 250, "left": 30,
    "withdrawn": 10, "erased": 1, "days_to_convert": 5000.0, "conversion": 0.21008, "conversion_low": 0.188,
    "conversion_high": 0.2341, "small_sample": False, "mature_cases": 800, "mature_converted_90d": 200,
}  # fmt: skip
YOUNG = CONVERSIONS | {
    "action": "none", "conversion": None, "converted": 0, "mature_cases": 0, "small_sample": True,
}  # fmt: skip


def test_conversions_are_shown_with_what_they_are_told_apart_by(
    worker: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"as_of": "2026-11-22T10:00:00Z", "complete": True, "by": ["reason", "action"]}
    monkeypatch.setattr(Worker, "answer", {**answer, "conversions": [CONVERSIONS, YOUNG]})
    environment = {"NPS_HTTP_PORT": str(worker.server_port)}
    arguments = ["conversions", "--survey", "relationship", "--by", "reason,action"]
    shown = CliRunner().invoke(app, arguments, env=environment)
    assert shown.exit_code == 0
    assert Worker.asked == [{"survey_id": "relationship", "by": "reason,action"}]
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert lines[1] == [
        *("relationship", "all", "90d", "value_for_price", "incentive", "1,200", "900", "850", "300", "250", "30"),
        *("21.0%", "18.8%", "…", "23.4%", "20.0", "25.0%"),
    ]
    assert lines[2][-5:] == ["30", "-*", "-", "-", "-"]
    assert "* fewer than 30 cases" in shown.stdout
    as_json = CliRunner().invoke(app, [*arguments, "--json"], env=environment)
    assert json.loads(as_json.stdout) == Worker.answer
    assert CliRunner().invoke(app, ["conversions", "--by", "country"], env=environment).exit_code == 2
