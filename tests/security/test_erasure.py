"""After a tombstone nothing of the customer is left: not in the files of the state, not in the changelog."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic
from rocksdict import Options

from schemas.topics import Topics
from streams.broker import free_port
from streams.engine import store as store_module
from streams.engine.state_directory import partition_directory, remove_left_over, set_aside_left_over
from streams.engine.store import Checkpoint, Store
from tests.security.conftest import SecureBroker
from tests.security.eager_worker import uncompressed
from tests.support.kafka_reading import read_records
from tests.support.worker import WorkerProcess, worker_environment

CHECKPOINT = Checkpoint(1, 1, 1)
EAGER = ("tests.security.eager_worker",)


def files_with(directory: Path, *planted: str) -> dict[str, set[str]]:
    """The planted texts that are found, and the files that hold them."""
    found: dict[str, set[str]] = {}
    for path in directory.rglob("*"):
        try:
            held = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:  # files come and go
            continue
        for text in planted:
            if text.encode() in held:
                found.setdefault(text, set()).add(path.name)
    return found


# --- the files of the state -------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Of its own accord RocksDB rewrites no file here, as it may do at any moment from the fourth on."""

    def options() -> Options:
        made = uncompressed()
        made.set_disable_auto_compactions(True)
        return made

    monkeypatch.setattr(store_module, "_options", options)
    return Store(tmp_path / "store")


def rows(*names: str) -> list[tuple[bytes, bytes | None]]:
    return [(b'j["customer","%s","s"]' % name.encode(), os.urandom(200)) for name in names]


@pytest.mark.parametrize("place", ["aaa", "mmm", "zzz"], ids=["first of its file", "amid", "last"])
def test_deleted_keys_stay_in_the_files_until_a_purge(store: Store, place: str) -> None:
    """The first and the last key of a file are noted in RocksDB's manifest, too."""
    secret = f"{place}-{uuid.uuid4().hex}"
    for round_ in range(3):
        store.write(rows(*(f"c{round_}{number:05d}" for number in range(2_000)), "nnn"), CHECKPOINT)
        if round_ == 1:
            store.write(rows(secret), CHECKPOINT)
        store._db.flush()
    assert not store.holds_deleted
    store.write([(rows(secret)[0][0], None)], CHECKPOINT)
    assert store.holds_deleted
    store._db.flush()
    assert files_with(store.path, secret), "or this test would show nothing"
    assert store.holds_deleted
    store.purge()
    assert files_with(store.path, secret) == {}
    assert not store.holds_deleted
    assert store.checkpoint == CHECKPOINT
    assert sum(1 for _ in store.scan(b"j")) == 6_001
    store.close()


def test_a_purge_can_be_interrupted_and_nothing_is_lost(store: Store) -> None:
    for round_ in range(20):
        store.write([(b"j%d-%d" % (round_, number), os.urandom(1_000)) for number in range(4_000)], CHECKPOINT)
    store.write([(b"j3-7", None)], Checkpoint(2, 2, 2))

    def purge() -> None:
        try:
            store.purge()
        except Exception as error:
            refused.append(error)

    refused: list[Exception] = []
    purging = threading.Thread(target=purge)
    purging.start()
    time.sleep(0.05)
    began = time.monotonic()
    store.interrupt_purge()
    purging.join()
    store.close()
    assert time.monotonic() - began < 2
    again = Store(store.path)
    assert again.checkpoint == Checkpoint(2, 2, 2)
    assert sum(1 for _ in again.scan(b"j")) == 20 * 4_000 - 1
    again.close()


def test_state_of_partitions_that_others_have_is_removed(tmp_path: Path) -> None:
    now = time.time()
    for number, hours in ((0, 20), (1, 20), (2, 1)):
        directory = partition_directory(tmp_path, number)
        directory.mkdir()
        (directory / "000001.sst").write_bytes(b"someone")
        for path in (directory / "000001.sst", directory):
            os.utime(path, (now - hours * 3600,) * 2)
    (tmp_path / "partition-notes").mkdir()
    (tmp_path / "owner.json").write_text("{}")
    set_aside_left_over(tmp_path, {0}, 12 * 3600)
    assert not partition_directory(tmp_path, 1).exists()
    remove_left_over(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"partition-0", "partition-2", "partition-notes", "owner.json"}


