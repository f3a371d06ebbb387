"""What reading alone costs: a bare aiokafka consumer, and one that also parses and validates."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import NewTopic

from schemas.response import SurveyResponse, accept
from streams.engine.clients import connected_admin
from tests.support.corpus import Produced
from tests.support.kafka_reading import end_offsets, publish
from tests.support.worker import ROOT

TOPIC = "floor"
TIMEOUT_S = 120.0


def _nothing(_: Any) -> None:
    pass


def _validated(record: Any) -> None:
    SurveyResponse.model_validate_json(record.value)


def _accepted(record: Any) -> None:
    accept(record.key, record.value, record.timestamp)


FLOORS: dict[str, Callable[[Any], None]] = {
    "aiokafka": _nothing,
    "aiokafka and pydantic": _validated,
    "aiokafka and accept": _accepted,
}


def prepare(servers: str, records: Sequence[Produced]) -> str:
    """Publish the records to a topic of one partition; returns its name."""
    asyncio.run(_create(servers))
    publish(servers, TOPIC, [record._replace(partition=0) for record in records])
    return TOPIC


async def _create(servers: str) -> None:
    admin = await connected_admin({"bootstrap_servers": servers})
    await admin.create_topics([NewTopic(TOPIC, 1, 1)])
    await admin.close()


def measure(servers: str, topic: str, name: str) -> float:
    """Return µs of CPU a record, of a process of its own, from its first record to its last."""
    command = [sys.executable, "-m", "tests.bench.floors", servers, topic, name]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    return float(done.stdout)


async def _read(servers: str, topic: str, work: Callable[[Any], None]) -> float:
    end = end_offsets(servers, topic)[0]
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=servers, auto_offset_reset="earliest", max_partition_fetch_bytes=2 << 20
    )
    await consumer.start()
    try:
        count, began = 0, time.process_time()
        while count < end:
            for records in (await consumer.getmany(timeout_ms=1_000)).values():
                for record in records:
                    work(record)
                count += len(records)
        return (time.process_time() - began) / count * 1e6
    finally:
        await consumer.stop()


if __name__ == "__main__":
    print(asyncio.run(_read(sys.argv[1], sys.argv[2], FLOORS[sys.argv[3]])))
