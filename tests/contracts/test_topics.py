"""The registry of topics."""

from __future__ import annotations

import pytest

from schemas.topics import Topics

DAY_MS = 86_400_000

TABLE = {
    "responses": ("nps.responses", "delete", 12),
    "follow_ups": ("nps.follow-ups", "delete", 12),
    "dead_letter": ("nps.responses.dead-letter", "delete", 12),
    "follow_ups_dead_letter": ("nps.follow-ups.dead-letter", "delete", 12),
    "passive_detected": ("nps.passive-detected", "delete", 12),
    "score_changed": ("nps.score-changed", "delete", 12),
    "passive_withdrawn": ("nps.passive-withdrawn", "delete", 12),
    "follow_up_overdue": ("nps.follow-up-overdue", "delete", 12),
    "segment_scores": ("nps.segment-scores", "compact", 1),
    "journeys": ("nps.internal.journeys", "compact", 12),
    "segment_counts": ("nps.internal.segment-counts", "compact", 12),
    "case_counts": ("nps.internal.case-counts", "compact", 12),
}


def test_names_cleanup_and_partitions() -> None:
    topics = Topics()
    specs = {spec.name: spec for spec in topics.all()}
    assert {name: getattr(topics, name) for name in TABLE} == {name: row[0] for name, row in TABLE.items()}
    assert [(spec.name, spec.cleanup, spec.partitions(12)) for spec in topics.all()] == list(TABLE.values())
    assert all(spec.config["cleanup.policy"] == spec.cleanup for spec in specs.values())


@pytest.mark.parametrize("prefix", ["", "acme.nps.", "test-1."])
def test_the_prefix_is_all_that_a_prefix_changes(prefix: str) -> None:
    for spec, default in zip(Topics(prefix).all(), Topics().all(), strict=True):
        assert spec.name == prefix + default.name.removeprefix("nps.")
        assert spec.config == default.config


def test_the_topics_that_a_crm_reads() -> None:
    assert Topics().events == (
        *("nps.passive-detected", "nps.score-changed", "nps.passive-withdrawn"),
        "nps.follow-up-overdue",
    )


def test_every_topic_says_what_its_keys_and_values_are() -> None:
    assert all(spec.key and spec.value for spec in Topics().all())


def test_nothing_is_dropped_before_it_can_be_read() -> None:
    topics = Topics()
    config = {spec.name: spec.config for spec in topics.all()}
    for name in topics.inputs:
        assert int(config[name]["retention.ms"]) == 400 * DAY_MS
        assert config[name]["message.timestamp.type"] == "CreateTime", "record time is the publisher's"
    for name in (*topics.dead_letters, *topics.events):
        assert int(config[name]["retention.ms"]) == 30 * DAY_MS
        assert config[name]["message.timestamp.type"] == "LogAppendTime", "kept from when it was written"


def test_dead_letters_have_room_for_the_largest_record_and_its_headers() -> None:
    topics = Topics()
    config = {spec.name: spec.config for spec in topics.all()}
    kafka_default = 1_048_588
    for name, letters in zip(topics.inputs, topics.dead_letters, strict=True):
        assert "max.message.bytes" not in config[name]
        assert int(config[letters]["max.message.bytes"]) > kafka_default + 64 * 1024


def test_what_is_erased_leaves_the_compacted_topics_and_every_reader_sees_it_go() -> None:
    for spec in Topics().all():
        if spec.cleanup == "compact":
            assert int(spec.config["max.compaction.lag.ms"]) <= DAY_MS
            assert int(spec.config["delete.retention.ms"]) == DAY_MS
            assert "compression.type" not in spec.config
