"""The gate: what publishers and CRMs have built on stays as it was.

A response that the released schema allows must be allowed now. An event or a score row that is written now must be
allowed by the released schema. `jsoncompat` decides that for everything but patterns, which it does not compare: those
must not change at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, Literal

import pytest
from jsoncompat import check_compat

from schemas.events import PASSIVE_DETECTED
from schemas.export import FOLDER
from schemas.json_schema import FOLLOW_UP, RESPONSE, SOURCES, file_name, json_schemas

Schema = dict[str, Any]
Role = Literal["serializer", "deserializer"]

CURRENT = json_schemas()
RELEASED = [name for name in SOURCES if (FOLDER / "released" / file_name(name)).exists()]
"""What came after the last release is nobody's yet to rely on."""


def released(name: str) -> Schema:
    schema: Schema = json.loads((FOLDER / "released" / file_name(name)).read_text("utf-8"))
    return schema


def role(name: str) -> Role:
    """We read responses and follow-ups and write the rest."""
    return "deserializer" if name in (RESPONSE, FOLLOW_UP) else "serializer"


def patterns(node: object, path: str = "$") -> Iterator[tuple[str, str | None]]:
    """The place and the pattern, if any, of every string."""
    if isinstance(node, list):
        for at, each in enumerate(node):
            yield from patterns(each, f"{path}[{at}]")
    elif isinstance(node, dict):
        if node.get("type") == "string":
            yield path, node.get("pattern")
        for name, each in node.items():
            yield from patterns(each, f"{path}.{name}")


def compatible(name: str, old: Schema, new: Schema) -> bool:
    if old["$id"] != new["$id"]:
        return False
    before, after = dict(patterns(old)), dict(patterns(new))
    if any(before[path] != after[path] for path in before.keys() & after.keys()):
        return False
    # jsoncompat takes any `$id` for a reference that it cannot follow.
    old, new = ({key: value for key, value in each.items() if key != "$id"} for each in (old, new))
    return check_compat(json.dumps(old), json.dumps(new), role(name))


def test_what_was_released_is_still_there() -> None:
    assert {path.name for path in (FOLDER / "released").glob("*.json")} <= {file_name(name) for name in SOURCES}


@pytest.mark.parametrize("name", RELEASED)
def test_the_current_schema_is_compatible_with_the_released_one(name: str) -> None:
    assert compatible(name, released(name), CURRENT[name])


Change = Callable[[Schema], object]


def drop(schema: Schema, field: str) -> None:
    del schema["properties"][field]
    if field in schema["required"]:
        schema["required"].remove(field)


def fields(schema: Schema) -> dict[str, Schema]:
    properties: dict[str, Schema] = schema["properties"]
    return properties


BREAKS_PUBLISHERS: dict[str, Change] = {
    "a field becomes required": lambda s: s["required"].append("account_id"),
    "a new field takes a name that was free": lambda s: fields(s).update(channel={"type": "string"}),
    "a range narrows": lambda s: fields(s)["score"].update(maximum=9),
    "a text gets shorter": lambda s: fields(s)["response_id"].update(maxLength=64),
    "a pattern changes": lambda s: fields(s)["response_id"].update(pattern="^[a-z]+$"),
    "a pattern in a choice changes": lambda s: fields(s)["language"]["anyOf"][0].update(pattern="^[a-z]{2}$"),
    "fewer segments": lambda s: fields(s)["segments"].update(maxProperties=4),
    "other names of segments": lambda s: fields(s)["segments"].update(patternProperties={"^s_": {"type": "string"}}),
    "a reason goes": lambda s: fields(s)["reason"]["anyOf"][0]["enum"].pop(),
    "null no longer": lambda s: fields(s)["csat"]["anyOf"].pop(),
    "another type": lambda s: fields(s)["revision"].update(type="string"),
    "unknown fields refused": lambda s: s.update(additionalProperties=False),
    "another id": lambda s: s.update({"$id": "urn:nps-streams:schema:nps.response.v2"}),
}
LEAVES_PUBLISHERS: dict[str, Change] = {
    "a range widens": lambda s: fields(s)["score"].update(maximum=11),
    "a text gets longer": lambda s: fields(s)["response_id"].update(maxLength=256),
    "a field becomes optional": lambda s: s["required"].remove("survey_id"),
    "a reason comes": lambda s: fields(s)["reason"]["anyOf"][0]["enum"].append("support"),
    "a field is ignored": lambda s: drop(s, "comment"),
}
BREAKS_CRMS: dict[str, Change] = {
    "a field goes": lambda s: drop(s, "csat"),
    "a nested field comes": lambda s: fields(s).update(channels={"type": "array"}),
    "a field may be absent": lambda s: s["required"].remove("score"),
    "a field may be null": lambda s: fields(s)["score"].update(type=["integer", "null"]),
    "a range widens": lambda s: fields(s)["score"].update(minimum=6),
    "a text gets longer": lambda s: fields(s)["customer_id"].update(maxLength=512),
    "a trigger comes": lambda s: fields(s)["trigger"]["enum"].append("manual"),
    "another type": lambda s: fields(s)["near_promoter"].update(type="integer"),
    "times are written otherwise": lambda s: fields(s)["passive_since"].update(pattern="^[0-9]{10}$"),
    "times are written anyhow": lambda s: fields(s)["passive_since"].pop("pattern"),
    "segments of another type": lambda s: s.update(patternProperties={next(iter(s["patternProperties"])): {}}),
    "segments under other names": lambda s: s.update(patternProperties={"^s_": {"type": "string"}}),
    "other fields of any kind": lambda s: s.update(additionalProperties=True),
    "another id": lambda s: s.update({"$id": "urn:nps-streams:schema:nps.passive-detected.v2"}),
}
LEAVES_CRMS: dict[str, Change] = {
    "a field comes": lambda s: fields(s).update(channel={"anyOf": [{"type": "string"}, {"type": "null"}]}),
    "a field comes, always there": lambda s: (
        fields(s).update(channel={"type": "integer"}),
        s["required"].append("channel"),
    ),
    "no field may come": lambda s: s.update(additionalProperties=False),
    "a trigger goes": lambda s: fields(s)["trigger"]["enum"].pop(),
    "a range narrows": lambda s: fields(s)["score"].update(minimum=8),
    "null no longer": lambda s: fields(s)["reason"]["anyOf"].pop(),
    "a text gets shorter": lambda s: fields(s)["customer_id"].update(maxLength=128),
}


def cases(name: str, changes: dict[str, Change], verdict: bool) -> Iterator[Any]:
    for title, change in changes.items():
        yield pytest.param(name, change, verdict, id=f"{name.split('.')[1]}: {title}")


@pytest.mark.parametrize(
    ("name", "change", "verdict"),
    [
        *cases(RESPONSE, BREAKS_PUBLISHERS, False),
        *cases(RESPONSE, LEAVES_PUBLISHERS, True),
        *cases(PASSIVE_DETECTED, BREAKS_CRMS, False),
        *cases(PASSIVE_DETECTED, LEAVES_CRMS, True),
    ],
)
def test_the_gate_tells_what_breaks_whom(name: str, change: Change, verdict: bool) -> None:
    changed = deepcopy(CURRENT[name])
    change(changed)
    assert changed != CURRENT[name]
    assert compatible(name, CURRENT[name], changed) is verdict
