"""`nps demo` as a person runs it: what it shows, what it compares, and that nothing stays behind however it ends."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from schemas.dead_letters import Reason
from streams.cli.demo_check import checks
from streams.cli.demo_observed import Observed
from streams.cli.demo_view import WINDOWS, Stage, changed_sentence, found_sentence, view
from streams.cli.simulated_feed import Tally
from streams.simulation.population import COUNTRIES, INDUSTRIES, PLANS

ENDS_WITHIN_S = 160
STARTS_WITHIN_S = 90
STOPS_WITHIN_S = 45
SEGMENTS = (
    "all",
    *(f"country={name}" for name in COUNTRIES),
    *(f"industry={name}" for name in INDUSTRIES),
    *(f"plan={name}" for name in PLANS),
)
FOUND = {"customer_id": "c-1042", "score": 8, "previous_score": 9, "reason": "value_for_price", "comment": "Dear."}
CHANGED = {
    "customer_id": "c-1042",
    "score": 9,
    "previous_score": 8,
    "change": "passive_to_promoter",
    "days_passive": 40.6,
    "comment": None,
}


def row(responses: int, window: str = "90d", segment: str = "all", survey_id: str = "relationship") -> dict[str, Any]:
    return {
        "survey_id": survey_id,
        "segment": segment,
        "window": window,
        "responses": responses,
        "sevens": responses // 4,
        "eights": responses // 4,
        "passive_share": 0.5,
        "nps": 11.5,
        "nps_low": 7.449,
        "nps_high": 15.2,
        "small_sample": responses < 30,
    }


def seen_of(rows: list[dict[str, Any]]) -> Observed:
    return Observed(scores={(each["survey_id"], each["segment"], each["window"]): each for each in rows})


@pytest.fixture
def published() -> Tally:
    kinds = Counter({"answer": 100, "repeat": 3, "amendment": 2, "broken": 2, "erasure": 1})
    return Tally(kinds=kinds, reasons=Counter({Reason.INVALID_JSON: 1, Reason.TOO_LARGE: 1}))  # type: ignore[arg-type]


@pytest.fixture
def exact() -> Observed:
    """What a worker shows that made no mistake with `published`."""
    seen = seen_of([row(60), row(40, survey_id="onboarding"), row(9, window="7d"), row(30, segment="country=NO")])
    seen.counters["nps_responses_total"] = Counter(accepted=99, late=1, duplicate=3, amended=2, dead_letter=2, erased=1)
    seen.counters["nps_dead_letters_total"] = Counter(invalid_json=1, too_large=1, key_mismatch=0)
    seen.counters["nps_passive_detected_total"] = Counter(first_response=50)
    seen.counters["nps_score_changed_total"] = Counter(passive_to_promoter=1)
    seen.events = Counter({"nps.passive-detected.v1": 50, "nps.score-changed.v1": 1})
    seen.event_ids = {f"e-{number}" for number in range(51)}
    return seen


def holding(tally: Tally, seen: Observed) -> list[bool]:
    return [check.holds for check in checks(tally, seen)]


def test_the_comparison_holds_when_everything_is_there_once(published: Tally, exact: Observed) -> None:
    assert holding(published, exact) == [True, True, True, True, True]
    assert "100 distinct valid responses published: 100 counted" in checks(published, exact)[1].sentence


def test_the_comparison_notices_what_is_lost_or_twice(published: Tally, exact: Observed) -> None:
    exact.scores["relationship", "all", "90d"]["responses"] += 1
    assert holding(published, exact) == [True, False, True, True, True]
    exact.scores["relationship", "all", "90d"]["responses"] -= 1
    exact.counters["nps_responses_total"]["duplicate"] -= 1
    assert holding(published, exact) == [False, True, True, True, True]
    exact.counters["nps_responses_total"]["duplicate"] += 1
    exact.counters["nps_dead_letters_total"] = Counter(invalid_json=2)
    assert holding(published, exact) == [True, True, False, True, True], "as many, for another reason"
    exact.counters["nps_dead_letters_total"] = Counter(invalid_json=1, too_large=1)
    exact.event_ids.pop()
    assert holding(published, exact) == [True, True, True, False, True], "an event twice"


@pytest.mark.parametrize(
    ("width", "height", "windows", "segments"), [(80, 24, 2, 0), (80, 30, 2, 6), (108, 33, 4, 9), (140, 60, 4, 16)]
)
def test_the_table_fits_small_and_large_terminals(
    width: int, height: int, windows: int, segments: int, published: Tally
) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    rows = [row(12_345, window, segment) for window in WINDOWS for segment in SEGMENTS]
    exact = seen_of([*rows, *(row(2_345, window, survey_id="onboarding") for window in WINDOWS)])
    exact.counters["nps_passive_detected_total"] = Counter({f"trigger_{number}": 12_345 for number in range(10)})
    exact.detected.extend([FOUND] * 4)
    exact.changed.extend([CHANGED] * 4)
    exact.counters["nps_follow_ups_total"] = Counter({f"outcome_{number}": 12_345 for number in range(7)})
    exact.conversions = [
        {"survey_id": "relationship", "action": f"action_{number}", "conversion": 0.25, "cases": 100, "withdrawn": 1}
        for number in range(7)
    ]
    console.print(view(Stage("An hour", {"scores": "http://127.0.0.1:1/v1/scores"}), published, exact, width, height))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    (whole,) = [line for line in lines if line.startswith("relationship")]
    assert whole.count("+12 (+7…+15)") == windows, "rounded once, from the number itself"
    assert "50%" in whole
    assert sum("=" in line for line in lines) == segments
    assert any(line.startswith("Passives found        123,450  trigger_0 12,345, ") for line in lines)


def test_events_are_told_in_words() -> None:
    assert found_sentence(FOUND).split("  ") == ["", "c-1042 gave 8, was 9: passive (value_for_price)", "“Dear.”"]
    assert changed_sentence(CHANGED).strip() == "c-1042 gave 8, passive; 41 days later 9: converted"


def test_without_java_it_says_what_to_install(tmp_path: Path) -> None:
    environment = os.environ | {"JAVA_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "demo"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, "one sentence"
    assert "Java 17 or newer is needed" in done.stderr
    assert "docker compose up" in done.stderr


def is_alive(process: psutil.Process) -> bool:
    """A zombie has ended; whoever took it over has not looked yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class RunningDemo:
    """`nps demo --plain` in a process of its own, and every process that it was seen to start."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        (folder / "temporary").mkdir()
        self.out, self.err = folder / "out", folder / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = psutil.Popen(
                [sys.executable, "-m", "streams.cli", "demo", "--plain", *options],
                env=os.environ | {"TMPDIR": str(folder / "temporary"), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.started: set[psutil.Process] = set()

    def look(self) -> None:
        """Remember what runs below it now."""
        self.started.update(self.process.children(recursive=True))

    def wait_for(self, text: str, within_s: float = STARTS_WITHIN_S) -> None:
        deadline = time.monotonic() + within_s
        while text not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            self.look()
            time.sleep(0.1)

    def wait(self, within_s: float) -> int:
        deadline = time.monotonic() + within_s
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.said()
            self.look()
            time.sleep(0.1)
        return int(self.process.returncode)

    def said(self) -> str:
        return self.out.read_text() + self.err.read_text()

    def the_worker(self) -> psutil.Process:
        (worker,) = [process for process in self.started if process.is_running() and "worker" in process.cmdline()]
        return worker

    def left_behind(self) -> list[object]:
        """Processes and files that are still there."""
        alive = [process for process in self.started if is_alive(process)]
        return [*alive, *(self.folder / "temporary").iterdir()]

    def clean_up(self) -> None:
        for process in (self.process, *self.started):
            if process.is_running():
                process.kill()
        self.process.wait(10)


@pytest.fixture
def start(tmp_path: Path, needs_broker: None) -> Iterator[Any]:
    demos: list[RunningDemo] = []

    def start(*options: str) -> RunningDemo:
        demos.append(RunningDemo(tmp_path, *options))
        return demos[-1]

    yield start
    for demo in demos:
        demo.clean_up()


@pytest.mark.kafka
@pytest.mark.slow
def test_it_plays_to_the_end_counts_everything_once_and_leaves_nothing(start: Any) -> None:
    demo = start("--seconds", "20", "--seed", "7")
    assert demo.wait(ENDS_WITHIN_S) == 0, demo.said()
    assert len(demo.started) >= 2, "a broker and a worker were seen"
    assert demo.left_behind() == []
    said = demo.out.read_text()
    assert len(re.findall(r"^✓", said, flags=re.MULTILINE)) == 6, said
    assert "✗" not in said
    (answers,) = re.findall(r"✓ ([0-9,]+) distinct valid responses published: \1 counted", said)
    assert int(answers.replace(",", "")) > 25_000
    assert re.search(r"^relationship .* [+-]\d+ \([+-]\d+…[+-]\d+\)", said, flags=re.MULTILINE)
    assert re.search(r"Passives converted +[1-9]", said)
    assert re.search(r"Follow-ups +[1-9].*matched", said)
    assert re.search(r"Conversion by action +[a-z_]+ \d+%", said)
    told = demo.err.read_text()
    assert "Kari gives a 7 (value_for_price). Found: tailored_offer is recommended" in told
    assert "Kari gives a 9: converted, after tailored_offer for value_for_price." in told
    assert "/v1/conversions: value_for_price, tailored_offer: 1 of 1 converted" in told
    assert re.search(r"^ *\d+ s  An hour of life", said, flags=re.MULTILINE), "lines while it runs"
    assert re.search(r"http://127.0.0.1:\d+/v1/scores", demo.err.read_text())


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_asked_and_leaves_nothing(start: Any, number: signal.Signals) -> None:
    demo = start("--seconds", "120")
    demo.wait_for(" s  ")
    demo.process.send_signal(number)
    assert demo.wait(STOPS_WITHIN_S) == 0, demo.said()
    assert "Stopped" in demo.said()
    assert len(demo.started) >= 2
    assert demo.left_behind() == []


@pytest.mark.kafka
@pytest.mark.slow
def test_it_can_be_stopped_while_kafka_starts(start: Any) -> None:
    demo = start()
    demo.wait_for("Starting Apache Kafka")
    demo.process.send_signal(signal.SIGTERM)
    assert demo.wait(STOPS_WITHIN_S) == 0, demo.said()
    assert demo.left_behind() == []


@pytest.mark.kafka
@pytest.mark.slow
def test_a_worker_that_dies_ends_it_with_its_last_words(start: Any) -> None:
    demo = start("--seconds", "120")
    demo.wait_for(" s  ")
    demo.the_worker().kill()
    assert demo.wait(STOPS_WITHIN_S) == 1
    assert "nps: the worker was killed by signal 9; its last lines:\n" in demo.err.read_text()
    assert demo.left_behind() == []


@pytest.mark.kafka
@pytest.mark.slow
def test_killed_outright_it_still_leaves_no_process(start: Any) -> None:
    demo = start("--seconds", "120")
    demo.wait_for(" s  ")
    demo.look()
    demo.process.kill()
    assert len(demo.started) >= 2
    deadline = time.monotonic() + STOPS_WITHIN_S
    while any(map(is_alive, demo.started)):
        assert time.monotonic() < deadline, demo.started
        time.sleep(0.1)
