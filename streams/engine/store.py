"""A partition's state on this machine's disk: RocksDB, a cache of the changelogs that is never ahead of them.

Kafka's changelogs are the log, so RocksDB keeps none of its own (no WAL): after a crash it holds a prefix of what was
written, and since the checkpoint is written in the same batch as the data, it always tells exactly which prefix.

Keys are one letter and then the changelog's key: `j` journeys and anonymous responses, `c` counts, `k` counts of cases,
`a` the index of anonymous responses by the day they were first seen, `d` that of cases by when they are due, `m` the
checkpoint, and that there was a purge.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from rocksdict import (
    BlockBasedOptions,
    BottommostLevelCompaction,
    Cache,
    CompactOptions,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from streams.engine.state_directory import StateDirectoryError

logger = logging.getLogger(__name__)

MEMTABLE_BYTES = 8 << 20
"""Per memtable; RocksDB holds at most two of a partition."""
BLOCK_CACHE_BYTES = 32 << 20
"""Shared by all partitions of this process."""
BLOOM_BITS_PER_KEY = 10
MANIFEST_BYTES = 1
"""RocksDB notes the first and last key of each file in its manifest, also of files that are long gone. Above this size
the next change begins a new one, so it holds what is there and no more. (There are few files: it stays small.)"""

_CHECKPOINT_KEY = b"mcheckpoint"
_PURGED_KEY = b"mpurged"
_block_cache: list[Cache] = []

_TROUBLE = {
    os.strerror(code)
    for code in (
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    )
}
"""What an operating system says of a disk that can't be used at all: there, to build the state anew would not help."""


class StoreDamaged(OSError):
    """What is on the disk is not what was written. The partition is opened again, and its store built anew."""


class Checkpoint(msgspec.Struct, array_like=True, frozen=True):
    """Which prefix of the changelogs the store holds."""

    journeys_offset: int
    """Next offset of the journeys changelog that the store does not hold."""
    counts_offset: int
    saved_at_ms: int
    """Wall clock. A store that missed more than the changelogs' `delete.retention.ms` may have missed deletions."""
    cases_offset: int = 0


def _options() -> Options:
    if not _block_cache:
        _block_cache.append(Cache(BLOCK_CACHE_BYTES))
    table = BlockBasedOptions()
    table.set_block_cache(_block_cache[0])
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, False)
    table.set_cache_index_and_filter_blocks(True)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(MEMTABLE_BYTES)
    options.set_max_write_buffer_number(2)
    # Most look-ups are of customers never seen, or not lately: a filter before the memtable, too.
    options.set_memtable_whole_key_filtering(True)
    options.set_memtable_prefix_bloom_ratio(0.1)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(1)
    options.set_max_open_files(128)
    options.set_max_manifest_file_size(MANIFEST_BYTES)
    return options


