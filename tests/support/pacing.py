"""Load that takes its time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def paced(items: Iterable[T], per_second: float) -> Iterator[T]:
    """Yield items no faster than so many a second."""
    began = time.monotonic()
    for number, item in enumerate(items):
        ahead_s = number / per_second - (time.monotonic() - began)
        if ahead_s > 0:
            time.sleep(ahead_s)
        yield item
