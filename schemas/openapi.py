"""The OpenAPI 3.1 document of what takes records over HTTP (`nps intake`), made from its doors and the JSON Schemas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from schemas.dead_letters import Reason
from schemas.intake import DOORS, MAX_BODY_BYTES, MAX_RECORDS, Door
from schemas.json_schema import json_schemas

Document: TypeAlias = dict[str, Any]

JSON: Final = "application/json"
LINES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
"""Names of one and the same."""
MAX_ERRORS: Final = 100
"""Refused records that an answer names."""

_VERSION: Final = "1"
"""Of the contract, as the `v1` of its paths."""
_PROBLEM: Final = "application/problem+json"
_TEXT: Final = {"type": "string"}
_REFUSALS: Final = {
    "400": "The request is not HTTP, or its head is too large.",
    "401": "No bearer token, or another.",
    "404": "There is nothing at the path: it has a slash at its end, or a proxy has changed it.",
    "405": "The path takes other methods: `Allow` names them.",
    "408": "The body did not come in time.",
    "413": f"The body has more than {MAX_BODY_BYTES} bytes or {MAX_RECORDS} records.",
    "415": "The body is of none of these media types, is not UTF-8, or is compressed.",
    "422": "Records are refused, and none of the body is taken. `errors` names the lines.",
    "429": "Too many records: again after `Retry-After` seconds.",
    "500": "The request failed, and the log says why. Kafka may have some of a body: as after 503.",
    "503": "Kafka has not acknowledged everything: send the whole body again. What it has already is a repeat.",
    "504": "No answer was ready in 30 s: as after 503.",
}
_REFUSALS_OF_READING: Final = ("400", "404", "405", "500", "504")


def document() -> Document:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "nps-streams intake",
            "version": _VERSION,
            "description": "Records for Kafka, over HTTP. Accepted means: acknowledged by all of Kafka's replicas. To "
            "send something twice does no harm, since ids make repeats of it. What answers GET answers HEAD, too; a "
            "path that is not here answers 404.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}],
        "paths": {door.path: {"post": _post(door)} for door in DOORS} | _to_read(),
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {_name(door): _schema(door) for door in DOORS}
            | {f"{_name(door)}-lines": _lines(door) for door in DOORS}
            | {"accepted": _ACCEPTED, "problem": _PROBLEM_SCHEMA, "refusal": _REFUSAL_SCHEMA},
            "responses": {
                status: {
                    "description": description,
                    "headers": _headers(status),
                    "content": {_PROBLEM: _of("refusal" if status == "422" else "problem")},
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
            "content": {JSON: _of(_name(door)), **{name: _of(f"{_name(door)}-lines") for name in LINES}},
        },
        "responses": {
            "202": {
                "description": "Kafka has them all.",
                "content": {JSON: _of("accepted")},
            },
            **_refusals(_REFUSALS),
        },
    }


def _to_read() -> Document:
    text = {"schema": _TEXT}
    return {
        "/openapi.json": _get("getOpenapi", "This document.", "OpenAPI 3.1.", {JSON: {"schema": {"type": "object"}}}),
        "/healthz": _get("getHealthz", "Is the process alive?", "It is.", {JSON: _true("alive")}),
        "/readyz": _get(
            "getReadyz",
            "Does the process take records?",
            "It does. It listens only once it is connected to Kafka: before, there is no answer at all.",
            {JSON: _true("ready")},
        ),
        "/metrics": _get(
            "getMetrics",
            "Metrics, for Prometheus.",
            "The exposition, in the format that `Accept` prefers.",
            {"text/plain": text, "application/openmetrics-text": text},
        ),
    }


def _get(operation: str, summary: str, answer: str, content: Document) -> Document:
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "security": [],
            "responses": {"200": {"description": answer, "content": content}, **_refusals(_REFUSALS_OF_READING)},
        }
    }


def _true(name: str) -> Document:
    return {"schema": {"type": "object", "required": [name], "properties": {name: {"const": True}}}}


def _refusals(statuses: Iterable[str]) -> Document:
    return {status: {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _of(name: str) -> Document:
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}


def _name(door: Door) -> str:
    return door.schema.removeprefix("nps.").removesuffix(".v1")


def _schema(door: Door) -> Document:
    """The record's schema, without what would give it another base than this document."""
    return {key: held for key, held in json_schemas()[door.schema].items() if key not in ("$schema", "$id")}


def _lines(door: Door) -> Document:
    return {**_TEXT, "description": f"One JSON object a line, each as `#/components/schemas/{_name(door)}`."}


def _headers(status: str) -> Document:
    wait = {"required": True, "schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}
    methods = {"required": True, "schema": _TEXT, "description": "Methods, comma-separated."}
    challenge = {"required": True, "schema": _TEXT}
    return {
        "401": {"WWW-Authenticate": challenge},
        "405": {"Allow": methods},
        "429": {"Retry-After": wait},
        "503": {"Retry-After": wait},
    }.get(status, {})


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
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
    },
}
_REFUSAL_SCHEMA: Final[Document] = {
    "allOf": [{"$ref": "#/components/schemas/problem"}],
    "type": "object",
    "required": ["errors_total", "errors"],
    "properties": {
        "errors_total": {"type": "integer", "minimum": 1, "description": "Records that are refused."},
        "errors": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_ERRORS,
            "description": f"The first {MAX_ERRORS} of them. Values are never repeated.",
            "items": {
                "type": "object",
                "required": ["line", "reason", "message"],
                "properties": {
                    "line": {"type": "integer", "minimum": 1, "description": "Of the body, empty ones counted."},
                    "reason": {"enum": [str(reason) for reason in Reason]},
                    "message": _TEXT,
                },
            },
        },
    },
}
