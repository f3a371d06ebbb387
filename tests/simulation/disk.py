"""State directories: where stores live, and what a crash leaves of them.

`MemoryStore` stands for `streams.engine.store.Store`, which `test_disk.py` holds it against. Both lose the same by a
crash: what was written since the last flush, which happens whenever RocksDB likes. What survives is a prefix.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

from streams.engine.store import Checkpoint, Store

Loss = Literal["nothing", "tail", "all"]
StoreRow = tuple[bytes, bytes | None]


class Disks(Protocol):
    """Of all workers."""

    def open(self, path: Path) -> Store:
        """What the engine calls in place of `Store`."""

    def crash(self, directory: Path, loss: Loss) -> None:
        """The process that had stores open in this directory is dead."""

    def peek(self, path: Path) -> tuple[dict[bytes, bytes], Checkpoint | None]:
        """Everything a store holds but the checkpoint, which comes apart. Of one that is open, too."""

    def close(self) -> None:
        """The world has ended."""


class _Image:
    """What is on one disk, and the batches that a crash may take."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.checkpoint: Checkpoint | None = None
        self.tail: list[tuple[list[StoreRow], Checkpoint]] = []

    def flush(self, batches: int) -> None:
        for rows, checkpoint in self.tail[:batches]:
            _apply(self.rows, rows)
            self.checkpoint = checkpoint
        del self.tail[:batches]


def _apply(data: dict[bytes, bytes], rows: Iterable[StoreRow]) -> None:
    for key, value in rows:
        if value is None:
            data.pop(key, None)
        else:
            data[key] = value


class MemoryStore:
    """The interface of `Store`, in memory."""

    def __init__(self, path: Path, image: _Image) -> None:
        self.path = path
        self._image = image
        image.flush(len(image.tail))
        self._data = dict(image.rows)
        self._checkpoint = image.checkpoint
        self._deleted = False
        self.damaged = False

    def get(self, key: bytes) -> bytes | None:
        return self._data.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._data.get(key) for key in keys]

    def scan(self, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        start = start or prefix
        data = self._data
        found = sorted((key, value) for key, value in data.items() if key >= start and key.startswith(prefix))
        return iter(found)

    def write(self, rows: Iterable[StoreRow], checkpoint: Checkpoint) -> None:
        batch = list(rows)
        self._deleted |= any(value is None for _, value in batch)
        _apply(self._data, batch)
        self._checkpoint = checkpoint
        self._image.tail.append((batch, checkpoint))

    @property
    def checkpoint(self) -> Checkpoint | None:
        return self._checkpoint

    @property
    def size_bytes(self) -> int:
        return sum(len(key) + len(value) for key, value in self._data.items())

    @property
    def holds_deleted(self) -> bool:
        return self._deleted

    def purge(self) -> None:
        self._image.flush(len(self._image.tail))
        self._deleted = False

    def interrupt_purge(self) -> None:
        pass

    def clear(self) -> None:
        self._data = {}
        self._checkpoint = None
        self._image.__init__()  # type: ignore[misc]

    def close(self) -> None:
        self._image.flush(len(self._image.tail))


class MemoryDisks:
    """Most schedules run on these."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._images: dict[Path, _Image] = {}

    def open(self, path: Path) -> Store:
        return MemoryStore(path, self._images.setdefault(path, _Image()))  # type: ignore[return-value]

    def crash(self, directory: Path, loss: Loss) -> None:
        for path in [path for path in self._images if path.parent == directory]:
            old = self._images.pop(path)  # whoever has it open may go on, to no effect
            if loss == "all":
                continue
            image = self._images[path] = _Image()
            image.rows, image.checkpoint, image.tail = dict(old.rows), old.checkpoint, list(old.tail)
            image.flush(len(image.tail) if loss == "nothing" else self._rng.randint(0, len(image.tail)))
            image.tail.clear()

    def peek(self, path: Path) -> tuple[dict[bytes, bytes], Checkpoint | None]:
        image = self._images.get(path)
        if image is None:
            return {}, None
        store = MemoryStore(path, _copied(image))
        return store._data, store.checkpoint

    def close(self) -> None:
        pass


def _copied(image: _Image) -> _Image:
    copy = _Image()
    copy.rows, copy.checkpoint, copy.tail = dict(image.rows), image.checkpoint, list(image.tail)
    return copy


class RocksDisks:
    """The real thing, in a directory of its own. A crash leaves the files as they are at that moment.

    What is left goes on under another name, since in this process, which did not die, RocksDB's lock may be held still.
    """

    def __init__(self, rng: random.Random, directory: Path) -> None:
        self._rng = rng
        self._directory = directory
        self._stores: dict[Path, _FlushingStore] = {}
        self._deaths: Counter[Path] = Counter()

    def _real(self, path: Path) -> Path:
        return self._directory / path.parent.name / f"{path.name}.{self._deaths[path]}"

    def open(self, path: Path) -> Store:
        store = self._stores[path] = _FlushingStore(self._real(path), self._rng)
        return store

    def crash(self, directory: Path, loss: Loss) -> None:
        for path in [path for path in self._stores if path.parent == directory]:
            store = self._stores.pop(path)
            if loss == "nothing" and not store.closed:
                store.flush()
            before = self._real(path)
            self._deaths[path] += 1
            if loss != "all":
                _copy_files(before, self._real(path))
            store.abandon()
            shutil.rmtree(before)

    def peek(self, path: Path) -> tuple[dict[bytes, bytes], Checkpoint | None]:
        store = self._stores.get(path)
        if store is not None and not store.closed:
            return _contents(store)
        if not self._real(path).exists():
            return {}, None
        closed = Store(self._real(path))
        try:
            return _contents(closed)
        finally:
            closed.close()

    def close(self) -> None:
        for store in self._stores.values():
            store.abandon()


def _copy_files(source: Path, target: Path) -> None:
    """Copy a database that is open. A crash is one moment, a copy is not: begin again if files change under it."""
    while True:
        try:
            shutil.copytree(source, target)
            if (target / (target / "CURRENT").read_text().strip()).exists():
                return
        except (shutil.Error, FileNotFoundError):
            pass
        shutil.rmtree(target, ignore_errors=True)


def _contents(store: Store) -> tuple[dict[bytes, bytes], Checkpoint | None]:
    return {
        key: value for letter in (b"a", b"c", b"d", b"j", b"k") for key, value in store.scan(letter)
    }, store.checkpoint


class _FlushingStore(Store):
    """Flushes when it likes, as RocksDB does when a memtable is full."""

    FLUSH_SHARE = 0.3

    def __init__(self, path: Path, rng: random.Random) -> None:
        super().__init__(path)
        self._rng = rng
        self.closed = False

    def write(self, rows: Iterable[StoreRow], checkpoint: Checkpoint) -> None:
        super().write(rows, checkpoint)
        if self._rng.random() < self.FLUSH_SHARE:
            self.flush()

    def flush(self) -> None:
        self._db.flush()

    def close(self) -> None:
        self.closed = True
        super().close()

    def abandon(self) -> None:
        """Let go of the files; whoever is dead has no use for them."""
        if not self.closed:
            self.closed = True
            self._db.close()
