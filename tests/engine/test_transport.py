"""Batches through Faust's consumer, without a broker: what is fetched is delivered, in whatever order of offsets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import faust
from faust.types.tuples import TP

from streams.engine.transport import BatchConsumer, BatchTransport


async def test_a_batch_behind_the_last_one_is_delivered() -> None:
    """After a seek back, whatever was delivered late before: it is for the partition to tell what is a repeat."""
    delivered: list[int] = []

    async def callback(message: Any) -> None:
        delivered.append(message.offset)

    consumer = _consumer(callback)
    stopped = SimpleNamespace(is_set=lambda: bool(delivered))
    tp = TP("nps.responses", 0)

    async def getmany(timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109
        for offset in (3_499, 2_999, 3_999):
            yield tp, SimpleNamespace(topic=tp.topic, offset=offset, key=None, value=None)

    consumer.getmany = getmany
    await consumer._drain_messages(SimpleNamespace(_stopped=stopped))
    assert delivered == [3_499, 2_999, 3_999]


def _consumer(callback: Any) -> Any:
    loop = asyncio.get_running_loop()
    app = faust.App("transport", broker="kafka://127.0.0.1:1", store="memory://", web_enabled=False, loop=loop)
    transport = BatchTransport(app.conf.broker_consumer, app, loop=loop)
    consumer: BatchConsumer = transport.create_consumer(
        callback, on_partitions_revoked=callback, on_partitions_assigned=callback
    )
    return consumer
