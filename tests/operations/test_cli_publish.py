"""`nps publish` on a real broker: what a worker would take is published as it was written, the rest is told apart."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka.partitioner import murmur2

from streams.broker import Broker
from tests.support.commands import run, settings_of, with_topics
from tests.support.kafka_reading import read_records
from tests.support.oracle_reading import Record

PARTITIONS = 3


@pytest.fixture
def environment(broker: Broker, unique: str, unique_prefix: str) -> dict[str, str]:
    """Settings of a test's own topics, which exist."""
    return with_topics(settings_of(broker, unique, unique_prefix, PARTITIONS))


def response(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "response_id": f"r-{number}",
        "customer_id": f"customer-{number}",
        "survey_id": "relationship",
        "score": 8,
        "responded_at": ago(hours=1),
    } | fields


def ago(**time_ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**time_ago)).isoformat()


def written(tmp_path: Path, name: str, *lines: str | bytes) -> str:
    file = tmp_path / name
    file.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    return str(file)


def published(environment: dict[str, str]) -> list[Record]:
    return list(read_records(environment["NPS_BOOTSTRAP_SERVERS"], environment["NPS_TOPIC_PREFIX"] + "responses"))


def test_publishes_lines_as_they_are_on_the_partition_of_their_key(environment: dict[str, str], tmp_path: Path) -> None:
    lines = [json.dumps(response(number, comment="så bra 🎉")) for number in range(50)]
    lines.append(json.dumps(response(50, customer_id=None)))
    before_ms = time.time_ns() // 1_000_000
    result = run(environment, "publish", written(tmp_path, "a.ndjson", *lines))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "51 responses published" in result.stderr
    records = published(environment)
    assert {record.value.decode() for record in records if record.value} == set(lines)
    for record in records:
        assert record.key is not None
        assert record.value is not None
        parsed = json.loads(record.value)
        assert record.key.decode() == (parsed["customer_id"] or parsed["response_id"])
        assert record.partition == (murmur2(record.key) & 0x7FFFFFFF) % PARTITIONS
        assert before_ms <= record.timestamp_ms <= time.time_ns() // 1_000_000


REFUSED = {
    2: (json.dumps(response(1, score="8")), "invalid_response", "score"),
    3: ("{nope", "invalid_json", ""),
    5: (b'{"response_id": "\xff"}', "invalid_json", ""),
    6: (json.dumps(response(2, responded_at=ago(hours=-1))), "from_future", "responded_at"),
    7: (json.dumps(response(3, comment="x" * 66_000)), "too_large", ""),
    8: ("[]", "invalid_response", ""),
}


def test_refuses_line_by_line_without_a_word_of_their_content(environment: dict[str, str], tmp_path: Path) -> None:
    lines: list[str | bytes] = [json.dumps(response(0))]
    lines += [REFUSED[number][0] if number in REFUSED else "" for number in range(2, 9)]
    lines.append(json.dumps(response(9)))
    refused = tmp_path / "refused.ndjson"
    refused.touch(0o644)
    result = run(environment, "publish", written(tmp_path, "a.jsonl", *lines), "--refused", str(refused), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "published": 2,
        "refused": 6,
        "reasons": {"from_future": 1, "invalid_json": 2, "invalid_response": 2, "too_large": 1},
        "expired": 0,
    }
    told = {
        int(match[1]): (match[2], match[3])
        for match in re.finditer(r"^line (\d+): (\w+): (.*)$", result.stderr, re.MULTILINE)
    }
    assert {number: reason for number, (reason, _) in told.items()} == {
        n: reason for n, (_, reason, _) in REFUSED.items()
    }
    assert all(field in told[number][1] for number, (_, _, field) in REFUSED.items())
    assert "customer-" not in result.stderr
    kept = [json.loads(line) for line in refused.read_text().splitlines()]
    assert [row["line"] for row in kept] == sorted(REFUSED)
    assert kept[0]["original"] == REFUSED[2][0]
    assert "original_base64" in kept[2]
    assert refused.stat().st_mode & 0o777 == 0o600, "also where it was there before"
    assert {json.loads(record.value or b"")["response_id"] for record in published(environment)} == {"r-0", "r-9"}