class Store:
    """The RocksDB of one partition. All methods are synchronous and take microseconds unless said."""

    def __init__(self, path: Path) -> None:
        """Raises StateDirectoryError when the disk can't be used."""
        self.path = path
        self.damaged = False
        """Something read was not what was written: only `clear` and `close` make sense."""
        self._write_options = WriteOptions()
        self._write_options.disable_wal = True
        self.interrupted = False
        """A purge was ended before its time."""
        self._db = self._open()

    def _open(self) -> Rdict:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return Rdict(str(self.path), _options())
        except Exception as error:  # rocksdict raises bare Exception
            if "/LOCK" in str(error):
                raise
            if any(words in str(error) for words in _TROUBLE):
                raise self._unusable(error) from error
            logger.warning(
                "state in %s can't be opened (%s): rebuilding it from the changelogs", self.path, _reason(error)
            )
        try:
            shutil.rmtree(self.path)
            return Rdict(str(self.path), _options())
        except Exception as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StateDirectoryError:
        return StateDirectoryError(
            f"the state directory {self.path.parent} can't be used any more ({_reason(error)}): make it writable, with "
            "room, and start the worker again; nothing is lost, what it held is read again from Kafka"
        )

    def _failure(self, error: Exception) -> Exception:
        """Return what to raise in place of rocksdict's bare Exception."""
        kind = str(error).partition(": ")[0]
        if kind == "Corruption":
            self.damaged = True
            return StoreDamaged(f"state in {self.path} is damaged ({_reason(error)})")
        return self._unusable(error) if kind == "IO error" else error

    def get(self, key: bytes) -> bytes | None:
        """Return the stored bytes, or None."""
        try:
            return self._db.get(key)  # type: ignore[no-any-return]
        except Exception as error:
            raise self._failure(error) from error

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the stored bytes of each key, or None, in one call."""
        try:
            return self._db.get(list(keys))  # type: ignore[no-any-return]
        except Exception as error:
            raise self._failure(error) from error

    def scan(self, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and value of the keys that begin with a prefix, in order, from `start` on."""
        last = start or prefix
        bounded = _up_to(prefix)
        for key, value in self._db.items(from_key=last, read_opt=bounded):
            yield key, value
            last = key
        if (error := self._unseen_error(last, bounded)) is not None:
            raise self._failure(error)

    def _unseen_error(self, last: bytes, bounded: ReadOptions) -> Exception | None:
        """Return why nothing follows: where a file can't be read, rocksdict's iterators just end. None: it is the end.

        The iterator must not get into a traceback: whoever holds the error would keep the store open.
        """
        iterator = self._db.iter(bounded)
        iterator.seek(last)
        if iterator.valid() and iterator.key() == last:
            iterator.next()
        try:
            iterator.status()
        except Exception as error:
            return error.with_traceback(None)
        return None

    def write(self, rows: Iterable[tuple[bytes, bytes | None]], checkpoint: Checkpoint) -> None:
        """Put (or, for None, delete) the rows and the checkpoint in one atomic batch."""
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for key, value in rows:
            if value is None:
                delete(key)
            else:
                put(key, value)
        put(_CHECKPOINT_KEY, msgspec.msgpack.encode(checkpoint))
        try:
            self._db.write(batch, self._write_options)
        except Exception as error:
            raise self._failure(error) from error

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What was written last; None for an empty store."""
        stored = self.get(_CHECKPOINT_KEY)
        return msgspec.msgpack.decode(stored, type=Checkpoint) if stored else None

    @property
    def size_bytes(self) -> int:
        """RocksDB files and memtables."""
        prop = self._db.property_int_value
        return (prop("rocksdb.total-sst-files-size") or 0) + (prop("rocksdb.cur-size-all-mem-tables") or 0)

    @property
    def holds_deleted(self) -> bool:
        """Do the files or memtables still hold what was deleted? To delete is first of all to write that it is."""
        prop = self._db.property_int_value
        in_memory = ("rocksdb.num-deletes-active-mem-table", "rocksdb.num-deletes-imm-mem-tables")
        return any(prop(name) for name in in_memory) or any(file["num_deletions"] for file in self._db.live_files())

    def purge(self) -> None:
        """Write the files anew, without what was deleted and without the keys of it. For a thread: seconds per GiB."""
        options = CompactOptions()
        # Else the newest mention of a key, that it is deleted, would be moved down as it is.
        options.set_bottommost_level_compaction(BottommostLevelCompaction.force())
        # All at once, not a range: RocksDB's log tells the ends of a range, which are keys.
        self._db.compact_range(None, None, options)
        if not self.interrupted:
            # A change of its own, so that the manifest begins anew after the one that dropped files. Of something that
            # nobody else writes: this is a thread.
            self._db.put(_PURGED_KEY, b"", self._write_options)
            self._db.flush()

    def interrupt_purge(self) -> None:
        """Let a purge in another thread end at once; after that the store can only be closed."""
        self.interrupted = True
        self._db.flush()
        self._db.cancel_all_background(False)

    def clear(self) -> None:
        """Delete everything, on disk too. Raises StateDirectoryError when the disk can't be used; then it is closed."""
        with suppress(Exception):  # it flushes first, which a damaged one may refuse
            self._db.close()
        del self._db
        shutil.rmtree(self.path, ignore_errors=True)
        self._db = self._open()
        self.damaged = False

    def close(self) -> None:
        """Write the memtable to disk (milliseconds), so that a later start restores only what comes after; close."""
        if not hasattr(self, "_db"):
            return  # it could not be opened again after it was cleared
        if not self.interrupted:  # else all that can be written is, and RocksDB closes when it is let go of
            try:
                self._db.flush()
                self._db.close()
            except Exception as error:
                logger.warning(
                    "state in %s is not all on disk (%s): what is missing will be read again from Kafka",
                    self.path,
                    _reason(error),
                )
        del self._db
        if self.damaged:
            shutil.rmtree(self.path, ignore_errors=True)


def _up_to(prefix: bytes) -> ReadOptions:
    """To read what begins with a prefix and nothing behind it. Else a scan that finds little walks over everything that
    was deleted behind its end, up to the next key that is alive: after a bulk erasure some 10 ms, for each one more.
    """
    options = ReadOptions()
    if below := prefix.rstrip(b"\xff"):  # what begins with bytes of 255 alone has nothing behind it
        options.set_iterate_upper_bound(below[:-1] + bytes([below[-1] + 1]))
    return options


def _reason(error: Exception) -> str:
    """Return in one line what the operating system said, where there is that, else all that RocksDB says."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    return text.rpartition(": ")[2] if text.startswith("IO error") else text
