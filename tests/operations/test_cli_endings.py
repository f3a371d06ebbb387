"""Commands that cannot go on, for a full disk or Ctrl-C: one sentence that says how far it came, and an exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from streams.broker import Broker
from tests.support.corpus import Produced
from tests.support.kafka_reading import end_offsets, publish

FULL = "nps: the output cannot be written: No space left on device\n"
INTERRUPTED = re.compile(r"nps: interrupted(?: after ([\d,]+) responses? of the file; publish it again: .*)?\n")
INTERRUPTED_AFTER_S = (0, 0.1, 0.3, 0.5, 0.7, 1, 1.3, 1.6)
"""From when it has opened the file: before that it may be Python alone that is there, which says so in its own way."""


@pytest.fixture
def environment(broker: Broker, unique_prefix: str) -> dict[str, str]:
    """Settings of a test's own topics, which exist."""
    found = {"NPS_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "NPS_TOPIC_PREFIX": unique_prefix}
    assert run(found, "topics", "--create").returncode == 0
    return found


def run(environment: dict[str, str], *arguments: str, output: str = os.devnull) -> subprocess.CompletedProcess[str]:
    with open(output, "wb") as stdout:
        return subprocess.run(
            [sys.executable, "-m", "streams.cli", *arguments],
            env={**os.environ, **environment},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )


def answers(count: int) -> list[str]:
    now = datetime.now(UTC).isoformat()
    rows = ({"response_id": f"r-{number}", "customer_id": f"c-{number}"} for number in range(count))
    return [json.dumps(row | {"survey_id": "s", "score": 8, "responded_at": now}) + "\n" for row in rows]


@pytest.mark.parametrize(
    "arguments",
    [
        ["settings"],
        ["settings", "--json"],
        ["schemas", "response.v1"],
        ["simulate", "--responses", "500", "--days", "1", "--output", "-"],
        ["settings", "--help"],
        ["--help"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_an_output_that_takes_no_more_is_one_sentence(arguments: list[str]) -> None:
    found = run({}, *arguments, output="/dev/full")
    assert (found.returncode, found.stderr) == (1, FULL)


def test_events_into_an_output_that_takes_no_more_are_one_sentence(environment: dict[str, str]) -> None:
    topic = environment["NPS_TOPIC_PREFIX"] + "passive-detected"
    publish(environment["NPS_BOOTSTRAP_SERVERS"], topic, [Produced(0, b"c-1", b"{}", time.time_ns() // 1_000_000)])
    dump = ("events", "--from-beginning", "--no-follow")
    assert run(environment, *dump).returncode == 0
    found = run(environment, *dump, output="/dev/full")
    assert (found.returncode, found.stderr) == (1, FULL)


def test_a_file_on_a_full_disk_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    simulated = run({}, "simulate", "--responses", "50", "--days", "1", "--output", "/dev/full")
    assert (simulated.returncode, simulated.stderr) == (
        1,
        "nps: /dev/full cannot be written: No space left on device\n",
    )
    file = tmp_path / "a.ndjson"
    file.write_text("{nope\n".join(answers(2)))
    published = run(environment, "publish", str(file), "--refused", "/dev/full")
    assert published.returncode == 1
    assert re.fullmatch(
        r"nps: /dev/full cannot be written: No space left on device after 1 response of the file; publish it again: .*",
        published.stderr.splitlines()[-1],
    )


@pytest.mark.slow
def test_an_interrupt_ends_publishing_and_it_says_how_far_it_came(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "big.ndjson"
    file.write_text("".join(answers(200_000)))
    told = 0
    for after_s in INTERRUPTED_AFTER_S:
        with subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "publish", str(file)],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while str(file) not in {opened.path for opened in psutil.Process(process.pid).open_files()}:
                time.sleep(0.01)
            time.sleep(after_s)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        found = INTERRUPTED.fullmatch(said)
        assert found is not None, said
        assert process.returncode == 130
        told += int((found[1] or "0").replace(",", ""))
    ends = end_offsets(environment["NPS_BOOTSTRAP_SERVERS"], environment["NPS_TOPIC_PREFIX"] + "responses")
    assert 1_000 < told == sum(ends.values())
