"""A file that a command was told to write."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from streams.cli.console import Failure

if TYPE_CHECKING:
    from typing_extensions import Buffer


class CannotWrite(Failure):
    """The disk is full, or the like."""


class OutputFile(io.BufferedWriter):
    """Made anew, or emptied; also what fails later, on closing at the latest, is one sentence with the file's name.

    A private one is for its owner's eyes only, also where it was there before and was not.

    Raises:
        CannotWrite: by each method.
    """

    def __init__(self, path: Path, *, private: bool = False) -> None:
        self._path = path
        with self._explained():
            descriptor = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600 if private else 0o666
            )
            if private and stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fchmod(descriptor, 0o600)
        super().__init__(io.FileIO(descriptor, "wb"))

    def write(self, content: Buffer) -> int:
        """Write, some time."""
        with self._explained():
            return super().write(content)

    def flush(self) -> None:
        """Write what is waiting, now. `close` calls it."""
        with self._explained():
            super().flush()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CannotWrite(f"{self._path} cannot be written: {error.strerror}") from None
