"""The consumers that the engine uses, with as much of their interface as it uses: for restoring and follow-ups, of the
group, and the admin client, which reads the group's offsets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from streams.engine.follow_ups import FOLLOW_UPS_PER_POLL
from streams.engine.transport import BatchConsumer
from tests.simulation.clients import Connection, Network
from tests.simulation.cluster import Cluster, Entry

T = TypeVar("T")


class _Reading:
    """A position in one partition's log; `committed` readers see what is committed, up to the last stable offset."""

    def __init__(self, cluster: Cluster, at: TopicPartition, *, committed: bool) -> None:
        self._log = cluster.log(at)
        self._at = at
        self._committed = committed
        self.position = 0
        self.has_valid_position = True
        self._now_ms = cluster.now_ms
        self.highwater: int | None = None
        self.lso: int | None = None
        self.timestamp = 0
        """The ends, as the last fetch told them, and when it did."""

    @property
    def end(self) -> int:
        return self._log.stable_end if self._committed else self._log.end

    def take(self, count: int) -> list[ConsumerRecord[bytes, bytes]]:
        self.highwater, self.lso, self.timestamp = self._log.end, self._log.stable_end, self._now_ms()
        records: list[ConsumerRecord[bytes, bytes]] = []
        while self.position < self.end and len(records) < count:
            entry = self._log.entries.get(self.position)
            if entry is not None and not entry.control and (entry.is_committed or not self._committed):
                records.append(_record(self._at, self.position, entry))
            self.position += 1
        return records


def _record(at: TopicPartition, offset: int, entry: Entry) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord(
        at.topic, at.partition, offset, entry.timestamp_ms, 0, entry.key, entry.value, None, -1, -1, entry.headers
    )


class Consumer:
    """In place of `AIOKafkaConsumer`, as it restores: partitions assigned by hand."""

    def __init__(
        self,
        *,
        network: Network,
        auto_offset_reset: str,
        isolation_level: str,
        enable_auto_commit: bool,
        max_partition_fetch_bytes: int,
    ) -> None:
        self._client = self._fetcher = self.cluster = self
        self._metadata_update = self._fetch_task = self._sync_task = None
        self._network = network
        self._connection = Connection(network)
        self._committed = isolation_level == "read_committed"
        self._reading: dict[TopicPartition, _Reading] = {}
        self._paused: set[TopicPartition] = set()

    async def start(self) -> None:
        await self._connection.request("metadata", lambda: None)

    async def stop(self) -> None:
        pass

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        cluster = self._network.cluster
        self._reading = {at: _Reading(cluster, at, committed=self._committed) for at in partitions}

    def leader_for_partition(self, _: TopicPartition) -> int:
        return 1

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        cluster = self._network.cluster

        def found() -> dict[TopicPartition, int]:
            logs = {at: cluster.log(at) for at in partitions}
            return {at: log.stable_end if self._committed else log.end for at, log in logs.items()}

        return await self._connection.request("ends", found)

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._connection.request("beginnings", lambda: dict.fromkeys(partitions, 0))

    def seek(self, at: TopicPartition, offset: int) -> None:
        self._reading[at].position = offset

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused.difference_update(partitions)

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused.update(partitions)

    async def getmany(
        self, *, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
        name = "restore" if max_records != FOLLOW_UPS_PER_POLL else "follow"
        found = await self._connection.request(name, lambda: self._take(min(max_records, self._poll_rows())))
        if not found:
            await asyncio.sleep(timeout_ms / 1000)
        return found

    def _poll_rows(self) -> int:
        return self._network.rng.randint(1, self._network.limits.poll_rows)

    def _take(self, count: int) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
        found = {at: reading.take(count) for at, reading in self._reading.items() if at not in self._paused}
        return {at: records for at, records in found.items() if records}

    async def position(self, at: TopicPartition) -> int:
        return self._reading[at].position

    def highwater(self, at: TopicPartition) -> int:
        return self._reading[at].end

    def last_stable_offset(self, at: TopicPartition) -> int:
        return self._reading[at].end

    def last_poll_timestamp(self, at: TopicPartition) -> int:
        return self._network.cluster.now_ms()


class Admin:
    """In place of `AIOKafkaAdminClient`: the group's offsets."""

    def __init__(self, *, network: Network) -> None:
        self._network = network
        self._connection = Connection(network)

    async def start(self) -> None:
        await self._connection.request("metadata", lambda: None)

    async def close(self) -> None:
        pass

    async def list_consumer_group_offsets(
        self, group_id: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        known = self._network.cluster.offsets

        def found() -> dict[TopicPartition, OffsetAndMetadata]:
            return {at: OffsetAndMetadata(*known.get((group_id, at), (-1, ""))) for at in partitions}

        return await self._connection.request("committed", found)


class _Driver(BatchConsumer.__mro__[1]):  # type: ignore[misc]
    """In place of Faust's driver, below `BatchConsumer`: fetches that take their time."""

    def __init__(self, network: Network, engine: Any, heartbeat: Callable[[], bool]) -> None:
        self._network = network
        self._connection = Connection(network)
        self._heartbeat = heartbeat
        self._reading: dict[TopicPartition, _Reading] = {}
        self.engine = engine
        self.fetch_records = 1
        self._thread = self

    @property
    def app(self) -> Any:
        """What `BatchConsumer` asks for the engine."""
        return self

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """The group has spoken. Where to read from is known later."""
        self._reading = {at: _Reading(self._network.cluster, at, committed=True) for at in partitions}

    async def _getmany(self, active_partitions: Any, timeout: float) -> dict[Any, list[Any]]:  # noqa: ASYNC109
        wanted = [at for at in sorted(active_partitions) if at in self._reading]

        def fetched() -> dict[Any, list[Any]]:
            found = {at: self._reading[at].take(self.fetch_records) for at in wanted if at in self._reading}
            return {at: records for at, records in found.items() if records}

        return await self._connection.request("fetch", fetched)

    async def seek_wait(self, partitions: Mapping[Any, int]) -> None:
        await asyncio.sleep(self._network.delay_s())
        for at, offset in partitions.items():
            if at in self._reading:
                self._reading[at].position = offset

    async def position(self, at: TopicPartition) -> int:
        assert at in self._reading, "not assigned"
        return self._reading[at].position

    def highwater(self, at: TopicPartition) -> int:
        assert at in self._reading, "not assigned"
        return self._reading[at].end

    # How far it has read is seen in `thread._ensure_consumer()._subscription.subscription.assignment.state_value(at)`

    @property
    def _subscription(self) -> Any:
        return self

    @property
    def subscription(self) -> Any:
        return self

    @property
    def assignment(self) -> Any:
        return self

    def state_value(self, at: TopicPartition) -> _Reading | None:
        return self._reading.get(at)

    # A membership is confirmed by `thread.call_thread(thread._ensure_consumer()._coordinator._do_heartbeat)`

    def _ensure_consumer(self) -> Any:
        return self

    @property
    def _coordinator(self) -> Any:
        return self

    def _do_heartbeat(self) -> bool:
        return self._heartbeat()

    async def call_thread(self, method: Callable[[], T]) -> T:
        return await self._connection.request("heartbeat", method)


class GroupConsumer(BatchConsumer, _Driver):  # type: ignore[misc]
    """The engine's own consumer, on top of that driver."""
