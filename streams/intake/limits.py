"""How much a client may send."""

from __future__ import annotations

from collections.abc import Callable


class TokenBucket:
    """So many a second in the long run, so many at once after a rest.

    Whoever comes while there is anything left gets all that they came with, and the next waits for it: how much a body
    holds is known only once it was read.
    """

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._left = self._burst
        self._at_s = clock()

    def wait_s(self) -> float:
        """Return how long to wait until there is one left; 0 when there is anything."""
        now_s = self._clock()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_second)
        self._at_s = now_s
        return 0.0 if self._left > 0 else (1 - self._left) / self._per_second

    def take(self, count: int) -> None:
        """Take so many, whether they are there or not."""
        self._left -= count
