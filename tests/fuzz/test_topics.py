"""Any bytes on the topics of a running worker, on a real broker: no record stops it."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from aiokafka.record.default_records import DefaultRecordBatch

from schemas.keys import score_key
from streams.broker import Broker
from tests.fuzz.mutations import Mutations
from tests.support.comparing import assert_score_rows
from tests.support.corpus import Produced
from tests.support.kafka_reading import latest_values, read_topic
from tests.support.oracle import total_counts
from tests.support.raw_batches import RawBatch, RawRecord, raw_batch, send_raw
from tests.support.stage import PARTITIONS, WINDOWS, now_us, stage_for, within

SEED = 5
MUTATED = 1_000
NEARLY_A_BATCH = 1_048_588 - 200
"""The broker takes no larger batches, when they are not compressed."""
UNPACKED = 17 << 20
"""More than the topic of dead letters takes: what fits because it is compressed must leave compressed."""
ODD_NAMES = (b"", b"\xff", b"\xed\xa0\x80name", b"name", b"name", b"nps.error.reason", b"__connect.errors.topic")
PACKED = DefaultRecordBatch.CODEC_ZSTD
EDGES: tuple[tuple[RawRecord, int], ...] = (
    *(((key, value, ()), 0) for key in (None, b"", b"\xff", b"\x00") for value in (None, b"", b"\x00", b"{}")),
    ((b"k" * NEARLY_A_BATCH, b"{}", ()), 0),
    ((b"k" * NEARLY_A_BATCH, None, ()), 0),
    ((b"k", b"v" * NEARLY_A_BATCH, ()), 0),
    ((b"k", b"{}", ((b"h", b"v" * NEARLY_A_BATCH),)), 0),
    ((b"k", b"{}", ((b"n" * NEARLY_A_BATCH, None),)), 0),
    ((b"k", b"{}", tuple((b"%d" % number, b"") for number in range(20_000))), 0),
    *(((b"k", b"{}", ((name, None), (name, b"\xff"))), 0) for name in ODD_NAMES),
    ((b"k" * UNPACKED, b"{}", ()), PACKED),
    ((b"k", b"{}", ((b"h", b"v" * UNPACKED),)), PACKED),
)
NO_SCORES: tuple[RawRecord, ...] = (
    (b"", b"", ()),
    (b"\xff", b"\xff", ((b"", None),)),
    (score_key("", "all", "1d"), b"{}", ()),
    (score_key("gone", "", "1d"), b"{}", ()),
    (score_key("x" * 129, "all", "1d"), b'{"responses":1}', ()),
    (score_key("gone", "x" * 500_000, "1d"), b'{"responses":1}', ()),
    (score_key("relational", "all", "1d"), b'{"a":' + b"[" * 99_999, ()),
    (b'["relational", "all", "1d"]', b"[", ()),
)


def headers(rng: random.Random) -> tuple[tuple[bytes, bytes | None], ...]:
    values = (None, b"", b"\xff\x00", b"value")
    return tuple((rng.choice(ODD_NAMES), rng.choice(values)) for _ in range(rng.choice((0, 0, 0, 1, 2, 5))))


def sent(rng: random.Random, mutations: Mutations, now_ms: int) -> Iterator[tuple[RawBatch, list[Produced]]]:
    """Batches as they are sent, and their records as they are read."""

    def batch(records: Sequence[RawRecord], codec: int = 0) -> tuple[RawBatch, list[Produced]]:
        partition, time_ms = rng.randrange(PARTITIONS), now_ms - rng.randrange(10**9)
        raw = RawBatch(partition, raw_batch(records, time_ms, codec), len(records))
        read = [tuple((name.decode(errors="replace"), held) for name, held in named) for _, _, named in records]
        rows = zip(records, read, strict=True)
        return raw, [Produced(partition, key, value, time_ms, named) for (key, value, _), named in rows]

    for record, codec in rng.sample(EDGES, len(EDGES)):
        yield batch([record], codec)
        some = [mutations.record() for _ in range(MUTATED // len(EDGES))]
        yield batch([(found.key, found.value, headers(rng)) for found in some])


@pytest.mark.kafka
def test_any_bytes_among_responses_and_scores(broker: Broker, unique: str, tmp_path: Path) -> None:
    """The seed is 5. All that is written equals the oracle, dead letters byte for byte but for the names of headers."""
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path)
    stage.create_topics()
    now_ms = time.time_ns() // 1_000_000
    batches, produced = [], []
    for raw, read in sent(random.Random(SEED), Mutations(SEED, PARTITIONS), now_ms):
        batches.append(raw)
        produced += read
    no_scores = RawBatch(0, raw_batch(NO_SCORES, now_ms), len(NO_SCORES))
    asyncio.run(send_raw(stage.bootstrap_servers, stage.topics.segment_scores, [no_scores]))
    asyncio.run(send_raw(stage.bootstrap_servers, stage.topics.responses, batches))
    oracles = stage.oracles(produced)
    with stage.worker() as worker:
        worker.wait_ready()
        stage.wait_until_done(worker, timeout_s=60)

        def check_published() -> None:
            [log] = read_topic(stage.bootstrap_servers, stage.topics.segment_scores).values()
            published = latest_values(log)
            left = {key: published.pop(key) for key in (b"", b"\xff", NO_SCORES[5][0])}
            assert list(left.values()) == [b"", b"\xff", b'{"responses":1}'], "what is no row at all is let be"
            rows = {tuple(json.loads(key)): json.loads(value) for key, value in published.items()}
            assert_score_rows(rows, total_counts(oracles.values()), now_us(), WINDOWS)

        within(15, check_published)
        assert worker.sigterm() == 0
        assert "cannot be published" not in worker.log()
    stage.assert_topics_and_offsets(oracles)