# --- the whole way ----------------------------------------------------------------------------------------------------


def response(response_id: str, customer_id: str | None, comment: str) -> bytes:
    given = {"response_id": response_id, "customer_id": customer_id, "survey_id": "s", "score": 8, "comment": comment}
    return json.dumps({**given, "responded_at": datetime.now(UTC).isoformat()}).encode()


@pytest.mark.kafka
@pytest.mark.slow
def test_an_erased_customer_is_gone_from_disk_and_changelog(
    secure_broker: SecureBroker, unique: str, tmp_path: Path
) -> None:
    """The journeys topic cleans itself as often as it can; else all is as always."""
    topics = Topics(f"{unique}.")
    for future in secure_broker.admin.create_topics(
        [
            NewTopic(
                spec.name, 1, 1, config={**spec.config, **(EAGER_CLEANING if spec.name == topics.journeys else {})}
            )
            for spec in topics.all()
        ]
    ).values():
        future.result(30)
    servers = secure_broker.broker.bootstrap_servers
    producer = Producer({"bootstrap.servers": servers})
    # As an id at the beginning, amid and at the end of all keys; and one who answered without a name.
    texts = [uuid.uuid4().hex for _ in range(8)]
    erased = [place + text for place, text in zip(("000", "mmm", "zzz"), texts, strict=False)]
    nameless, *comments = texts[3:]
    state_dir = tmp_path / "state"
    settings = worker_environment(servers, topics.prefix, unique, free_port(), state_dir, 1)
    log_dir = secure_broker.broker.data_dir / "log" / f"{topics.journeys}-0"

    def publish(key: str, value: bytes | None) -> None:
        producer.produce(topics.responses, key=key, value=value)
        assert producer.flush(30) == 0

    with WorkerProcess(settings, tmp_path / "worker.log", EAGER) as worker:
        worker.wait_ready()
        for customer, comment in zip(erased, comments, strict=False):
            publish(customer, response(f"r-{customer}", customer, comment))
        publish(erased[0], response("another", erased[0], comments[3]))
        publish(nameless, response(nameless, None, "is not kept"))
        for number in range(50):
            publish(f"other-{number}", response(f"o-{number}", f"other-{number}", "stays"))
        until_accepted(worker, 55)
        assert worker.sigterm() == 0  # so that it is on disk, beyond doubt
        assert state_dir.stat().st_mode & 0o777 == 0o700
        assert files_with(state_dir, *texts).keys() == set(texts), "or this test would show nothing"
        assert files_with(log_dir, *texts).keys() == set(texts)

        worker.start()
        worker.wait_ready()
        for key in (*erased, nameless):
            publish(key, None)
        deadline = time.monotonic() + 90
        number = 0
        while files_with(state_dir, *texts) or files_with(log_dir, *texts):
            worker.check_running()
            assert time.monotonic() < deadline, (files_with(state_dir, *texts), files_with(log_dir, *texts))
            number += 1
            publish("other-0", response(f"more-{number}", "other-0", "closes the open segment"))
            time.sleep(0.5)
        assert worker.sigterm() == 0
    assert files_with(state_dir, *texts) == {}

    left = [(record.key, record.value) for record in read_records(servers, topics.journeys)]
    assert left, "the others are still there"
    assert not [key for key, _ in left if key is not None and any(text.encode() in key for text in texts)]
    assert "purged of what was deleted" in worker.log()
    assert not [text for text in texts if text in worker.log()]


def until_accepted(worker: WorkerProcess, count: int) -> None:
    deadline = time.monotonic() + 30
    while worker.metrics()["nps_responses_total", (("outcome", "accepted"),)] < count:
        worker.check_running()
        assert time.monotonic() < deadline
        time.sleep(0.1)


EAGER_CLEANING = {
    "segment.ms": "200",
    "min.cleanable.dirty.ratio": "0.0",
    "max.compaction.lag.ms": "200",
    "delete.retention.ms": "100",
    "file.delete.delay.ms": "100",
}
