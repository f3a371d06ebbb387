"""The OpenAPI 3.1 document of what takes records over HTTP (`nps intake`), made from its doors and the JSON Schemas."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from schemas.dead_letters import Reason
from schemas.intake import DOORS, MAX_BODY_BYTES, MAX_RECORDS, Door
from schemas.json_schema import json_schemas

Document: TypeAlias = dict[str, Any]

_VERSION: Final = "1"
"""Of the contract, as the `v1` of its paths."""
_PROBLEM: Final = "application/problem+json"
_REFUSALS: Final = {
    "400": "The request is not HTTP.",
    "401": "No bearer token, or another.",
    "408": "The body did not come in time.",
    "413": f"The body has more than {MAX_BODY_BYTES} bytes or {MAX_RECORDS} records.",
    "415": "The body is neither of the two media types, or is compressed.",
    "422": "Records are refused, and none of the body is taken. `errors` names the lines.",
    "429": "Too many records: again after `Retry-After` seconds.",
    "503": "Kafka has not acknowledged everything: send the whole body again. What it has already is a repeat.",
    "504": "No answer was ready in 30 s: as after 503.",
}


def document() -> Document:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "nps-streams intake",
            "version": _VERSION,
            "description": "Records for Kafka, over HTTP. Accepted means: acknowledged by all of Kafka's replicas. To "
            "send something twice does no harm, since ids make repeats of it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}],
        "paths": {door.path: {"post": _post(door)} for door in DOORS} | {"/openapi.json": {"get": _itself()}},
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {_name(door): _schema(door) for door in DOORS}
            | {"accepted": _ACCEPTED, "problem": _PROBLEM_SCHEMA},
            "responses": {
                status: {
                    "description": description,
                    "headers": _headers(status),
                    "content": {_PROBLEM: {"schema": {"$ref": "#/components/schemas/problem"}}},
                }
                for status, description in _REFUSALS.items()
            },
        },
    }


def _post(door: Door) -> Document:
    return {
        "operationId": f"post{_name(door).title().replace('-', '')}",
        "summary": f"Publish a {door.noun}, or several.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": f"#/components/schemas/{_name(door)}"}},
                "application/x-ndjson": {
                    "schema": {
                        "type": "string",
                        "description": f"One JSON object a line, each as `#/components/schemas/{_name(door)}`.",
                    }
                },
            },
        },
        "responses": {
            "202": {
                "description": "Kafka has them all.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/accepted"}}},
            },
            **{status: {"$ref": f"#/components/responses/{status}"} for status in _REFUSALS},
        },
    }


def _itself() -> Document:
    return {
        "operationId": "getOpenapi",
        "summary": "This document.",
        "security": [],
        "responses": {
            "200": {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}}
        },
    }


def _name(door: Door) -> str:
    return door.schema.removeprefix("nps.").removesuffix(".v1")


def _schema(door: Door) -> Document:
    """The record's schema, without what would give it another base than this document."""
    return {key: held for key, held in json_schemas()[door.schema].items() if key not in ("$schema", "$id")}


def _headers(status: str) -> Document:
    whole = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}
    if status == "401":
        return {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return {"Retry-After": whole} if status in ("429", "503") else {}


_ACCEPTED: Final[Document] = {
    "type": "object",
    "required": ["accepted"],
    "properties": {"accepted": {"type": "integer", "minimum": 1, "description": "Records of this body."}},
}
_PROBLEM_SCHEMA: Final[Document] = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors_total": {"type": "integer", "description": "Records that are refused."},
        "errors": {
            "type": "array",
            "description": "The first 100 of them. Values are never repeated.",
            "items": {
                "type": "object",
                "required": ["line", "reason", "message"],
                "properties": {
                    "line": {"type": "integer", "minimum": 1},
                    "reason": {"enum": [str(reason) for reason in Reason]},
                    "message": {"type": "string"},
                },
            },
        },
    },
}