def test_what_a_worker_would_take_is_published(environment: dict[str, str], tmp_path: Path) -> None:
    lines = [json.dumps(response(0))[:-1] + f', "x": {"1" * 5_000}}}', json.dumps(response(1, x=[[]]))]
    result = run(environment, "publish", written(tmp_path, "a.ndjson", *lines))
    assert (result.exit_code, result.stdout) == (0, "")
    assert {record.key: record.value for record in published(environment)} == {
        b"customer-0": lines[0].encode(),
        b"customer-1": lines[1].encode(),
    }


def test_csv_columns_are_fields_and_segments(environment: dict[str, str], tmp_path: Path) -> None:
    when = ago(days=2)
    file = written(
        tmp_path,
        "export.csv",
        "\ufeffresponse_id,customer_id,survey_id,score,responded_at,segment_country,segments.plan,csat,comment,internal",
        f'r-1,c-1,relationship,7,{when},NO,free,5,"first line',
        'second, with ""quotes""",x',
        "",
        f"r-2,,relationship,10,{when},,,,,",
        f"r-3,c-3,relationship,ten,{when},,,,,",
        f"r-4,c-4,relationship,9,{when}",
    )
    result = run(environment, "publish", file)
    assert result.exit_code == 1
    assert "left out: 'internal'" in result.stderr
    assert "line 6: invalid_response: score" in result.stderr
    assert "line 7: invalid_csv: the row has 5 cells, the header 10" in result.stderr
    assert "2 responses published, 2 refused (invalid_csv 1, invalid_response 1)" in result.stderr
    records = {record.key: json.loads(record.value or b"") for record in published(environment)}
    common = {"survey_id": "relationship", "responded_at": when}
    assert records == {
        b"c-1": common
        | {
            "response_id": "r-1", "customer_id": "c-1", "score": 7, "csat": 5,
            "comment": 'first line\nsecond, with "quotes"', "segments": {"country": "NO", "plan": "free"},
        },
        b"r-2": common | {"response_id": "r-2", "score": 10},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("response_id,survey_id,responded_at", "no column score"),
        ("response_id,survey_id,score,score,responded_at", "names score more than once"),
    ],
)
def test_a_csv_header_that_cannot_work_stops_at_once(
    header: str, said: str, environment: dict[str, str], tmp_path: Path
) -> None:
    result = run(environment, "publish", written(tmp_path, "a.csv", header, "r,s,8,2026-01-01T00:00:00Z"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert published(environment) == []


def test_record_time_is_the_answers_own_on_request(environment: dict[str, str], tmp_path: Path) -> None:
    recent, old = datetime.now(UTC) - timedelta(days=10), datetime.now(UTC) - timedelta(days=3 * 365)
    lines = [json.dumps(response(n, responded_at=when.isoformat())) for n, when in enumerate((recent, old))]
    lines.append(json.dumps(response(3, responded_at=ago(days=-1))))
    result = run(environment, "publish", written(tmp_path, "a.ndjson", *lines), "--record-time", "responded-at")
    assert result.exit_code == 1
    assert "refused (from_future 1)" in result.stderr
    assert "1 of them are older than the topic keeps records" in result.stderr
    times_ms = {record.timestamp_ms for record in published(environment)}
    assert int(recent.timestamp() * 1000) in times_ms


def test_what_a_pipe_says_is_published_before_the_pipe_ends(environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "publish", "-"],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write(json.dumps(response(1)).encode() + b"\n")
            process.stdin.flush()
            deadline = time.monotonic() + 30
            while not published(environment):
                assert time.monotonic() < deadline, "not published while the pipe is open"
                time.sleep(0.2)
            process.stdin.write(json.dumps(response(2)).encode())  # no line end
            process.stdin.close()
            assert process.wait(30) == 0
            assert b"2 responses published" in process.stderr.read()
        finally:
            process.kill()
    assert len(published(environment)) == 2


def test_does_not_create_the_topic(broker: Broker, unique_prefix: str, tmp_path: Path) -> None:
    environment = {"NPS_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "NPS_TOPIC_PREFIX": unique_prefix}
    result = run(environment, "publish", written(tmp_path, "a.ndjson", json.dumps(response(1))))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"topic {unique_prefix}responses does not exist" in result.stderr
    assert "nps topics --create" in result.stderr


def test_only_the_first_hundred_refusals_are_told(environment: dict[str, str], tmp_path: Path) -> None:
    refused = tmp_path / "refused.ndjson"
    result = run(environment, "publish", written(tmp_path, "a.ndjson", *["x"] * 150), "--refused", str(refused))
    assert result.exit_code == 1
    assert len(re.findall(r"^line \d+:", result.stderr, re.MULTILINE)) == 100
    assert "150 refused (invalid_json 150)" in result.stderr
    assert len(refused.read_text().splitlines()) == 150


def test_a_row_that_is_no_csv_stops_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    rows = ["response_id,customer_id,survey_id,score,responded_at", *(f"r-{n},c,s,7,{ago(hours=n)}" for n in (1, 2, 3))]
    rows[2] = rows[2].replace(",c,", ",c\rc,")
    refused = tmp_path / "refused.ndjson"
    result = run(environment, "publish", written(tmp_path, "a.csv", *rows), "--refused", str(refused))
    assert result.exit_code == 1
    assert "line 3: invalid_csv: " in result.stderr
    assert "2 responses published, 1 refused (invalid_csv 1)" in result.stderr
    assert [json.loads(line)["original"] for line in refused.read_text().splitlines()] == [rows[2]]


HEADER = "response_id,customer_id,survey_id,score,responded_at,comment"


def row(number: int, comment: str = "") -> str:
    return f"r-{number},c-{number},s,7,{ago(hours=1)},{comment}"


@pytest.mark.parametrize(
    ("cell", "refused"),
    [
        ("x" * 70_000, "too_large: "),
        ('"' + "x" * 70_000 + '"', "too_large: "),
        ('"' + "one,\nr-8,c,s,7," * 20_000 + '"', "too_large: "),
        ('"' + 'a ""quote""' * 300_000 + '"', "invalid_csv: the row is longer than 1,048,576 bytes"),
        ('"' + '\n"",x' * 300_000 + '"', "invalid_csv: the row is longer than 1,048,576 bytes"),
    ],
    ids=["plain", "quoted", "lines", "megabytes", "megabytes of lines"],
)
def test_a_cell_of_any_length_costs_no_other_row(
    cell: str, refused: str, environment: dict[str, str], tmp_path: Path
) -> None:
    rows = [row(number) for number in range(300)]
    result = run(environment, "publish", written(tmp_path, "a.csv", HEADER, row(300, cell), *rows))
    assert result.exit_code == 1
    assert [line for line in result.stderr.splitlines() if line.startswith(f"line 2: {refused}")]
    assert "300 responses published, 1 refused" in result.stderr
    assert len(published(environment)) == 300


@pytest.mark.parametrize("filling", ["", "x" * 2_000_000], ids=["short", "megabytes"])
def test_a_quote_that_never_ends_is_refused_with_all_that_follows(
    filling: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """Python's reader would make the rows after it one comment, and publish that."""
    rows = [HEADER, row(0), row(1, f'"never ends {filling}'), *(row(number) for number in range(2, 9))]
    refused = tmp_path / "refused.ndjson"
    result = run(environment, "publish", written(tmp_path, "a.csv", *rows), "--refused", str(refused))
    assert result.exit_code == 1
    assert "line 3: invalid_csv: a cell that begins with a quote here never ends" in result.stderr
    assert "in the 7 lines up to the end of the file" in result.stderr
    assert "1 response published, 1 refused (invalid_csv 1)" in result.stderr
    assert [record.key for record in published(environment)] == [b"c-0"]
    assert [json.loads(line)["line"] for line in refused.read_text().splitlines()] == [3]


def test_refused_lines_never_overwrite_what_is_published(environment: dict[str, str], tmp_path: Path) -> None:
    file = written(tmp_path, "a.ndjson", "{nope")
    result = run(environment, "publish", file, "--refused", file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is the file to publish" in result.stderr
    assert Path(file).read_text() == "{nope\n"


def test_a_missing_file_and_a_closed_input_are_one_sentence(environment: dict[str, str]) -> None:
    assert run(environment, "publish", "/no/such/file").stderr == (
        "nps: /no/such/file cannot be read: No such file or directory\n"
    )
    closed = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m streams.cli publish - <&-"],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert (closed.returncode, closed.stderr) == (1, "nps: standard input is closed: there is nothing to read\n")
