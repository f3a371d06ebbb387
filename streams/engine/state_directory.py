"""The directory with a worker's local state: whose it is, and that only one living worker uses it."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
import uuid
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Self

import msgspec

logger = logging.getLogger(__name__)

_PARTITION = "partition-"
_OWNER = "owner.json"
_INSTANCE = "instance-id"
_LEFT_OVER = "left-over-"


class StateDirectoryError(Exception):
    """The directory can't be used; the message says why and what to do."""


class OwnerDamaged(Exception):
    """What tells whose state a directory holds is no JSON: it was cut off, or overwritten."""


class Owner(msgspec.Struct, frozen=True):
    """Whose state a directory holds. Mixing them up would answer questions from another group's customers."""

    cluster_id: str
    group_id: str
    topic_prefix: str
    format: int = 1


class StateDirectory:
    """A locked state directory. The lock ends with the process, however it ends."""

    def __init__(self, path: Path, owner: Owner) -> None:
        self.path = path
        self._owner = owner
        self._lock: int | None = None
        self.instance_id = ""
        """Once acquired: a name for whoever uses this directory, the same from start to start, and no other's."""

    def acquire(self) -> Self:
        """Create, lock and check the directory. Raises StateDirectoryError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)  # what customers said is in it
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._take_lock(self._lock)
            self._check_owner()
            self.instance_id = self._known_instance()
        except OSError as error:
            self.release()
            raise StateDirectoryError(
                f"the state directory {self.path} can't be used ({error.strerror}): "
                "make it writable, with room, or set NPS_STATE_DIR"
            ) from error
        except StateDirectoryError:
            self.release()
            raise
        return self

    def _take_lock(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
            raise StateDirectoryError(
                f"the state directory {self.path} is in use by a living worker (pid {holder}): "
                "give each worker its own NPS_STATE_DIR"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Unlock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _known_instance(self) -> str:
        path = self.path / _INSTANCE
        if not path.exists():
            self._write(_INSTANCE, uuid.uuid4().hex.encode())
        # A copy of the directory has the same content; two living members of one name would drive each other out.
        return f"{path.read_text()}-{path.stat().st_ino}"

    def _write(self, name: str, content: bytes) -> None:
        """Whole or not at all: a disk that is full just now must not leave half a file."""
        written = self.path / f"{name}.new"
        written.write_bytes(content)
        written.rename(self.path / name)

    def _check_owner(self) -> None:
        try:
            found = known_owner(self.path)
        except OwnerDamaged as damaged:
            # Nobody else uses it, for it is locked; whose state it is cannot be known, so none of it is continued.
            logger.warning("%s: rebuilding the state from the changelogs", damaged)
            set_aside_left_over(self.path, in_use=(), older_than_s=float("-inf"))
            found = None
        if found is None:
            self._write(_OWNER, msgspec.json.encode(self._owner))
            return
        for name, what in (("group_id", "group"), ("topic_prefix", "topic prefix"), ("cluster_id", "Kafka cluster")):
            theirs, ours = getattr(found, name), getattr(self._owner, name)
            if theirs != ours:
                raise StateDirectoryError(
                    f"the state directory {self.path} belongs to {what} {theirs!r}, this worker's is {ours!r}: "
                    "set another NPS_STATE_DIR, or remove the directory if that state is no longer needed"
                )
        if found.format > self._owner.format:
            raise StateDirectoryError(
                f"the state directory {self.path} was written by a newer release: run that one, or remove the directory"
            )


def known_owner(path: Path) -> Owner | None:
    """Return whose state a directory holds; None: nobody's yet.

    Raises OwnerDamaged, and StateDirectoryError for what is whole but says something else: a newer release may.
    """
    try:
        said = msgspec.json.decode((path / _OWNER).read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OwnerDamaged(f"{path / _OWNER} can't be read ({error})") from None
    try:
        return msgspec.convert(said, Owner)
    except msgspec.ValidationError:
        raise StateDirectoryError(
            f"{path / _OWNER} can't be understood: remove the state directory, it is rebuilt from the changelogs"
        ) from None


def partition_directory(state_dir: Path, partition: int) -> Path:
    """Return where a partition's store is."""
    return state_dir / f"{_PARTITION}{partition}"


def set_aside_left_over(state_dir: Path, in_use: Container[int], older_than_s: float) -> None:
    """Rename the stores of partitions that others have long had: too old to be continued, they would only keep what may
    have been erased since. Takes microseconds; `remove_left_over` does the rest.
    """
    for path in _directories(state_dir, _PARTITION):
        number = path.name.removeprefix(_PARTITION)
        if number.isdecimal() and int(number) not in in_use and _age_s(path) > older_than_s:
            path.rename(state_dir / f"{_LEFT_OVER}{number}-{time.time_ns()}")


def remove_left_over(state_dir: Path) -> None:
    """Delete what was set aside. For a thread."""
    for path in _directories(state_dir, _LEFT_OVER):
        shutil.rmtree(path, ignore_errors=True)


def _directories(state_dir: Path, prefix: str) -> Iterator[Path]:
    return (path for path in state_dir.glob(f"{prefix}*") if path.is_dir())


def _age_s(path: Path) -> float:
    """Since anything in the directory was written."""
    newest = max((each.stat().st_mtime for each in (path, *path.iterdir())), default=0.0)
    return time.time() - newest
