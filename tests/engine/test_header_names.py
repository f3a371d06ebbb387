"""A record with a header name that is not UTF-8 is a record like any other: no worker ends because of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from aiokafka.record.default_records import DefaultRecordBatch

from streams.broker import Broker
from streams.engine.header_names import LenientRecords
from tests.support.corpus import Produced
from tests.support.kafka_reading import read_topic
from tests.support.oracle_reading import partition_of
from tests.support.raw_batches import RawBatch, raw_batch, send_raw
from tests.support.stage import PARTITIONS, stage_for

GOOD = b'{"response_id":"r","customer_id":"c","survey_id":"s","score":7,"responded_at":"%s"}'
HEADERS = ((b"plain", b"1"), (b"\xff\xfename", b"\xff"), (b"null", None))


def batch(values: list[bytes], timestamp_ms: int, codec: int = 0, offset: int = 0) -> bytes:
    built = raw_batch([(b"c", value, HEADERS) for value in values], timestamp_ms, codec)
    return offset.to_bytes(8, "big") + built[8:]


@pytest.mark.parametrize("codec", [0, DefaultRecordBatch.CODEC_GZIP, DefaultRecordBatch.CODEC_ZSTD])
def test_all_records_of_all_batches_are_read(codec: int) -> None:
    records = LenientRecords(batch([b"a", b"b"], 5, codec) + batch([b"c"], 6, codec, 2))
    found = []
    while records.has_next():
        one = records.next_batch()
        assert one.validate_crc()
        found += [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in one]
        assert one.next_offset == found[-1][0] + 1
    headers = [("plain", b"1"), ("\ufffd\ufffdname", b"\xff"), ("null", None)]
    assert found == [(0, 5, b"c", b"a", headers), (1, 5, b"c", b"b", headers), (2, 6, b"c", b"c", headers)]


def test_a_worker_goes_on(broker: Broker, unique: str, tmp_path: Path) -> None:
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path)
    stage.create_topics()
    now_ms = int(time.time() * 1000)
    at = partition_of(b"c", PARTITIONS)
    responded_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_ms // 1000)).encode()
    sent = RawBatch(at, batch([GOOD % responded_at, b"{}"], now_ms), 2)
    asyncio.run(send_raw(broker.bootstrap_servers, stage.topics.responses, [sent]))
    stage.publish([Produced(at, b"c", b"[]", now_ms)])
    with stage.worker() as worker:
        worker.wait_ready()
        stage.wait_until_done(worker, timeout_s=30)
        assert worker.sigterm() == 0
    assert len(read_topic(broker.bootstrap_servers, stage.topics.passive_detected)[at]) == 1
    letters = read_topic(broker.bootstrap_servers, stage.topics.dead_letter)[at]
    assert [letter.value for letter in letters] == [b"{}", b"[]"]
    assert letters[0].headers[:3] == (("plain", b"1"), ("\ufffd\ufffdname", b"\xff"), ("null", None))
