"""A disk that fails, and files that are not what was written: a cache that is built anew, or one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streams.engine.state_directory import Owner, StateDirectory, StateDirectoryError, known_owner
from streams.engine.store import Checkpoint, Store, StoreDamaged
from tests.support.small_disk import SmallDisk, disks_possible

ROWS = 3_000
CHECKPOINT = Checkpoint(1, 2, 3)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if not disks_possible():
        pytest.skip("a disk to fill needs the right to mount one")
    with SmallDisk(tmp_path / "disk") as disk:
        yield disk


def written(path: Path) -> list[bytes]:
    """A store with three files, whose checkpoint tells how many of its keys there are; returns these."""
    keys = [b"j%05d" % number for number in range(ROWS)]
    for start in range(0, ROWS, ROWS // 3):
        with closing(Store(path)) as store:
            end = start + ROWS // 3
            store.write([(key, os.urandom(300)) for key in keys[start:end]], Checkpoint(end, 0, 0))
    return keys


def change_a_bit(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def fill_memtable(store: Store) -> None:
    """Write more than a memtable holds."""
    for number in range(30):
        store.write([(b"j%d-%d" % (number, row), os.urandom(5_000)) for row in range(100)], CHECKPOINT)


@pytest.mark.parametrize("file", ["*.sst", "MANIFEST-*", "CURRENT"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_store_that_was_truncated_is_begun_anew_or_holds_what_its_checkpoint_tells(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, share: float
) -> None:
    """Of the list of its files the last lines may be gone without being missed."""
    keys = written(tmp_path / "store")
    found = sorted((tmp_path / "store").glob(file))[0]
    os.truncate(found, int(found.stat().st_size * share))
    with closing(Store(tmp_path / "store")) as store:
        checkpoint = store.checkpoint
        held = checkpoint.journeys_offset if checkpoint else 0
        assert [value is not None for value in store.get_many(keys)] == [True] * held + [False] * (ROWS - held)
    assert held == 0 or "MANIFEST" in file
    assert held or "rebuilding it from the changelogs" in caplog.text


@pytest.mark.parametrize("back", [40, 60, 300, 1_500])
def test_a_store_with_a_damaged_index_is_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, back: int
) -> None:
    """It is read when the store is opened; what RocksDB says of it speaks of blocks, and of no lock."""
    written(tmp_path / "store")
    file = sorted((tmp_path / "store").glob("*.sst"))[0]
    change_a_bit(file, -back)
    with closing(Store(tmp_path / "store")) as store:
        assert store.checkpoint is None
    assert "rebuilding it from the changelogs" in caplog.text


def test_damage_is_found_by_whatever_reads(tmp_path: Path) -> None:
    """Also by a scan, which must not take it for the end."""
    keys = written(tmp_path / "store")
    file = sorted((tmp_path / "store").glob("*.sst"))[1]
    change_a_bit(file, file.stat().st_size // 3)
    with closing(Store(tmp_path / "store")) as store:
        for read in (
            lambda: [store.get(key) for key in keys],
            lambda: store.get_many(keys),
            lambda: list(store.scan(b"j")),
        ):
            with pytest.raises(StoreDamaged, match="is damaged"):
                read()
        assert store.damaged
    with closing(Store(tmp_path / "store")) as store:
        assert store.checkpoint is None, "it was removed when it was closed"


def test_a_damaged_store_is_cleared_while_somebody_holds_the_error(tmp_path: Path) -> None:
    """Whose traceback has the frames that read. RocksDB stays open for as long as an iterator is there."""
    written(tmp_path / "store")
    file = sorted((tmp_path / "store").glob("*.sst"))[1]
    change_a_bit(file, file.stat().st_size // 3)
    with closing(Store(tmp_path / "store")) as store:
        with pytest.raises(StoreDamaged) as held:
            list(store.scan(b"j"))
        store.clear()
        assert (store.checkpoint, list(store.scan(b"j"))) == (None, [])
        store.write([(b"j1", b"1")], CHECKPOINT)
    assert held.value.__traceback__ is not None


def test_a_store_that_could_not_be_cleared_can_be_closed(tmp_path: Path) -> None:
    store = Store(tmp_path / "state" / "partition-0")
    held = store._db.items()
    with pytest.raises(Exception, match="LOCK"):
        store.clear()
    store.close()
    del held


def test_a_scan_that_ends_where_the_keys_end_is_no_damage(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "store")) as store:
        assert list(store.scan(b"j")) == []
        store.write([(b"j1", b"1"), (b"z1", b"2")], CHECKPOINT)
        assert list(store.scan(b"z")) == [(b"z1", b"2")]
        assert list(store.scan(b"z", b"z2")) == []
        store.write([(b"z1", None)], CHECKPOINT)
        assert list(store.scan(b"z")) == []


def test_a_full_disk_is_one_sentence_and_loses_nothing(disk: SmallDisk, caplog: pytest.LogCaptureFixture) -> None:
    path = disk.path / "state" / "partition-0"
    with closing(Store(path)) as store:
        store.write([(b"j1", b"1")], CHECKPOINT)
    with closing(Store(path)) as store:
        disk.fill()
        with pytest.raises(StateDirectoryError, match=r"disk/state can't be used any more \(No space left on device\)"):
            fill_memtable(store)
    assert "is not all on disk (No space left on device)" in caplog.text
    with pytest.raises(StateDirectoryError, match="No space left on device"):
        Store(path)
    disk.make_room()
    with closing(Store(path)) as store:
        assert (store.checkpoint, store.get(b"j1")) == (CHECKPOINT, b"1")
    assert "rebuilding" not in caplog.text


def test_a_read_only_disk_is_one_sentence(disk: SmallDisk) -> None:
    path = disk.path / "state" / "partition-0"
    with closing(Store(path)) as store:
        disk.make_read_only()
        with pytest.raises(StateDirectoryError, match=r"can't be used any more \(Read-only file system\)"):
            fill_memtable(store)
    with pytest.raises(StateDirectoryError, match="Read-only file system"):
        Store(path)


def test_a_state_directory_on_a_full_disk_is_refused_and_not_half_written(disk: SmallDisk) -> None:
    owner = Owner("cluster", "group", "nps.")
    disk.fill()
    with pytest.raises(StateDirectoryError, match="No space left on device"):
        StateDirectory(disk.path / "state", owner).acquire()
    disk.make_room()
    taken = StateDirectory(disk.path / "state", owner).acquire()
    assert known_owner(disk.path / "state") == owner
    with pytest.raises(StateDirectoryError, match="in use by a living worker"):
        StateDirectory(disk.path / "state", owner).acquire()
    taken.release()
