"""A stage for tests that let workers fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.broker import Broker
from tests.support.stage import Stage, stage_for


@pytest.fixture
def stage(broker: Broker, unique: str, tmp_path: Path) -> Stage:
    """Topics that exist, and sessions that end soon after a worker has fallen silent."""
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path).with_settings(session_timeout_ms="1500")
    stage.create_topics()
    return stage
