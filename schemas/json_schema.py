"""The JSON Schemas (2020-12) of what travels, made from the models.

They say what the code checks as nearly as JSON Schema can. It cannot say two things: that an integer is written
without fraction or exponent (8.0 is an integer to it), and that an instant close to the ends of the years 1 to 9999
stays inside them once its offset is taken off. The fields' descriptions tell.

The schemas of what we write are what a reader may rely on: every field named is there, and a later release may add
others, scalars too. The models are narrower: they hold what this release writes and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue

from schemas.events import EVENT_MODELS, SegmentField, schema_id
from schemas.follow_up import FollowUp
from schemas.response import SurveyResponse
from schemas.scores import ScoreRow

JsonSchema: TypeAlias = dict[str, Any]

RESPONSE: Final = "nps.response.v1"
FOLLOW_UP: Final = "nps.follow-up.v1"
SCORE_ROW: Final = "nps.score-row.v1"


LATER_FIELD: Final[JsonSchema] = {"type": ["string", "number", "boolean", "null"]}
"""What a field may be that a later release adds."""


class SchemaSource(NamedTuple):
    """What one schema is made from."""

    model: type[BaseModel]
    mode: JsonSchemaMode
    """`validation`: what we accept. `serialization`: what we write."""


SOURCES: Final[Mapping[str, SchemaSource]] = {
    RESPONSE: SchemaSource(SurveyResponse, "validation"),
    FOLLOW_UP: SchemaSource(FollowUp, "validation"),
    **{name: SchemaSource(model, "serialization") for name, model in EVENT_MODELS.items()},
    SCORE_ROW: SchemaSource(ScoreRow, "serialization"),
}
"""By the schema's name, which is an event's type."""


class _Generator(GenerateJsonSchema):
    """Pydantic's, without a title for each field, and with the keys of a dict closed."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False

    def dict_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        assert "patternProperties" in made, "a dict's keys have a pattern, and other keys are refused"
        return made | {"additionalProperties": False}


def json_schemas() -> dict[str, JsonSchema]:
    """Return every schema by its name."""
    return {name: _json_schema(name, source) for name, source in SOURCES.items()}


def file_name(name: str) -> str:
    """Return the file, under `schemas/json/`, of the schema of that name."""
    return f"{name.removeprefix('nps.')}.json"


def _json_schema(name: str, source: SchemaSource) -> JsonSchema:
    made = source.model.model_json_schema(mode=source.mode, schema_generator=_Generator)
    if isinstance(made.get("additionalProperties"), dict):
        pattern = TypeAdapter(SegmentField).json_schema()["pattern"]
        made["patternProperties"] = {pattern: made["additionalProperties"]}
    if source.mode == "serialization":
        made["additionalProperties"] = LATER_FIELD
    for field in made["properties"].values():
        field["description"] = " ".join(field["description"].split())
    head = {"$schema": GenerateJsonSchema.schema_dialect, "$id": schema_id(name)}
    order = ("title", "description", "type", "required", "properties")
    return head | {key: made[key] for key in order} | {key: made[key] for key in made if key not in order}
