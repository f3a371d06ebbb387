"""When a delivery is tried again."""

from __future__ import annotations

import random
from typing import NamedTuple


class Retries(NamedTuple):
    """Waits that double, and when to give up. Seconds."""

    first_s: float
    longest_s: float
    give_up_after_s: float
    """From the first attempt; one that begins later is not made."""

    def wait_s(self, failures: int) -> float:
        """Return how long to wait after so many failures (1 or more).

        Anywhere in the upper half of what is allowed, so that many events that failed at once do not come back at once.
        """
        longest = max(self.first_s, self.longest_s)
        highest = min(self.first_s * 2.0 ** min(failures, 60), longest)
        return random.uniform(max(highest / 2, min(self.first_s, highest)), highest)  # noqa: S311  (no secret)
