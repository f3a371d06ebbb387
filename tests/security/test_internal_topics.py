"""What is no state, in the topics that are a worker's memory: it stops, says where, and can be cured."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic

from schemas.keys import counts_key, journey_key
from tests.security.conftest import SecureBroker
from tests.security.test_erasure import EAGER_CLEANING
from tests.support.comparing import assert_all_topics
from tests.support.corpus import Produced, as_logs, corpus
from tests.support.kafka_reading import end_offsets, publish, read_topic
from tests.support.oracle import run
from tests.support.oracle_reading import Record
from tests.support.stage import Stage, now_us, stage_for


@pytest.mark.kafka
def test_what_is_no_state_stops_a_worker_until_it_is_cured(
    secure_broker: SecureBroker, unique: str, tmp_path: Path
) -> None:
    """The seed is 6. One sentence says where, the same after each restart, with local state and without; nothing is
    half processed; a null under the key and compaction cure it. (This broker's cleaner is quick.)
    """
    stage = stage_for(secure_broker.broker.bootstrap_servers, unique, tmp_path, partitions=1)
    topics = stage.topics
    specs = [
        NewTopic(spec.name, 1, 1, config={**spec.config, **(EAGER_CLEANING if "internal" in spec.name else {})})
        for spec in topics.all()
    ]
    for future in secure_broker.admin.create_topics(specs).values():
        future.result(30)
    produced = list(corpus(6, 900, time.time_ns() // 1_000_000, "tables", 1))
    garbage = {
        topics.journeys: journey_key("customer", "nobody", "s"),
        topics.segment_counts: counts_key("s", "garbage=1", 20_000),
    }
    with stage.worker() as worker:
        worker.wait_ready()
        stage.publish(produced[:600])
        stage.wait_until_done(worker)
        assert worker.sigterm() == 0
        stage.publish(produced[600:])
        for topic, key in garbage.items():
            offset = end_offsets(stage.bootstrap_servers, topic)[0]
            publish(stage.bootstrap_servers, topic, [Produced(0, key, b"\x01\xc1", now_us() // 1000)])
            sentences = set()
            for _ in range(2):
                worker.start()
                assert worker.wait(60) == 1, worker.last_words()
                sentences.add(worker.log().splitlines()[-1].partition(" CRITICAL ")[2])
                shutil.rmtree(stage.state_dir("worker"))
            [sentence] = sentences
            assert f"{topic} [0] offset {offset}: " in sentence
            assert_whole(stage, produced, set(garbage.values()))
            cure(stage, topic, key)
        worker.start()
        worker.wait_ready()
        stage.wait_until_done(worker)
        assert worker.sigterm() == 0
    stage.assert_topics_and_offsets(stage.oracles(produced))


def assert_whole(stage: Stage, produced: Sequence[Produced], garbage: set[bytes]) -> None:
    """What was written are exactly the records up to the committed offset."""
    [committed] = stage.committed().values()
    logs = {0: as_logs(produced, 1)[0][:committed]}

    def read(topic: str) -> dict[int, list[Record]]:
        [log] = read_topic(stage.bootstrap_servers, topic).values()
        return {0: [record for record in log if record.key not in garbage]}

    assert_all_topics(read, stage.topics, run(logs, stage.oracle_config), now_us(), stage.oracle_config.retention_days)


def cure(stage: Stage, topic: str, key: bytes) -> None:
    """A null under the key; what is appended later closes the segment, so that it is compacted."""
    deadline = time.monotonic() + 30
    while any(record.value for record in read_topic(stage.bootstrap_servers, topic)[0] if record.key == key):
        assert time.monotonic() < deadline, "not compacted"
        publish(stage.bootstrap_servers, topic, [Produced(0, key, None, now_us() // 1000)])
        time.sleep(0.5)
