"""Load that takes its time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
STEP_S = 0.005  # sleeping for less costs more than it is worth


def paced(items: Iterable[T], per_second: float) -> Iterator[T]:
    """Yield items at no more than so many a second."""
    began = time.monotonic()
    for number, item in enumerate(items):
        ahead_s = number / per_second - (time.monotonic() - began)
        if ahead_s > STEP_S:
            time.sleep(ahead_s)
        yield item
