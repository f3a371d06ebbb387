"""Fixtures that every room shares: a real broker for the session, one to break, free ports, unique names."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any

# Its plugin imports it when the session ends; if a traceback is logged meanwhile (from a collected future), Python 3.11
# fails in the parser, and the session with it.
import hypothesis  # noqa: F401
import pytest

from streams import broker as broker_module
from streams.broker import Broker
from tests.support import prometheus_binaries
from tests.support.prometheus_binaries import Binaries

TURN: pytest.StashKey[tuple[IO[str], ...]] = pytest.StashKey()
BROKER_FIXTURES = {"broker", "fresh_broker"}


def pytest_configure(config: pytest.Config) -> None:
    """Forget the caller's own settings: a test sets what it needs."""
    for name in [name for name in os.environ if name.startswith("NPS_")]:
        del os.environ[name]
    # A shell's background jobs ignore Ctrl-C, and so would the programs that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if (run := os.environ.get("PYTEST_XDIST_TESTRUNUID")) is not None:
        names = (Path(tempfile.gettempdir()) / f"nps-tests-{run}.{name}" for name in ("gate", "floor"))
        config.stash[TURN] = tuple(name.open("w") for name in names)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the files that processes wait at."""
    for file in config.stash.get(TURN, ()):
        Path(file.name).unlink(missing_ok=True)
        file.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a broker, so that `-m "not kafka"` needs no Java; begin with the files that take long, so that
    none of them is left for the end when several run at a time.
    """
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    alone_files = {item.path for item in items if item.get_closest_marker("alone")}
    items.sort(key=lambda item: (item.path not in alone_files, item.path not in slow_files))
    for item in items:
        if BROKER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)


def pytest_collection_finish() -> None:
    """Keep thousands of collected tests out of the garbage collector's sight: looking at them all takes 0.2 s, in which
    an event loop under test would seem to stall. A worker freezes its own start likewise.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let no other test run beside one that is marked `alone`, where several processes run tests."""
    turn = item.config.stash.get(TURN, None)
    if turn is None:
        return (yield)
    gate, floor = turn
    fcntl.flock(gate, fcntl.LOCK_EX)  # first come, first served: else those that share would let nobody in alone
    fcntl.flock(floor, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
    fcntl.flock(gate, fcntl.LOCK_UN)
    try:
        return (yield)
    finally:
        fcntl.flock(floor, fcntl.LOCK_UN)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Collect no garbage while pytest parses the source of a traceback: what a collected future logs then makes Python
    3.11 fail in its parser, and the whole session with it.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="session")
def needs_broker() -> None:
    """Skip where no broker can be started, with what to install; fail in CI, which must have it."""
    _skip_or_fail(broker_module.broker_problem())


@pytest.fixture(scope="session")
def prometheus() -> Binaries:
    """The real `prometheus` and `promtool`; skip where they are not here, with what to install; fail in CI."""
    _skip_or_fail(prometheus_binaries.problem())
    return prometheus_binaries.find_binaries()


def _skip_or_fail(problem: str | None) -> None:
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
    with Broker(data_dir, short_lived=True) as running:
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
