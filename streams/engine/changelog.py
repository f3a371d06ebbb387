"""Rebuilds a partition's store from its changelogs: all of it, or what came after the store's checkpoint."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams.engine.changelog_records import JourneyRows, count_rows
from streams.engine.clients import check_alive, make_patient, stop_consumer
from streams.engine.formats import CASE_COUNTS, COUNTS
from streams.engine.shared import Turn
from streams.engine.store import Checkpoint, Store

logger = logging.getLogger(__name__)

STORE_MAX_AGE_MS = 12 * 3600 * 1000
"""A store not written for longer is rebuilt: the changelogs keep deletions (`delete.retention.ms`, 24 hours by default)
only so long, and a store that missed one would bring an erased customer back."""
LOG_INTERVAL_S = 5.0
RECORDS_PER_POLL = 2_000
"""Taken in without a pause: some 15 ms."""
POLL_TIMEOUT_MS = 50
"""Of a poll. Short: one that brings nothing but transaction markers returns with its timeout."""


@dataclass(slots=True)
class Progress:
    """Of a restore, for the log and the metrics."""

    records: int = 0
    """Changelog records read."""
    passed: int = 0
    """Offsets that lie behind. More than records: compaction leaves gaps, and transactions markers."""
    total: int = 0
    """Offsets to pass."""


async def restore(
    kafka: dict[str, Any],
    store: Store,
    journeys: TopicPartition,
    counts: TopicPartition,
    cases: TopicPartition,
    progress: Progress,
    turn: Turn,
) -> None:
    """Bring the store to the committed end of its changelogs. `turn` is held while records are taken in.

    To be called after fencing: only then do the end offsets hold everything the previous holder committed, and nothing
    of theirs can follow. Raises Unreadable for a record that this release can't read.
    """
    consumer = AIOKafkaConsumer(
        **kafka,
        # Without it a seek to the beginning races with the default reset to the end, and nothing is restored.
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_partition_fetch_bytes=4 << 20,
    )
    make_patient(consumer._client)
    try:
        await consumer.start()
        topics = (journeys, counts, cases)
        consumer.assign(topics)
        ends = await consumer.end_offsets(topics)
        beginnings = await consumer.beginning_offsets(topics)
        start = _starting_offsets(store, topics, beginnings, ends)
        journey_rows = JourneyRows(store, empty=store.checkpoint is None)
        position = dict(start)
        progress.total = sum(ends[tp] - start[tp] for tp in topics)
        if progress.total:
            logger.info(
                "partition %d: %s, %d changelog records behind",
                journeys.partition,
                "continuing the local state" if store.checkpoint is not None else "no local state to continue",
                progress.total,
                extra={"partition": journeys.partition, "records": progress.total},
            )
        began = logged = time.monotonic()
        for tp in topics:
            consumer.seek(tp, start[tp])
        waiting = [tp for tp in topics if start[tp] < ends[tp]]
        consumer.pause(*(tp for tp in topics if tp not in waiting))
        while waiting:
            check_alive(consumer)
            fetched = await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=RECORDS_PER_POLL)
            for tp in tuple(waiting):
                position[tp] = await consumer.position(tp)  # past the transaction markers too, which are no records
                if position[tp] >= ends[tp]:
                    waiting.remove(tp)
                    consumer.pause(tp)
            async with turn:
                rows: list[tuple[bytes, bytes | None]] = []
                for tp, records in fetched.items():
                    if tp == journeys:
                        rows += journey_rows.of(tp, records)
                    elif tp == counts:
                        rows += [(b"c" + key, value) for key, value in count_rows(tp, records, COUNTS)]
                    else:
                        rows += [(b"k" + key, value) for key, value in count_rows(tp, records, CASE_COUNTS)]
                    progress.records += len(records)
                store.write(rows, Checkpoint(position[journeys], position[counts], _now_ms(), position[cases]))
            await asyncio.sleep(0)  # while there is something fetched, nothing else here waits
            progress.passed = min(sum(position[tp] - start[tp] for tp in topics), progress.total)
            if time.monotonic() - logged >= LOG_INTERVAL_S:
                logged = time.monotonic()
                share = progress.passed / progress.total
                logger.info(
                    "partition %d: %.0f %% of %d changelog records restored, about %.0f s to go",
                    journeys.partition,
                    100 * share,
                    progress.total,
                    (logged - began) * (1 - share) / share if share else math.inf,
                    extra={"partition": journeys.partition, "records": progress.records},
                )
    finally:
        await stop_consumer(consumer)


def _starting_offsets(
    store: Store,
    topics: tuple[TopicPartition, TopicPartition, TopicPartition],
    beginnings: dict[TopicPartition, int],
    ends: dict[TopicPartition, int],
) -> dict[TopicPartition, int]:
    """Where to read from: the checkpoint, or with an emptied store the beginning when it can't be used."""
    if store.damaged:
        why = "it is damaged"
    else:
        checkpoint = store.checkpoint
        if checkpoint is None:
            return beginnings
        held = (checkpoint.journeys_offset, checkpoint.counts_offset, checkpoint.cases_offset)
        offsets = dict(zip(topics, held, strict=True))
        age_ms = _now_ms() - checkpoint.saved_at_ms
        if age_ms > STORE_MAX_AGE_MS:
            why = f"it was last written {age_ms / 3_600_000:.0f} hours ago"
        elif any(offset > ends[tp] for tp, offset in offsets.items()):
            why = "it is ahead of the changelogs, which were recreated or lost records"
        else:
            # A compacted log's beginning may lie past the checkpoint; what remains after it is what the store lacks.
            return {tp: max(offset, beginnings[tp]) for tp, offset in offsets.items()}
    number = topics[0].partition
    logger.warning(
        "partition %d: the local state can't be continued (%s): rebuilding it",
        number,
        why,
        extra={"partition": number},
    )
    store.clear()
    return beginnings


def _now_ms() -> int:
    return int(time.time() * 1000)
