"""Every bound of a setting, exactly at it and one beyond."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from annotated_types import Ge, Le, MaxLen

from streams.settings import Settings, SettingsError

BESIDE = {
    # What has to go along, so that the bound alone decides.
    "commit_interval_ms": {"SESSION_TIMEOUT_MS": "100000", "TRANSACTION_TIMEOUT_MS": "100000"},
    "counts_retention_days": {"WINDOWS": "1h"},
    "session_timeout_ms": {"COMMIT_INTERVAL_MS": "10", "TRANSACTION_TIMEOUT_MS": "900000"},
    "transaction_timeout_ms": {"COMMIT_INTERVAL_MS": "10", "SESSION_TIMEOUT_MS": "1000"},
}


def bounds() -> Iterator[Any]:
    """Setting, value at the bound, value beyond it."""
    for name, field in Settings.model_fields.items():
        step = 0.001 if field.annotation is float else 1
        for rule in field.metadata:
            if isinstance(rule, Ge):
                yield pytest.param(name, str(rule.ge), str(rule.ge - step), id=f"{name}-least")
            elif isinstance(rule, Le):
                yield pytest.param(name, str(rule.le), str(rule.le + step), id=f"{name}-most")
            elif isinstance(rule, MaxLen):
                yield pytest.param(name, "n" * rule.max_length, "n" * (rule.max_length + 1), id=f"{name}-longest")


TEXTS = [
    ("topic_prefix", "n" * 226, "n" * 227),
    ("http_token", "t" * 16, "t" * 15),
    ("segment_crosses", ",".join(f"a+b{n}" for n in range(32)), ",".join(f"a+b{n}" for n in range(33))),
    ("segment_crosses", "a+b+c+d+e+f+g+h", "a+b+c+d+e+f+g+h+i"),
    ("segment_crosses", f"a+{'b' * 32}", f"a+{'b' * 33}"),
    ("windows", "400d,9599h", "401d"),
    ("windows", "9600h", "9601h"),
    ("bootstrap_servers", "kafka:65535", "kafka:65536"),
    ("bootstrap_servers", "kafka:1", "kafka:0"),
    ("http_port", "65535", "65536"),
]


@pytest.mark.parametrize(("name", "at", "beyond"), [*bounds(), *TEXTS])
def test_a_bound_is_taken_and_what_is_beyond_it_is_not(
    name: str, at: str, beyond: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other, value in BESIDE.get(name, {}).items():
        monkeypatch.setenv(f"NPS_{other}", value)
    monkeypatch.setenv(f"NPS_{name.upper()}", at)
    if (name, at) != ("session_timeout_ms", "1800000"):  # no transaction may be open for as long
        Settings.from_environment()
    monkeypatch.setenv(f"NPS_{name.upper()}", beyond)
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment()
    assert any(problem.startswith(f"NPS_{name.upper()}: ") for problem in caught.value.problems)


def test_there_are_bounds_to_test() -> None:
    assert len(list(bounds())) > 20
