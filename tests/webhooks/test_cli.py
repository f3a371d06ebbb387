"""`nps webhooks list` and `test`: what a person sees, and never a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from standardwebhooks import Webhook
from typer.testing import CliRunner

from schemas.events import EVENT_MODELS, EVENT_TYPES
from streams.cli.application import app
from tests.webhooks.events import write_config
from tests.webhooks.receiver import SECRET, Answer, Receiver, always, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def run(config: Path | None, *arguments: str, **environment: str) -> Result:
    settings = {"NPS_WEBHOOKS_PRIVATE_HOSTS": "127.0.0.1", "SECRET": SECRET, **environment}
    if config is not None:
        settings["NPS_WEBHOOKS_FILE"] = str(config)
    return CliRunner().invoke(app, ["webhooks", *arguments], env=settings)


def test_list_shows_what_goes_where(tmp_path: Path) -> None:
    more = 'surveys = ["relationship"]\nsegments = { country = ["SE", "NO"] }\n'
    config = write_config(tmp_path, {"crm": "https://hooks.example.com/planted-part"}, more)
    table, document = run(config, "list"), run(config, "list", "--json")
    assert "hooks.example.com" in table.stdout
    assert "country=NO|SE" in table.stdout
    (row,) = json.loads(document.stdout)
    assert (row["endpoint"], row["types"], row["surveys"], row["secrets"]) == ("crm", [], ["relationship"], 1)
    assert row["segments"] == {"country": ["NO", "SE"]}
    for said in (table.output, document.output):
        assert "planted" not in said
        assert SECRET not in said


def test_all_faults_of_the_file_are_told(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"crm": "http://hooks.example.com/", "other": "https://10.0.0.1/"})
    told = run(config, "list", SECRET="")
    assert told.exit_code == 1
    assert [line.split(": ", 2)[2].split()[0] for line in told.stderr.splitlines()] == [
        "endpoints.crm.url",
        "endpoints.crm.secrets[0]",
        "endpoints.other.url",
        "endpoints.other.secrets[0]",
    ]


def test_without_a_file() -> None:
    for command in ([], ["list"], ["run"], ["test", "crm"], ["replay", "crm"]):
        told = run(None, *command)
        assert told.exit_code == 1
        assert told.stderr.startswith("nps: NPS_WEBHOOKS_FILE: must name the file of endpoints")


@pytest.mark.parametrize("event_type", [None, *EVENT_TYPES])
def test_a_sample_is_signed_and_an_event(event_type: str | None, receiver: Receiver, tmp_path: Path) -> None:
    config = write_config(tmp_path, {"crm": receiver.url()})
    told = run(config, "test", "crm", *(("--type", event_type) if event_type else ()))
    assert told.exit_code == 0, told.output
    (came,) = receiver.came()
    parsed = Webhook(SECRET).verify(came.body, came.headers)
    chosen = event_type or EVENT_TYPES[0]
    assert parsed["type"] == chosen
    EVENT_MODELS[chosen].model_validate_json(json.dumps(parsed["data"]))
    assert told.stderr == f"crm took the sample: {chosen}, webhook-id {came.id}\n"


def test_a_sample_of_what_the_endpoint_wants(receiver: Receiver, tmp_path: Path) -> None:
    config = write_config(tmp_path, {"crm": receiver.url()}, f'types = ["{EVENT_TYPES[1]}"]')
    assert run(config, "test", "crm").exit_code == 0
    assert json.loads(receiver.came()[0].body)["type"] == EVENT_TYPES[1]


def test_what_went_wrong_is_told(receiver: Receiver, tmp_path: Path) -> None:
    config = write_config(tmp_path, {"crm": receiver.url()})
    receiver.scripts["/"] = always(Answer(500))
    told = run(config, "test", "crm")
    assert (told.exit_code, told.stderr) == (1, "nps: crm did not take the sample: the endpoint answered 500\n")
    told = run(config, "test", "nobody")
    assert (told.exit_code, told.stderr) == (
        1,
        "nps: there is no endpoint nobody in NPS_WEBHOOKS_FILE; there are crm\n",
    )
    assert run(config, "test", "crm", "--type", "nonsense").exit_code == 2
