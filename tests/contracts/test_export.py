"""The exported files: current, standard, and saying what the code does."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from jsoncompat import generate_value
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from schemas.events import EVENT_MODELS, PASSIVE_DETECTED, cloud_event_headers
from schemas.export import FOLDER, exported, main, outdated, write
from schemas.json_schema import FOLLOW_UP, RESPONSE, SCORE_ROW, SOURCES, json_schemas
from schemas.topics import Topics
from tests.contracts.responses import FULLEST, SMALLEST, accepted, valid_responses
from tests.contracts.test_events import EXAMPLES
from tests.contracts.test_response_fields import ACCEPTED, REFUSED
from tests.contracts.test_scores import ROW

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its models have fields that shadow pydantic's
    from asyncapi3 import AsyncAPI3

SCHEMAS = json_schemas()


def valid(name: str, instance: object) -> bool:
    return Draft202012Validator(SCHEMAS[name]).is_valid(instance)


# --- the files ---


def test_the_committed_files_are_current() -> None:
    assert outdated() == [], "run `python -m schemas.export`"
    assert main(["--check"]) == 0


def test_a_changed_a_missing_and_a_forgotten_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    assert outdated(tmp_path) == []
    (tmp_path / "json" / "response.v1.json").write_text("{}")
    (tmp_path / "asyncapi.yaml").unlink()
    (tmp_path / "json" / "response.v0.json").write_text("{}")
    wrong = ["asyncapi.yaml", "json/response.v0.json", "json/response.v1.json"]
    assert outdated(tmp_path) == wrong

    monkeypatch.setattr("schemas.export.outdated", lambda: wrong)
    assert main(["--check"]) == 1
    assert "json/response.v0.json" in capsys.readouterr().err
    monkeypatch.undo()

    write(tmp_path)
    assert outdated(tmp_path) == []


def test_writing_without_check(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bool] = []
    monkeypatch.setattr("schemas.export.write", lambda: written.append(True))
    assert main([]) == 0
    assert written == [True]


# --- JSON Schema ---


@pytest.mark.parametrize("name", SOURCES)
def test_a_schema_is_json_schema_2020_12_with_an_id_of_its_own(name: str) -> None:
    schema = json.loads((FOLDER / "json" / f"{name.removeprefix('nps.')}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:nps-streams:schema:{name}"


@pytest.mark.parametrize("name", SOURCES)
def test_every_field_is_described_in_one_line(name: str) -> None:
    for field, schema in SCHEMAS[name]["properties"].items():
        assert schema["description"], field
        assert "\n" not in schema["description"]


@settings(deadline=None, print_blob=True)
@given(valid_responses)
def test_what_the_code_accepts_fits_the_schema(response: dict[str, Any]) -> None:
    Draft202012Validator(SCHEMAS[RESPONSE]).validate(response)


@pytest.mark.parametrize("name", [*EXAMPLES, SCORE_ROW])
def test_readers_must_expect_scalars_that_they_do_not_know(name: str) -> None:
    example = {**EXAMPLES, SCORE_ROW: ROW}[name]
    for value in ("x", 1, 1.5, True, None):
        assert valid(name, {**example, "later": value})
    for value in ([], {}, ["x"]):
        assert not valid(name, {**example, "later": value})


def test_segments_of_events_are_strings() -> None:
    assert not valid(PASSIVE_DETECTED, {**EXAMPLES[PASSIVE_DETECTED], "segment_country": 47})


def test_examples_fit() -> None:
    for name, example in {**EXAMPLES, SCORE_ROW: ROW}.items():
        Draft202012Validator(SCHEMAS[name]).validate(example)
    assert valid(RESPONSE, SMALLEST)
    assert valid(RESPONSE, FULLEST)


@pytest.mark.parametrize(("field", "values"), ACCEPTED.items())
def test_what_the_code_accepts_field_by_field_fits(field: str, values: tuple[object, ...]) -> None:
    for value in values:
        assert valid(RESPONSE, {**SMALLEST, field: value}), value


LOOSER = {8.0, 1.0, 4.0, "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"}
"""What JSON Schema cannot refuse, as the descriptions say."""


@pytest.mark.parametrize(("field", "values"), REFUSED.items())
def test_what_the_code_refuses_does_not_fit(field: str, values: tuple[object, ...]) -> None:
    for value in values:
        if '\\n"' in json.dumps(value):
            continue  # this validator's `$` matches before a last line break; ECMA-262's does not
        looser = isinstance(value, float | str) and value in LOOSER
        assert valid(RESPONSE, {**SMALLEST, field: value}) is looser, value


@pytest.mark.parametrize("name", SOURCES)
def test_the_code_accepts_what_fits_the_schema(name: str) -> None:
    schema = {key: value for key, value in SCHEMAS[name].items() if key != "$id"}
    if name not in (RESPONSE, FOLLOW_UP):
        schema["additionalProperties"] = False  # what readers must expect of later releases, this one does not write
    for _ in range(50):
        text = generate_value(json.dumps(schema), 5)
        generated = json.loads(text)
        if name == RESPONSE:
            owner = generated.get("customer_id") or generated["response_id"]
            accepted(text.encode(), key=owner.encode())
        else:
            SOURCES[name].model.model_validate_json(text)


# --- AsyncAPI ---


@pytest.fixture(scope="module")
def asyncapi() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(exported()["asyncapi.yaml"])
    return document


def test_the_document_is_asyncapi_3_0(asyncapi: dict[str, Any]) -> None:
    assert asyncapi["asyncapi"] == "3.0.0"
    AsyncAPI3.model_validate(asyncapi)


@pytest.mark.parametrize("breaking", [lambda d: d.pop("info"), lambda d: d.update(nonsense=1)])
def test_a_document_that_is_none_is_seen(
    asyncapi: dict[str, Any], breaking: Callable[[dict[str, Any]], object]
) -> None:
    document = copy.deepcopy(asyncapi)
    breaking(document)
    with pytest.raises(ValidationError):
        AsyncAPI3.model_validate(document)


def references(node: object) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(references, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
    return own.union(*map(references, node.values()))


def test_every_reference_leads_somewhere(asyncapi: dict[str, Any]) -> None:
    found = references(asyncapi)
    assert {target for target in found if not target.startswith("#")} == {
        f"./json/{name.removeprefix('nps.')}.json" for name in SOURCES
    }
    for target in found:
        if target.startswith("#"):
            node: Any = asyncapi
            for step in target.removeprefix("#/").split("/"):
                node = node[step]
        else:
            assert (FOLDER / target).is_file()


def test_every_public_topic_is_a_channel_with_its_configuration(asyncapi: dict[str, Any]) -> None:
    topics = Topics()
    registered = (*topics.all(), *topics.of_webhooks())
    public = {spec.name: spec for spec in registered if ".internal." not in spec.name}
    channels = {channel["address"]: channel for channel in asyncapi["channels"].values()}
    assert channels.keys() == public.keys()
    for name, channel in channels.items():
        kafka = channel["bindings"]["kafka"]
        configuration = {key: str(value) for key, value in kafka["topicConfiguration"].items()}
        assert configuration == {**public[name].config, "cleanup.policy": f"['{public[name].cleanup}']"}
        assert kafka.get("partitions") == (1 if public[name].single else None)
    actions = {operation["channel"]["$ref"]: operation["action"] for operation in asyncapi["operations"].values()}
    assert actions.pop("#/channels/responses") == actions.pop("#/channels/followUps") == "receive"
    assert set(actions.values()) == {"send"}


@pytest.mark.parametrize("event_type", EVENT_MODELS)
def test_the_headers_of_events_are_those_of_the_document(asyncapi: dict[str, Any], event_type: str) -> None:
    message = next(each for each in asyncapi["components"]["messages"].values() if each.get("name") == event_type)
    sent = {name: value.decode() for name, value in cloud_event_headers(event_type, "id", "/nps", 0, "c-1", 0)}
    Draft202012Validator(message["headers"]).validate(sent)
    assert list(message["headers"]["properties"]) == list(sent) == message["headers"]["required"]
