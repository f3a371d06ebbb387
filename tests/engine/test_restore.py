"""A store comes to the committed end of its changelogs: whole, by the tail, or anew where it can not be continued."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from aiokafka.structs import TopicPartition
from confluent_kafka import Producer

from schemas.keys import counts_key, journey_key
from schemas.topics import Topics
from streams.broker import Broker
from streams.engine import changelog
from streams.engine.anonymous import index_key
from streams.engine.changelog import STORE_MAX_AGE_MS, Progress, restore
from streams.engine.formats import COUNTS, JOURNEY, REMEMBERED
from streams.engine.shared import Turn
from streams.engine.store import Checkpoint, Store
from streams.engine.topics import ensure_topics, reach_broker
from streams.rules.journey import Answer, Journey, Remembered
from tests.support.holding import longest_turn_s

PARTITION = 1
Row = tuple[bytes, bytes | None]

ANSWER = Answer("r", 0, 7, 1_700_000_000_000_000, {}, None, True)
JOURNEYS: dict[bytes, bytes] = {
    journey_key("customer", f"c{number}", "s"): JOURNEY.encode(Journey([ANSWER] * number)) for number in range(1, 6)
}
C1, C2, C3, C4, C5 = JOURNEYS
ANONYMOUS = journey_key("response", "r", "s")
MONDAY_MS, TUESDAY_MS = 1_700_000_000_000, 1_700_090_000_000
COUNTED = counts_key("s", "all", 19_000)


@dataclass
class Changelogs:
    """The two changelogs of one partition, written as a worker writes them."""

    bootstrap_servers: str
    topics: Topics

    def __post_init__(self) -> None:
        self.producer = Producer(
            {"bootstrap.servers": self.bootstrap_servers, "transactional.id": self.topics.prefix, "linger.ms": 0}
        )
        self.producer.init_transactions(30)

    def write(self, journeys: Iterable[Row] = (), counts: Iterable[Row] = (), *, abort: bool = False) -> None:
        """One transaction."""
        self.producer.begin_transaction()
        for topic, rows in ((self.topics.journeys, journeys), (self.topics.segment_counts, counts)):
            for key, value in rows:
                self.producer.produce(topic, value, key, partition=PARTITION)
        self.producer.flush(30)
        if abort:
            self.producer.abort_transaction(30)
        else:
            self.producer.commit_transaction(30)

    async def restore(self, store: Store) -> int:
        """Restore; returns the number of records that were read."""
        progress = Progress()
        await restore(
            {"bootstrap_servers": self.bootstrap_servers},
            store,
            TopicPartition(self.topics.journeys, PARTITION),
            TopicPartition(self.topics.segment_counts, PARTITION),
            TopicPartition(self.topics.case_counts, PARTITION),
            progress,
            Turn(),
        )
        assert progress.records <= progress.total
        assert progress.passed == progress.total, "what operators see ends at all of it, compacted or not"
        return progress.records


@pytest.fixture
async def changelogs(broker: Broker, unique_prefix: str) -> Changelogs:
    topics = Topics(unique_prefix)
    admin = await reach_broker({"bootstrap_servers": broker.bootstrap_servers}, 10)
    await ensure_topics(admin, topics, 2, 1, create=True)
    await admin.close()
    return Changelogs(broker.bootstrap_servers, topics)


def held(store: Store) -> dict[bytes, bytes]:
    """Everything but the checkpoint."""
    return {key: value for letter in (b"a", b"c", b"j") for key, value in store.scan(letter)}


def journeys_of(*keys: bytes) -> dict[bytes, bytes]:
    return {b"j" + key: JOURNEYS[key] for key in keys}


async def test_what_was_committed_is_restored_and_nothing_else(changelogs: Changelogs, tmp_path: Path) -> None:
    older = Remembered(ANSWER, MONDAY_MS)
    younger = Remembered(ANSWER, TUESDAY_MS)
    changelogs.write([(C1, JOURNEYS[C5]), (C2, JOURNEYS[C2]), (ANONYMOUS, REMEMBERED.encode(older))])
    changelogs.write([(C3, JOURNEYS[C3])], [(COUNTED, COUNTS.encode({1: 9}))], abort=True)
    changelogs.write([(C1, JOURNEYS[C1]), (C2, None)], [(COUNTED, COUNTS.encode({1: 1}))])
    changelogs.write([(ANONYMOUS, None)])
    changelogs.write([(ANONYMOUS, REMEMBERED.encode(younger)), (C4, JOURNEYS[C4])])
    with closing(Store(tmp_path / "store")) as store:
        assert await changelogs.restore(store) == 9
        assert held(store) == {
            **journeys_of(C1, C4),
            b"j" + ANONYMOUS: REMEMBERED.encode(younger),
            index_key(TUESDAY_MS, ANONYMOUS): b"",
            b"c" + COUNTED: COUNTS.encode({1: 1}),
        }
        assert await changelogs.restore(store) == 0, "nothing came after it"


async def test_empty_changelogs_give_an_empty_store(changelogs: Changelogs, tmp_path: Path) -> None:
    with closing(Store(tmp_path / "store")) as store:
        assert await changelogs.restore(store) == 0
        assert held(store) == {}
        changelogs.write([(C1, JOURNEYS[C1])], abort=True)
        assert await changelogs.restore(store) == 0
        assert held(store) == {}


async def test_a_store_that_survived_reads_only_the_tail(changelogs: Changelogs, tmp_path: Path) -> None:
    changelogs.write([(C1, JOURNEYS[C1]), (C2, JOURNEYS[C2])], [(COUNTED, COUNTS.encode({1: 1}))])
    with closing(Store(tmp_path / "store")) as store:
        assert await changelogs.restore(store) == 3
    changelogs.write([(C2, None), (C3, JOURNEYS[C3])])
    changelogs.write(counts=[(COUNTED, None)])
    with closing(Store(tmp_path / "store")) as store:
        assert await changelogs.restore(store) == 3
        assert held(store) == journeys_of(C1, C3)


async def test_an_interrupted_restore_goes_on_where_it_was(
    changelogs: Changelogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in JOURNEYS:
        changelogs.write([(key, JOURNEYS[key])], [(COUNTED, COUNTS.encode({1: 5}))])
    monkeypatch.setattr(changelog, "RECORDS_PER_POLL", 2)

    class Interrupted(Exception):
        pass

    class Failing(Store):
        writes = 0

        def write(self, rows: Iterable[Row], checkpoint: Checkpoint) -> None:
            self.writes += 1
            if self.writes == 3:
                raise Interrupted
            super().write(rows, checkpoint)

    with closing(Failing(tmp_path / "store")) as failing, pytest.raises(Interrupted):
        await changelogs.restore(failing)
    with closing(Store(tmp_path / "store")) as store:
        assert 0 < await changelogs.restore(store) < 10
        assert held(store) == {**journeys_of(*JOURNEYS), b"c" + COUNTED: COUNTS.encode({1: 5})}


@pytest.mark.parametrize("why", ["ahead", "old"])
async def test_a_store_that_can_not_be_continued_is_built_anew(
    changelogs: Changelogs, tmp_path: Path, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    """Ahead: the topics were recreated. Old: the changelogs may have forgotten that something was deleted."""
    changelogs.write([(C1, JOURNEYS[C1])])
    now_ms = int(time.time() * 1000)
    impossible = Checkpoint(1_000, 0, now_ms) if why == "ahead" else Checkpoint(1, 0, now_ms - STORE_MAX_AGE_MS - 1)
    with closing(Store(tmp_path / "store")) as store:
        store.write([(b"j" + C2, JOURNEYS[C2])], impossible)
        assert await changelogs.restore(store) == 1
        assert held(store) == journeys_of(C1)
    assert "rebuilding it" in caplog.text


async def test_a_store_that_is_broken_is_built_anew(changelogs: Changelogs, tmp_path: Path) -> None:
    changelogs.write([(C1, JOURNEYS[C1])])
    with closing(Store(tmp_path / "store")) as store:
        await changelogs.restore(store)
    (tmp_path / "store" / "CURRENT").write_text("no manifest\n")
    with closing(Store(tmp_path / "store")) as store:
        assert await changelogs.restore(store) == 1
        assert held(store) == journeys_of(C1)


async def test_a_store_that_turns_out_damaged_is_built_anew(
    changelogs: Changelogs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changelogs.write([(key, JOURNEYS[key]) for key in JOURNEYS])
    with closing(Store(tmp_path / "store")) as store:
        await changelogs.restore(store)
    file = next((tmp_path / "store").glob("*.sst"))
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(content)
    with closing(Store(tmp_path / "store")) as store:
        with pytest.raises(OSError, match="is damaged"):  # after which a partition opens again
            await changelogs.restore(store)
        assert await changelogs.restore(store) == len(JOURNEYS)
        assert held(store) == journeys_of(*JOURNEYS)
    assert "can't be continued (it is damaged): rebuilding it" in caplog.text


async def test_a_long_restore_leaves_the_event_loop_to_others(changelogs: Changelogs, tmp_path: Path) -> None:
    changelogs.write((journey_key("customer", f"c{number}", "s"), JOURNEYS[C3]) for number in range(60_000))
    empty = (tmp_path / f"store-{number}" for number in count())

    async def restore() -> None:
        with closing(Store(next(empty))) as store:
            assert await changelogs.restore(store) == 60_000

    assert await longest_turn_s(restore) < 0.05
