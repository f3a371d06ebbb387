"""Kafka clients that must come to their end."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer. With fetches under way that nobody answers, aiokafka's own stop cancels them and then ends as if
    its caller had been cancelled: a task that takes that for its own end is gone without a word.
    """
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        await consumer._client.close()  # what it had not come to
