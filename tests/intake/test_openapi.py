"""The OpenAPI document is true: it is served as committed, and schemathesis finds nothing that it does not say."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from multidict import CIMultiDict
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from schemas.export import FOLDER
from schemas.intake import DOORS
from tests.intake.described import DOCUMENT, check_described, responses
from tests.intake.serving import AUTHORIZED, Intake, lines, response, serving_in_a_thread

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
    unsupported_method,
)
BOUNDED = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


ROOT = Path(__file__).resolve().parents[2]
MEDIA_TYPES = ("application/json", "application/x-ndjson", "application/jsonl", "application/x-jsonlines")
HEAD = b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving_in_a_thread() as running:
        yield running.server.url


def examine(url: str, path: str, method: str, mode: schemathesis.GenerationMode, headers: dict[str, str]) -> set[int]:
    """Ask in many ways; return the statuses of the answers, which are as the document says."""
    api = schemathesis.openapi.from_url(f"{url}/openapi.json")
    statuses = set()

    @BOUNDED
    @given(case=api[path][method].as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        answer = case.call(base_url=url, headers=headers)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)
        sent = CIMultiDict({name: values[0] for name, values in answer.headers.items()})
        check_described(path, answer.status_code, sent, answer.content)

    run()
    return statuses


@pytest.mark.parametrize("path", [door.path for door in DOORS])
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_schemathesis_finds_nothing(url: str, path: str, mode: schemathesis.GenerationMode) -> None:
    statuses = examine(url, path, "POST", mode, AUTHORIZED)
    positive = mode is schemathesis.GenerationMode.POSITIVE
    assert (202 if positive else 422) in statuses, statuses


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json"])
def test_schemathesis_finds_nothing_in_what_is_read_without_a_token(url: str, path: str) -> None:
    assert examine(url, path, "GET", schemathesis.GenerationMode.POSITIVE, {}) == {200}
    request = urllib.request.Request(f"{url}{path}", headers={"Accept": "application/openmetrics-text"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        check_described(path, answer.status, answer.headers, answer.read())


def test_everything_that_is_served_is_described() -> None:
    endpoints = Intake().endpoints
    served = {path: {"get"} for path in endpoints.to_read()} | {path: {"post"} for path in endpoints.to_write()}
    assert {path: set(operations) for path, operations in DOCUMENT["paths"].items()} == served


@pytest.mark.parametrize("path", [door.path for door in DOORS])
def test_the_media_types_are_those_that_are_taken(path: str) -> None:
    assert tuple(DOCUMENT["paths"][path]["post"]["requestBody"]["content"]) == MEDIA_TYPES


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_each_media_type_is_taken(url: str, media_type: str) -> None:
    headers = {**AUTHORIZED, "Content-Type": media_type}
    request = urllib.request.Request(f"{url}/v1/responses", lines(response()), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202


@pytest.mark.parametrize(
    ("sent", "path", "status"),
    [
        (b"GARBAGE\r\n\r\n", "/v1/responses", 400),
        (HEAD.replace(b"Host: x\r\n", b"") + b"\r\n", "/v1/responses", 400),
        (HEAD + b"X: " + b"y" * 9_000 + b"\r\n\r\n", "/v1/responses", 400),
        (HEAD + b"\r\n", "/v1/responses", 401),
        (HEAD.replace(b"/v1/responses", b"/v1/responses/") + b"\r\n", "/v1/responses/", 404),
        (HEAD.replace(b"POST", b"GET") + b"\r\n", "/v1/responses", 405),
        (HEAD.replace(b"/v1/responses", b"/metrics") + b"\r\n", "/metrics", 405),
    ],
)
def test_what_no_client_means_to_send_is_answered_as_described(url: str, sent: bytes, path: str, status: int) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        answer = HTTPResponse(connection)
        answer.begin()
        assert answer.status == status
        check_described(path, status, answer.headers, answer.read())


def test_whoever_is_on_call_hears_of_every_5xx() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules/crm.yml").read_text("utf-8"))["groups"][0]["rules"]
    (alert,) = (rule for rule in rules if rule["alert"] == "NpsIntakeUnavailable")
    (statuses,) = re.findall(r'status=~"([^"]*)"', alert["expr"])
    assert statuses.split("|") == [status for status in responses("/v1/responses") if status.startswith("5")]


def test_the_served_document_is_the_committed_one(url: str) -> None:
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as answer:
        assert json.load(answer) == json.loads((FOLDER / "openapi.json").read_text("utf-8"))
