"""Rolling windows: a window of H hours at time t holds the clock hour (UTC) of t and the H - 1 hours before it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from streams.rules.counts import HOURS_A_DAY, hour_of

_TEXT: Final = re.compile(r"([1-9][0-9]{0,5})([hd])")


class Window(NamedTuple):
    """A rolling window."""

    name: str
    """As configured: `24h` and `1d` are two names for the same hours."""
    hours: int

    def last_hour(self, time_us: int) -> int:
        """The newest clock hour that the window holds at this time, in hours since the epoch."""
        return hour_of(time_us)

    def first_hour(self, time_us: int) -> int:
        """The oldest clock hour that the window holds at this time, in hours since the epoch."""
        return hour_of(time_us) - self.hours + 1


def parse_windows(text: str, retention_days: int) -> tuple[Window, ...]:
    """Reads `1d,7d,12h`: in the order given, at least one, none longer than the counts are kept.

    Raises ValueError with a sentence about the first entry that is wrong.
    """
    windows: list[Window] = []
    for entry in text.split(","):
        name = entry.strip()
        match = _TEXT.fullmatch(name)
        if match is None:
            raise ValueError(f"window {name!r} is not a number of hours or days such as 12h or 7d")
        hours = int(match[1]) * (HOURS_A_DAY if match[2] == "d" else 1)
        if hours > retention_days * HOURS_A_DAY:
            raise ValueError(f"window {name} is longer than the {retention_days} days that counts are kept")
        if any(window.name == name for window in windows):
            raise ValueError(f"window {name} is named twice")
        windows.append(Window(name, hours))
    return tuple(windows)
