"""Whether an answer of `nps intake` is one that its OpenAPI document describes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.message import Message
from typing import Any

from jsonschema import Draft202012Validator

from schemas import openapi

DOCUMENT = openapi.document()
COMPONENTS = DOCUMENT["components"]
TELLING = ("Allow", "Retry-After", "WWW-Authenticate")
"""Headers that a client acts on: described where they are sent, and sent where they are described."""


def responses(path: str) -> dict[str, Any]:
    """What the document says may be answered at a path, whatever the method, by status."""
    if path not in DOCUMENT["paths"]:
        return {"404": COMPONENTS["responses"]["404"]}
    (operation,) = DOCUMENT["paths"][path].values()
    found = {}
    for status, response in operation["responses"].items():
        name = response.get("$ref", "").removeprefix("#/components/responses/")
        found[status] = COMPONENTS["responses"][name] if name else response
    return found


def check_described(path: str, status: int, headers: Mapping[str, str] | Message, body: bytes) -> None:
    """Fail unless the status, the telling headers, the media type and the body are those of the document."""
    described = responses(path).get(str(status))
    assert described, f"{status} at {path} is not described"
    sent = {name for name in TELLING if name in headers}
    assert sent == set(described.get("headers", ())), f"headers of {status} at {path}"
    media_type = headers["Content-Type"].partition(";")[0]
    assert media_type in described["content"], f"{media_type} of {status} at {path}"
    if media_type.endswith("json"):
        schema = {**described["content"][media_type]["schema"], "components": COMPONENTS}
        Draft202012Validator(schema).validate(json.loads(body))
