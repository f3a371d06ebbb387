"""Fixtures that every room shares: a real broker for the session, one to break, free ports, unique names."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

# Its plugin imports it when the session ends; if a traceback is logged meanwhile (from a collected future), Python 3.11
# fails in the parser, and the session with it.
import hypothesis  # noqa: F401
import pytest

from streams import broker as broker_module
from streams.broker import Broker

BROKER_FIXTURES = {"broker", "fresh_broker"}


def pytest_configure(config: pytest.Config) -> None:
    """Forget the caller's own settings: a test sets what it needs."""
    for name in [name for name in os.environ if name.startswith("NPS_")]:
        del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a broker, so that `-m "not kafka"` needs no Java."""
    for item in items:
        if BROKER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)


@pytest.fixture(scope="session")
def needs_broker() -> None:
    """Skip where no broker can be started, with what to install; fail in CI, which must have it."""
    problem = broker_module.broker_problem()
    if problem is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(problem, pytrace=False)
    pytest.skip(problem)


@pytest.fixture(scope="session")
def broker(needs_broker: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the whole session: keep to topics, groups and transactional ids of your own; never stop it."""
    yield from _running_broker(tmp_path_factory.mktemp("broker"))


@pytest.fixture
def fresh_broker(needs_broker: None, tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own, to kill, pause and restart."""
    yield from _running_broker(tmp_path / "broker")


def _running_broker(data_dir: Path) -> Iterator[Broker]:
    with Broker(data_dir) as running:
        yield running
    shutil.rmtree(data_dir / "log", ignore_errors=True)  # what the broker said stays, for reading after a failure


@pytest.fixture
def unique() -> str:
    """A name that no other test has: letters, digits and hyphens, fit for groups, topics and customers."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def unique_prefix(unique: str) -> str:
    """A topic prefix that no other test has."""
    return f"{unique}."


@pytest.fixture
def free_port() -> int:
    """A loopback port that nothing listens on."""
    return broker_module.free_port()
