"""One Kafka transaction per unit of work: everything a unit writes, and its input offsets, or nothing.

Fencing: the transactional id names the input partition, not the process. Whoever starts a `Transactor` for a partition
ends the open transaction of whoever held it before and makes every later attempt of theirs fail. (The client speaks a
version of the offset commit that does not carry the consumer group's generation, so the id must do it alone.)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerEpoch,
    KafkaError,
    ProducerFenced,
    TopicAuthorizationFailedError,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.engine.clients import close_producer, make_patient
from streams.engine.unit import Produced

logger = logging.getLogger(__name__)

BATCH_BYTES_MAX = 900 << 10
"""Of one batch of records, below the broker's default `message.max.bytes` (1,048,588)."""
COMPRESS_ABOVE_BYTES = 256 << 10
"""A dead letter above it travels compressed: it came in within the broker's limit, perhaps compressed too, and leaves
longer by its headers. (A journey may be larger, 32 answers with long comments are some 600 kB; its topic takes it.)"""
CODECS: Final = {
    "none": 0,
    "gzip": DefaultRecordBatch.CODEC_GZIP,
    "snappy": DefaultRecordBatch.CODEC_SNAPPY,
    "lz4": DefaultRecordBatch.CODEC_LZ4,
    "zstd": DefaultRecordBatch.CODEC_ZSTD,
}
"""By the name that Kafka's producers give them."""
CHANGELOG_CODEC = CODECS["snappy"]
"""What only we read is compressed always (docs/decisions/0078)."""
APPENDS_BETWEEN_YIELDS = 1_000
"""Records encoded into batches before other tasks get their turn (1 to 3 ms)."""
CLOSE_TIMEOUT_S = 2.0
RETRY_MS = 20
"""Between attempts at a request. Transactions follow each other so closely that the coordinator has now and then not
finished the last one; the client's default of a tenth of a second would be what every hundredth event waits."""

Rows = Sequence[tuple[bytes, bytes | None]]
Offsets = Mapping[TopicPartition, tuple[int, str]]
"""The next offset to read of each input, and what is noted with it."""


class TransactionFailed(Exception):
    """The transaction was aborted, or may be committed without our knowing: open again from what is committed."""


class Fenced(TransactionFailed):
    """Another worker holds the partition now, or the transaction took longer than its timeout."""


class OffsetNote(msgspec.Struct, frozen=True):
    """What travels with the committed input offset, as its metadata."""

    stream_time_ms: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    """The highest record time that was processed."""
    follow_ups_offset: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    """The next follow-up to read. The group does not subscribe to them, so that a broker may forget its own offset of
    them after a while without commits, though never that of the responses."""

    def encode(self) -> str:
        """Return the text to commit."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> OffsetNote:
        """Read it back; anything else (another tool set the offset) tells nothing."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return cls()


