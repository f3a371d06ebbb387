"""The command line without a broker: help, exit codes, what goes to stdout and what to stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from streams.cli.application import app

UNREACHABLE = "127.0.0.1:1"
HELP_WITHIN_CPU_S = 0.5


@pytest.fixture
def run() -> CliRunner:
    return CliRunner()


def every_command(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    group = group or get_command(app)
    for name, command in group.commands.items():
        yield (*path, name)
        if hasattr(command, "commands"):
            yield from every_command(command, (*path, name))


COMMANDS_OF_THE_CONTRACT = {
    "worker", "broker", "topics", "publish", "simulate", "demo", "scores", "events", "dead-letters", "schemas",
    "settings", "doctor", "playbook", "conversions",
}  # fmt: skip


def test_every_command_of_the_contract_is_there() -> None:
    commands = set(every_command())
    assert {(name,) for name in COMMANDS_OF_THE_CONTRACT} <= commands
    assert {("broker", each) for each in ("start", "stop", "status")} <= commands
    assert {("dead-letters", each) for each in ("list", "replay")} <= commands


@pytest.mark.parametrize("command", [(), *every_command()], ids=" ".join)
def test_help_has_an_example(command: tuple[str, ...], run: CliRunner) -> None:
    result = run.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert " ".join(("nps", *command)) in result.stdout.split("Examples")[1]


def test_paragraphs_of_help_flow(run: CliRunner) -> None:
    helped = run.invoke(app, ["publish", "--help"]).stdout
    wide = " ".join(line.strip() for line in helped.splitlines())
    lines = [line.strip() for line in helped.splitlines()]
    paragraph = lines[lines.index(next(line for line in lines if line.startswith("Each line"))) :]
    paragraph = paragraph[: paragraph.index("")]
    assert "Refused lines are reported" in wide
    assert all(len(line) > 60 for line in paragraph[:-1]), "a line was broken where the docstring breaks"


def test_help_is_there_at_once() -> None:
    spent_s = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-m", "streams.cli", "--help"], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        spent_s.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(spent_s) < HELP_WITHIN_CPU_S


def test_help_imports_nothing_that_it_does_not_need() -> None:
    heavy = {"aiokafka", "faust", "pydantic", "rocksdict", "aiohttp", "numpy", "prometheus_client"}
    program = f"import sys, streams.cli.application; print(sorted({heavy!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["publish"],
        ["publish", "/dev/null"],
        ["publish", "-", "--record-time", "yesterday"],
        ["dead-letters", "list", "--reason", "because"],
        ["dead-letters", "list", "--limit", "0"],
        ["dead-letters", "replay", "--reason", "too_large"],
        ["settings", "--json", "--markdown"],
        ["events", "--type", "no-such-event"],
        ["scores", "--url", "localhost"],
        ["schemas", "asyncapi", "--json"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(arguments: list[str], run: CliRunner) -> None:
    result = run.invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["topics"],
        ["publish", "-"],
        ["events"],
        ["dead-letters", "list"],
        ["dead-letters", "replay"],
    ],
    ids=" ".join,
)
def test_an_unreachable_broker_is_one_sentence(arguments: list[str], run: CliRunner) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "streams.cli", *arguments],
        env={**os.environ, "NPS_BOOTSTRAP_SERVERS": UNREACHABLE},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 1
    assert found.stdout == ""
    (sentence,) = found.stderr.splitlines()
    assert UNREACHABLE in sentence
    assert "nps broker start" in sentence


def test_a_wrong_setting_stops_every_command_with_a_line_for_each(run: CliRunner) -> None:
    environment = {"NPS_PARTITIONS": "none", "NPS_WINDOW": "7d"}
    for arguments in (["worker"], ["topics"], ["settings"], ["scores"], ["publish", "-"]):
        result = run.invoke(app, arguments, env=environment)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert [line.split(":")[1].strip() for line in result.stderr.splitlines()] == ["NPS_WINDOW", "NPS_PARTITIONS"]


def test_settings_for_people_and_programs(run: CliRunner) -> None:
    environment = {
        "NPS_WINDOWS": "1d,12h", "NPS_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "NPS_SASL_USERNAME": "ola",
        "NPS_SASL_PASSWORD": "hunter2", "NPS_SEGMENT_CROSSES": "country+plan",
    }  # fmt: skip
    table = run.invoke(app, ["settings"], env=environment)
    document = run.invoke(app, ["settings", "--json"], env=environment)
    assert table.exit_code == document.exit_code == 0
    assert "hunter2" not in table.output + document.output
    rows = {row["name"]: row for row in json.loads(document.stdout)}
    assert rows["NPS_SASL_PASSWORD"]["value"] == "********"
    assert rows["NPS_WINDOWS"] | {"description": ""} == {
        "name": "NPS_WINDOWS", "value": "1d,12h", "default": "1d,7d,30d,90d", "unit": "", "description": "",
        "source": "environment",
    }  # fmt: skip
    assert rows["NPS_SEGMENT_CROSSES"]["value"] == "country+plan"
    assert rows["NPS_COMMIT_INTERVAL_MS"]["unit"] == "ms"
    assert rows["NPS_PARTITIONS"]["source"] == "default"
    assert all(row["description"] for row in rows.values())
    for row in rows.values():
        assert row["name"] in table.stdout
        assert row["value"] in table.stdout


def test_settings_as_markdown_show_nothing_of_this_machine(run: CliRunner) -> None:
    changed = run.invoke(app, ["settings", "--markdown"], env={"NPS_GROUP_ID": "mine"})
    plain = run.invoke(app, ["settings", "--markdown"])
    assert changed.stdout == plain.stdout
    lines = plain.stdout.splitlines()
    assert lines[1] == "|---|---|---|---|"
    assert len({line.count(" | ") for line in lines[2:]}) == 1
    assert any(line.startswith("| `NPS_HTTP_PORT` | `6066` |") for line in lines)


def test_schemas_are_listed_and_printed(run: CliRunner) -> None:
    listed = json.loads(run.invoke(app, ["schemas", "--json"]).stdout)
    names = [row["name"] for row in listed]
    assert {"response.v1", "passive-detected.v1", "score-changed.v1", "passive-withdrawn.v1", "asyncapi"} <= set(names)
    assert all(row["title"] for row in listed)
    response = json.loads(run.invoke(app, ["schemas", "response.v1"]).stdout)
    assert response["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    unknown = run.invoke(app, ["schemas", "nothing"])
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "'nothing'" in unknown.stderr


def test_doctor_says_what_to_do_without_a_broker(run: CliRunner, tmp_path: Any) -> None:
    environment = {"NPS_BOOTSTRAP_SERVERS": UNREACHABLE, "NPS_STATE_DIR": str(tmp_path / "state")}
    result = run.invoke(app, ["doctor", "--json"], env=environment)
    assert result.exit_code == 1
    found = {row["check"]: row for row in json.loads(result.stdout)}
    assert found["settings"]["verdict"] == "ok"
    assert found["broker"]["verdict"] == "fail"
    assert UNREACHABLE in found["broker"]["found"]
    assert found["state directory"]["verdict"] == "ok"
    assert not (tmp_path / "state").exists(), "looking changes nothing"


def test_doctor_names_wrong_settings(run: CliRunner) -> None:
    result = run.invoke(app, ["doctor", "--json"], env={"NPS_PARTITIONS": "0"})
    assert result.exit_code == 1
    first = json.loads(result.stdout)[0]
    assert (first["check"], first["verdict"]) == ("settings", "fail")
    assert "NPS_PARTITIONS" in first["found"]


def test_doctor_finds_a_state_directory_that_cannot_be_one(run: CliRunner, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")
    environment = {"NPS_BOOTSTRAP_SERVERS": UNREACHABLE, "NPS_STATE_DIR": str(tmp_path / "file" / "state")}
    result = run.invoke(app, ["doctor", "--json"], env=environment)
    found = {row["check"]: row for row in json.loads(result.stdout)}
    assert found["state directory"]["verdict"] == "fail"
    assert "NPS_STATE_DIR" in found["state directory"]["advice"]


def test_the_playbook_is_shown_and_is_a_file_to_begin_with(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown = run.invoke(app, ["playbook"])
    assert shown.exit_code == 0
    assert "value_for_price" in shown.stdout
    assert "nb: " in shown.stdout
    rows = json.loads(run.invoke(app, ["playbook", "--language", "nn-NO", "--json"]).stdout)
    assert len(rows) == 6
    assert all(isinstance(row["follow_up_question"], str) for row in rows)
    own = tmp_path / "playbook.toml"
    own.write_text(run.invoke(app, ["playbook", "--toml"]).stdout, "utf-8")
    monkeypatch.setenv("NPS_PLAYBOOK_FILE", str(own))
    assert json.loads(run.invoke(app, ["playbook", "--language", "nb", "--json"]).stdout) == rows
    own.write_text("")
    refused = run.invoke(app, ["playbook"])
    assert refused.exit_code == 1
    assert "actions.unknown is missing" in refused.output
