"""The work in stock Faust: one agent, two RocksDB tables with changelogs, no repartition topic.

At least once: nothing ties a table, the events and the offset together, so a crash counts and publishes some responses
twice; without one it is exact. A source partition keeps its own part of each count, and a reader has to add the parts
up. The counters of a day and its 24 hours are one value. Runs as `faust -A tests.bench.peers.faust_app worker`, with
PEER_… in the environment.
"""

from __future__ import annotations

import os
from typing import Any

import faust

from tests.bench.peers.rules import added, day_and_hour, event_of, responded_at_ms, say_first_record, segments, valid

COMMIT_INTERVAL_S = 1.0
PARTITIONS = 4

app = faust.App(
    os.environ["PEER_GROUP"],
    broker=f"kafka://{os.environ['PEER_BOOTSTRAP_SERVERS']}",
    datadir=os.environ["PEER_STATE_DIR"],
    store="rocksdb://",
    processing_guarantee="at_least_once",
    broker_commit_interval=COMMIT_INTERVAL_S,
    consumer_auto_offset_reset="earliest",
    producer_linger=0.02,
    topic_partitions=PARTITIONS,
    topic_disable_leader=True,
)
responses = app.topic(os.environ["PEER_INPUT"], key_type=str, value_serializer="json")
events = app.topic(os.environ["PEER_OUTPUT"], key_type=str, value_serializer="json")
newest = app.Table("newest", partitions=PARTITIONS)
counts = app.Table("counts", partitions=PARTITIONS)


@app.agent(responses)
async def process(stream: faust.StreamT[Any]) -> None:
    started = False
    async for response in stream:
        if not started:
            started = True
            say_first_record()
        if valid(response):
            at_ms = responded_at_ms(response)
            await detect(response, at_ms)
            count(response, at_ms)


async def detect(response: dict[str, Any], at_ms: int) -> None:
    """Keep the newest response of the customer to the survey; publish the event of it, if any."""
    key = f"{response['customer_id']}|{response['survey_id']}"
    before = newest.get(key)
    if before is not None and at_ms < before["responded_at_ms"]:
        return
    newest[key] = {"response_id": response["response_id"], "score": response["score"], "responded_at_ms": at_ms}
    event = event_of(response, None if before is None else before["score"])
    if event is not None:
        await events.send(key=response["customer_id"], value=event)


def count(response: dict[str, Any], at_ms: int) -> None:
    """In the part of each count that belongs to the partition of the response."""
    day, hour = day_and_hour(at_ms)
    for segment in segments(response):
        key = f"{segment}|{day}"
        counts[key] = added(counts.get(key), hour, response["score"])
