"""A disk that can be full or read-only: a file system in memory, mounted for the purpose. Needs root, on Linux."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

SIZE_BYTES = 1 << 30
"""Of a disk with room; memory is taken only by what is written."""


class SmallDisk:
    """A file system of its own at `path`. Use as a context manager: whatever happens, it is unmounted at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=0755", "tmpfs", str(self.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Lazily: a worker that has not been reaped yet may have files open. One more for `make_read_only`.
        while os.path.ismount(self.path):
            _run("umount", "--lazy", str(self.path))

    def fill(self) -> None:
        """Leave no room: what is there stays, and nothing can be added."""
        found = os.statvfs(self.path)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        _run("mount", "-o", f"remount,size={max(used, found.f_frsize)}", str(self.path))

    def make_room(self) -> None:
        _run("mount", "-o", f"remount,size={SIZE_BYTES}", str(self.path))

    def make_read_only(self) -> None:
        """For whatever is opened from now on. Files that are open can still be written (the kernel would refuse to
        take that away), so this is a second, read-only sight of the same disk on top of the first one.
        """
        _run("mount", "--bind", str(self.path), str(self.path))
        _run("mount", "-o", "remount,ro,bind", str(self.path))

    def make_writable(self) -> None:
        _run("umount", "--lazy", str(self.path))


def disks_possible() -> bool:
    """Can such disks be made here?"""
    with tempfile.TemporaryDirectory() as directory:
        try:
            with SmallDisk(Path(directory)) as disk:
                disk.fill()
                disk.make_read_only()
        except (OSError, subprocess.CalledProcessError):
            return False
    return True


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)
