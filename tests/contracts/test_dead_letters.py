"""The headers of a dead letter."""

from __future__ import annotations

import pytest

from schemas.dead_letters import CLASS_NAMES, Reason, headers


def test_reasons_in_the_order_in_which_they_are_given() -> None:
    assert list(Reason) == [
        *("too_large", "invalid_json", "invalid_response", "key_mismatch", "from_future"),
        "unknown_case",
    ]


@pytest.mark.parametrize("reason", [*Reason, "invalid_json"])
def test_headers_are_kafka_connect_s_and_the_reason(reason: str) -> None:
    made = headers(reason, "score must be …", "nps.responses", 3, 9_007_199_254_740_993)
    assert made == (
        ("nps.error.reason", str(reason).encode()),
        ("__connect.errors.topic", b"nps.responses"),
        ("__connect.errors.partition", b"3"),
        ("__connect.errors.offset", b"9007199254740993"),
        ("__connect.errors.exception.class.name", CLASS_NAMES[reason].encode()),
        ("__connect.errors.exception.message", "score must be …".encode()),
    )


def test_every_reason_has_a_class_name_of_its_own() -> None:
    assert CLASS_NAMES.keys() == set(Reason)
    assert sorted(CLASS_NAMES.values()) == [
        "nps.error.FromFuture",
        "nps.error.InvalidJson",
        "nps.error.InvalidResponse",
        "nps.error.KeyMismatch",
        "nps.error.TooLarge",
        "nps.error.UnknownCase",
    ]
