"""Where events go that an endpoint does not take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from schemas.dead_letters import OFFSET_HEADER, PARTITION_HEADER, TOPIC_HEADER
from schemas.webhooks import ERROR_HEADERS, dead_letter_headers
from streams.engine.access import REFUSALS
from streams.engine.producer import Producer

logger = logging.getLogger(__name__)

RETRY_S: Final = 1.0
MAX_REQUEST_BYTES: Final = 16 * 1024 * 1024


class DeadLetters:
    """Writes to the topic of webhooks' dead letters, acknowledged by all replicas."""

    def __init__(self, kafka: Mapping[str, Any], topic: str) -> None:
        self._topic = topic
        self._producer = Producer(**kafka, client_id="nps-webhooks", max_request_size=MAX_REQUEST_BYTES)

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Close; what is under way is waited for, within limits."""
        await self._producer.stop()

    async def keep(self, record: ConsumerRecord, endpoint: str, cause: str, message: str) -> None:
        """Return once Kafka has acknowledged the record, however long that takes."""
        own = [(name, value) for name, value in record.headers if name not in ERROR_HEADERS]
        why = dead_letter_headers(endpoint, cause, message, *self._origin(record))
        # aiokafka writes no record that has neither, as somebody else may have.
        value = b"" if record.key is None and record.value is None else record.value
        while True:
            try:
                await self._producer.send_and_wait(self._topic, value, record.key, headers=[*own, *why])
                return
            except REFUSALS:
                raise
            except KafkaError as error:
                logger.warning("a dead letter cannot be written (%s): trying again", type(error).__name__)
                await asyncio.sleep(RETRY_S)

    def _origin(self, record: ConsumerRecord) -> tuple[str, int, int]:
        """Where the event was read: of a dead letter that is replayed, where it was read then."""
        if record.topic == self._topic:
            told = {name: held.decode() for name, held in record.headers if name in ERROR_HEADERS and held is not None}
            with suppress(KeyError, ValueError):
                return told[TOPIC_HEADER], int(told[PARTITION_HEADER]), int(told[OFFSET_HEADER])
        return record.topic, record.partition, record.offset
