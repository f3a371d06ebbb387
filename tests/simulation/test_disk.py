"""A `MemoryStore` answers as a `Store` does, whatever is asked in whatever order, and a crash leaves both a prefix."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from streams.engine.store import Checkpoint, Store
from tests.simulation.disk import Disks, Loss, MemoryDisks, RocksDisks, StoreRow

WHERE = Path("worker")
KEYS = [letter + bytes([a, b]) for letter in (b"a", b"c", b"j") for a in (0, 1, 255) for b in (0, 7, 255)]


def both(seed: int, directory: Path) -> tuple[Disks, Disks]:
    return MemoryDisks(random.Random(seed)), RocksDisks(random.Random(seed), directory)


def some_rows(rng: random.Random) -> list[StoreRow]:
    return [(rng.choice(KEYS), rng.choice((None, b"", bytes([rng.randrange(9)])))) for _ in range(rng.randint(0, 6))]


@pytest.mark.parametrize("seed", range(8))
def test_memory_answers_as_rocksdb(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    disks = both(seed, tmp_path)
    path = WHERE / "partition-0"
    stores = [each.open(path) for each in disks]
    for step in range(120):
        what = rng.choices(("write", "get", "many", "scan", "purge", "clear", "reopen"), (60, 20, 20, 40, 3, 2, 5))[0]
        if what == "write":
            rows, checkpoint = some_rows(rng), Checkpoint(step, step + 1, step + 2)
            for store in stores:
                store.write(iter(rows), checkpoint)
        elif what == "purge":
            assert not {store.purge() for store in stores if store.holds_deleted} - {None}
        elif what == "clear":
            for store in stores:
                store.clear()
        elif what == "reopen":
            for store in stores:
                store.close()
            stores = [each.open(path) for each in disks]
        keys = rng.choices(KEYS, k=3)
        prefix = rng.choice((b"a", b"c", b"j", keys[0][:2], keys[0], b"zz"))
        start = rng.choice((None, prefix, prefix + b"\x05", prefix + b"\xff\xff\xff"))
        assert_same([store.get(keys[0]) for store in stores])
        assert_same([store.get_many(keys) for store in stores])
        assert_same([list(store.scan(prefix, start)) for store in stores])
        assert_same([store.checkpoint for store in stores])
        assert_same([each.peek(path) for each in disks])
    for store in stores:
        store.close()


def test_a_scan_sees_the_moment_at_which_it_began(tmp_path: Path) -> None:
    for disk in both(0, tmp_path):
        store = disk.open(WHERE / "partition-0")
        store.write([(b"ja", b"1"), (b"jb", b"2"), (b"jc", b"3")], Checkpoint(0, 0, 0))
        scan = store.scan(b"j")
        seen = [next(scan)]
        store.write([(b"jb", None), (b"jbb", b"4")], Checkpoint(1, 1, 1))
        assert [*seen, *scan] == [(b"ja", b"1"), (b"jb", b"2"), (b"jc", b"3")]
        store.close()


@pytest.mark.parametrize("loss", ["nothing", "tail", "all"])
@pytest.mark.parametrize("seed", range(4))
def test_a_crash_leaves_a_prefix_and_the_checkpoint_tells_which(tmp_path: Path, seed: int, loss: Loss) -> None:
    rng = random.Random(seed)
    path = WHERE / "partition-0"
    for disk in both(seed, tmp_path):
        store: Store = disk.open(path)
        states: list[dict[bytes, bytes]] = [{}]
        for step in range(1, 30):
            rows = some_rows(rng)
            store.write(rows, Checkpoint(step, 0, 0))
            states.append({**states[-1]})
            for key, value in rows:
                if value is None:
                    states[-1].pop(key, None)
                else:
                    states[-1][key] = value
        disk.crash(WHERE, loss)
        rows_left, checkpoint = disk.peek(path)
        kept = checkpoint.journeys_offset if checkpoint is not None else 0
        assert rows_left == states[kept]
        assert kept in {"nothing": {29}, "tail": set(range(30)), "all": {0}}[loss]
        reopened = disk.open(path)
        assert reopened.checkpoint == checkpoint
        reopened.close()
        disk.close()


def assert_same(answers: list[object]) -> None:
    memory, rocksdb = answers
    assert memory == rocksdb
