"""What an operator reads is true: every alert has its page, commands and their options exist, tables are today's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from schemas.dead_letters import Reason
from streams.cli.application import app
from streams.logs import FIELDS
from tests.bench.extrapolation import skew_table, table
from tests.support.prometheus_server import RULES

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs/operations.md").read_text("utf-8")
SCALING = (ROOT / "docs/scaling.md").read_text("utf-8")
PAGES = re.findall(r"^### (Nps\w+)\n(.*?)(?=^###? |\Z)", OPERATIONS, flags=re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", OPERATIONS, flags=re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


def test_every_alert_has_its_page() -> None:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text("utf-8"))["groups"]]
    rules = [rule for group in groups for rule in group["rules"]]
    alerts = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule}
    assert {name for name, _ in PAGES} == set(alerts)
    for name, url in alerts.items():
        assert url.endswith(f"docs/operations.md#{name.lower()}"), name


@pytest.mark.parametrize(("name", "page"), PAGES, ids=[name for name, _ in PAGES])
def test_a_page_has_cause_check_and_cure(name: str, page: str) -> None:
    assert re.findall(r"^\*\*(\w+)\.\*\* \S", page, flags=re.MULTILINE) == ["Cause", "Check", "Cure"], name


def commands() -> list[tuple[str, ...]]:
    """Each `nps …` of the runbook, in words."""
    code = re.findall(r"`([^`\n]+)`", OPERATIONS)
    for block in re.findall(r"^```sh\n(.*?)^```", OPERATIONS, flags=re.DOTALL | re.MULTILINE):
        code += block.split("\n")
    found = [re.search(r"(?:^|(?:NPS_\w+=\S+ )+|-- )nps (.*?)(?: #|&|$)", text) for text in code]
    return [tuple(match[1].split()) for match in found if match]


def test_commands_and_their_options_exist() -> None:
    group = typer.main.get_command(app)
    named = commands()
    assert len(named) > 15
    for words in named:
        command: Any = group
        left = list(words)
        while left and hasattr(command, "commands"):
            assert left[0] in command.commands, f"nps {' '.join(words)}"
            command = command.commands[left.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in left if word.startswith("--")} <= known, f"nps {' '.join(words)}"


def test_the_options_of_a_misspelt_command_would_be_noticed() -> None:
    assert ("repartition", "--from-prefix", "nps.", "--follow") in commands()


def test_every_reason_of_a_dead_letter_is_told_of() -> None:
    assert {reason for reason in Reason if f"`{reason}`" not in section("Dead letters")} == set()


def test_the_fields_of_a_line_are_listed() -> None:
    assert {field for field in FIELDS if f"`{field}`" not in section("Logs")} == set()


@pytest.mark.parametrize(("name", "printed"), [("table", table()), ("skew", skew_table())])
def test_the_tables_of_scaling_are_what_is_printed(name: str, printed: str) -> None:
    between = SCALING.partition(f"<!-- {name}: python -m tests.bench.extrapolation -->\n")[2]
    assert between.partition(f"<!-- end of {name} -->")[0].strip() == printed
