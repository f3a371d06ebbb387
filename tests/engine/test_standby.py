"""A worker more than there are partitions: it has nothing to read, for days, and takes over when another one dies."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streams.broker import Broker
from tests.support.corpus import corpus
from tests.support.stage import stage_for, within
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.kafka

FLYING = ("tests.support.idle_nps", "worker")


def test_a_standby_takes_over_after_days_without_partitions(broker: Broker, unique: str, tmp_path: Path) -> None:
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path, partitions=1)
    stage = stage.with_settings(session_timeout_ms="1500", windows="1d")
    stage.create_topics()
    with stage.worker("one", FLYING) as one, stage.worker("two", FLYING) as two:

        def owners() -> list[WorkerProcess]:
            assert one.status("/readyz") == two.status("/readyz") == 200
            return [each for each in (one, two) if each.metrics()["nps_owned_partitions", ()]]

        within(30, owners)
        time.sleep(1)  # days, and several heartbeats
        (owner,) = owners()
        owner.sigkill()
        standby = two if owner is one else one
        stage.publish(corpus(51, 50, time.time_ns() // 1_000_000, "tables", 1))
        stage.wait_until_done(standby, timeout_s=20)
