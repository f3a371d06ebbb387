"""An idempotent producer that a partition without a leader does not break."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import OutOfOrderSequenceNumber
from aiokafka.producer.transaction_manager import TransactionManager

from streams.engine.clients import make_patient, stop_producer


class Producer(AIOKafkaProducer):  # type: ignore[misc]
    """Idempotent, with `acks=all`. Whoever waits for a record limits how long; one that nobody waits for any more is
    still written, once that is possible. A record's failing is told once, by whoever waits for it.

    A batch takes its sequence numbers when it is first taken up, and the broker wants those of a partition without a
    gap. So none may be dropped after that; but aiokafka drops what is older than a request may last where there is no
    leader. Here batches stay: one or two of a partition, and `send` waits while they are full. Where one is refused
    all the same, for its size perhaps, the next is refused for the gap, and then a new producer id begins at 0.
    """

    _txn_manager: TransactionManager

    def __init__(self, **settings: Any) -> None:
        super().__init__(acks="all", enable_idempotence=True, **settings)
        make_patient(self.client)
        self._message_accumulator._batch_ttl = math.inf

    async def send(self, *args: Any, **kwargs: Any) -> asyncio.Future[object]:
        """Hand a record over; the future is for Kafka's acknowledgement."""
        sent: asyncio.Future[object] = await super().send(*args, **kwargs)
        sent.add_done_callback(self._look_at)
        return sent

    async def stop(self) -> None:
        """Close, in a bounded time."""
        await stop_producer(self)

    def _look_at(self, sent: asyncio.Future[object]) -> None:
        """Python tells of each error that nobody has looked at; after the first one nobody waits for the others."""
        if not sent.cancelled() and isinstance(sent.exception(), OutOfOrderSequenceNumber):
            self._take_new_id()

    def _take_new_id(self) -> None:
        """Let the sender ask for an id before it takes up another batch. A batch that it has taken up keeps its own."""
        if self._txn_manager.has_pid():
            new = TransactionManager(None, self._txn_manager.transaction_timeout_ms)
            self._txn_manager = self._sender._txn_manager = self._message_accumulator._txn_manager = new
