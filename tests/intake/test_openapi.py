"""The OpenAPI document is true: it is served as committed, and schemathesis finds nothing that it does not say."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
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
from tests.intake.serving import AUTHORIZED, serving_in_a_thread

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


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving_in_a_thread() as running:
        yield running.server.url


@pytest.mark.parametrize("path", [door.path for door in DOORS])
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_schemathesis_finds_nothing(url: str, path: str, mode: schemathesis.GenerationMode) -> None:
    api = schemathesis.openapi.from_url(f"{url}/openapi.json")
    statuses = set()

    @BOUNDED
    @given(case=api[path]["POST"].as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        answer = case.call(base_url=url, headers=AUTHORIZED)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    run()
    positive = mode is schemathesis.GenerationMode.POSITIVE
    assert (202 if positive else 422) in statuses, statuses


def test_the_served_document_is_the_committed_one(url: str) -> None:
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as answer:
        assert json.load(answer) == json.loads((FOLDER / "openapi.json").read_text("utf-8"))