class Transactor:
    """The transactional producer of one input partition: `start`, `commit` one unit after another, `close`."""

    def __init__(
        self,
        kafka: dict[str, Any],
        group_id: str,
        source: TopicPartition,
        timeout_ms: int,
        probe: Callable[[str], None],
        compression_type: str = "none",
    ) -> None:
        self._group_id = group_id
        self._source = source
        self._timeout_s = timeout_ms / 1000
        self._probe = probe
        self._codec = CODECS[compression_type]
        self._producer = AIOKafkaProducer(
            **kafka,
            transactional_id=f"{group_id}-{source.topic}-{source.partition}",
            transaction_timeout_ms=timeout_ms,
            linger_ms=0,
            retry_backoff_ms=RETRY_MS,
        )
        make_patient(self._producer.client)

    async def start(self) -> None:
        """Fence the previous holder and end its transaction. Raises KafkaError."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._producer.start()
        except TimeoutError as error:
            raise TransactionFailed("the transaction coordinator did not answer in time") from error
        except AssertionError as error:  # of aiokafka: a broker that has just come back names no brokers for a moment
            raise TransactionFailed(f"the transaction coordinator was not found: {error}") from error

    async def commit(
        self, changelogs: dict[str, Rows], produced: Sequence[Produced], offsets: Offsets
    ) -> dict[str, int | None]:
        """Commit rows of each changelog topic, produced records and input offsets; returns, by changelog topic, the
        offset after the last row written (None: none was). Raises TransactionFailed or Fenced; then close this.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._commit(changelogs, produced, offsets)
        except (TimeoutError, KafkaError, AssertionError, IllegalOperation) as error:
            # AssertionError and IllegalOperation: a fatal error of aiokafka's sender task changes the state of the
            # transaction under a caller. Whatever it was, the transaction is not known to be committed.
            # A refused offset does not come with its topic's name.
            raise _failure(self._ended_by() or error, sorted({at.topic for at in offsets})) from error

    async def _commit(
        self, changelogs: dict[str, Rows], produced: Sequence[Produced], offsets: Offsets
    ) -> dict[str, int | None]:
        producer, partition = self._producer, self._source.partition
        await producer.begin_transaction()
        self._probe("in_transaction")
        # First and by itself: of two writes of one producer that the broker has to verify at the same moment it refuses
        # one, and the client tries again a tenth of a second later.
        if offsets:
            committed = {at: OffsetAndMetadata(offset, noted) for at, (offset, noted) in offsets.items()}
            await producer.send_offsets_to_transaction(committed, self._group_id)
        batches: list[tuple[str, BatchBuilder]] = []
        for topic, rows in changelogs.items():
            batches += [(topic, batch) for batch in await self._batches_of(rows)]
        by_topic: dict[str, list[Produced]] = {}
        for record in produced:
            by_topic.setdefault(record.topic, []).append(record)
        for topic, records in by_topic.items():
            batches += [(topic, batch) for batch in await self._batches_of_produced(records)]
        sent = []
        for topic, batch in batches:
            sent.append((topic, batch, await producer.send_batch(batch, topic, partition=partition)))
        ends: dict[str, int | None] = dict.fromkeys(changelogs)
        for topic, batch, future in sent:
            metadata = await future
            if topic in ends:
                ends[topic] = metadata.offset + batch.record_count()
        self._probe("before_commit")
        await producer.commit_transaction()
        self._probe("after_commit")
        return ends

    def _ended_by(self) -> BaseException | None:
        """Return the error with which aiokafka's sender task ended the transaction, if it did."""
        ended = self._producer._txn_manager.wait_for_transaction_end()
        return ended.exception() if ended is not None and ended.done() and not ended.cancelled() else None

    async def _batches_of(self, rows: Rows) -> list[BatchBuilder]:
        """Pack changelog rows, compressed, since nobody else reads them; a null value deletes its key."""
        batches: list[BatchBuilder] = []
        append = None
        for count, (key, value) in enumerate(rows):
            if count % APPENDS_BETWEEN_YIELDS == APPENDS_BETWEEN_YIELDS - 1:
                await asyncio.sleep(0)
            if append is None or append(timestamp=None, key=key, value=value) is None:
                batches.append(_batch(CHANGELOG_CODEC))
                append = batches[-1].append
                append(timestamp=None, key=key, value=value)
        return batches

    async def _batches_of_produced(self, records: Sequence[Produced]) -> list[BatchBuilder]:
        batches: list[BatchBuilder] = []
        append = None
        for count, record in enumerate(records):
            if count % APPENDS_BETWEEN_YIELDS == APPENDS_BETWEEN_YIELDS - 1:
                await asyncio.sleep(0)
            large = record.size_bytes > COMPRESS_ABOVE_BYTES
            if append is None or large or self._append(append, record) is None:
                batches.append(_batch(CODECS["zstd"] if large else self._codec))
                append = batches[-1].append
                self._append(append, record)
                if large:
                    append = None
        return batches

    @staticmethod
    def _append(append: Callable[..., object], record: Produced) -> object:
        return append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers))

    async def close(self) -> None:
        """Let go at once; an open transaction is left for the next holder to end."""
        if not await close_producer(self._producer, CLOSE_TIMEOUT_S):
            logger.warning("the producer of %s-%d did not close in time", *self._source)


def _batch(codec: int) -> BatchBuilder:
    return BatchBuilder(BATCH_BYTES_MAX, codec, is_transactional=1)


def _failure(error: BaseException, topics_of_offsets: list[str]) -> TransactionFailed:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TopicAuthorizationFailedError) and not cause.args and topics_of_offsets:
            cause.args = (" or ".join(topics_of_offsets),)
        if isinstance(cause, ProducerFenced | InvalidProducerEpoch):
            return Fenced("another worker took the partition over, or the transaction timed out")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, TimeoutError):
        return TransactionFailed("the broker did not answer in time")
    return TransactionFailed(f"{type(error).__name__}: {error}")
