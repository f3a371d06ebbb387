"""To Kafka, and back only when every replica has it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError

from streams.engine.producer import Producer

LINGER_MS: Final = 5
BATCH_BYTES: Final = 256 * 1024
REQUEST_TIMEOUT_MS: Final = 8_000
ACKNOWLEDGED_WITHIN_S: Final = 10.0


class Unavailable(Exception):
    """Kafka has not acknowledged everything; some of it may be there."""


class Record(NamedTuple):
    """What to publish."""

    key: bytes
    value: bytes


class Publisher:
    """Its partitioner is the Java client's, murmur2 of the key."""

    def __init__(self, kafka: Mapping[str, Any]) -> None:
        self._producer = Producer(
            **kafka,
            client_id="nps-intake",
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Close; what is under way is waited for, within limits."""
        await self._producer.stop()

    async def publish(self, topic: str, records: Sequence[Record]) -> None:
        """Return once all are acknowledged. Raises Unavailable; what Kafka has not taken by then it may take later, and
        ids make repeats of it when it is sent again.
        """
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
                under_way = [await self._producer.send(topic, value, key) for key, value in records]
                await asyncio.gather(*under_way)
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(type(error).__name__) from error
