"""What a broker's disk or the network has damaged ends a worker, and nothing that came along with it is passed over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streams.broker import Broker
from tests.support.corpus import corpus
from tests.support.stage import PARTITIONS, stage_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_what_came_along_with_damaged_records_is_not_lost(broker: Broker, unique: str, tmp_path: Path) -> None:
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path)
    stage.create_topics()
    produced = list(corpus(41, 600, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    stage.publish(produced)
    with stage.worker("torn", ("tests.webhooks.torn_webhooks", "worker")) as torn:
        assert torn.wait(30) == 1
        assert "CorruptRecord" in torn.log().splitlines()[-1]
    with stage.worker("whole") as worker:
        stage.wait_until_done(worker)
        assert worker.sigterm() == 0
    stage.assert_topics_and_offsets(stage.oracles(produced))
