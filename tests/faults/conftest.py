"""Stages for tests that let workers fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streams.broker import Broker
from tests.support.stage import Stage, stage_for

Play = Callable[[Stage], None]


def _stage(broker: Broker, unique: str, directory: Path) -> Stage:
    stage = stage_for(broker.bootstrap_servers, unique, directory).with_settings(session_timeout_ms="1500")
    stage.create_topics()
    return stage


@pytest.fixture
def stage(broker: Broker, unique: str, tmp_path: Path) -> Stage:
    """Topics that exist, and sessions that end soon after a worker has fallen silent."""
    return _stage(broker, unique, tmp_path)


@pytest.fixture
def side_by_side(broker: Broker, unique: str, tmp_path: Path) -> Callable[[Mapping[str, Play]], None]:
    """Gives several plays, by name, a stage each, and all of them the same time: they wait for most of it, for sessions
    to pass and for workers to start. Raises what one of them raises, with its name.
    """

    def on_stage(name: str, play: Play) -> None:
        (tmp_path / name).mkdir()
        try:
            play(_stage(broker, f"{unique}-{name}", tmp_path / name))
        except Exception as error:
            error.add_note(f"in {name}")
            raise

    def play_all(plays: Mapping[str, Play]) -> None:
        threads = ThreadPoolExecutor(len(plays))
        try:
            for played in [threads.submit(on_stage, name, play) for name, play in plays.items()]:
                played.result()
        finally:
            threads.shutdown(wait=False)  # a test that timed out must not wait for the rest

    return play_all
