"""Instants as they travel (RFC 3339 text) and as they are kept (whole microseconds since the epoch, UTC).

A response's time is read once and an event's times are written a few times per event, so neither direction makes a
`datetime`: a date is looked up once and remembered, the clock is table look-ups, and the rest is integer arithmetic.
"""

from __future__ import annotations

from datetime import MAXYEAR, date
from functools import lru_cache
from typing import Final

US_PER_SECOND: Final = 1_000_000
US_PER_MINUTE: Final = 60 * US_PER_SECOND
US_PER_HOUR: Final = 60 * US_PER_MINUTE
US_PER_DAY: Final = 24 * US_PER_HOUR

EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
"""The proleptic Gregorian ordinal of day 0."""
MIN_US: Final = (date.min.toordinal() - EPOCH_ORDINAL) * US_PER_DAY
"""0001-01-01T00:00:00Z."""
MAX_US: Final = (date(MAXYEAR, 12, 31).toordinal() - EPOCH_ORDINAL + 1) * US_PER_DAY - 1
"""9999-12-31T23:59:59.999999Z."""

_MINUTE_US: Final = {f"{m // 60:02}:{m % 60:02}": m * US_PER_MINUTE for m in range(24 * 60)}
_SECOND_US: Final = {f"{s:02}": s * US_PER_SECOND for s in range(60)}
_OFFSET_US: Final = {sign + hhmm: int(sign + "1") * us for sign in "+-" for hhmm, us in _MINUTE_US.items()}
"""`+00:00` to `-23:59`; local time minus this is UTC."""
_SCALE_US: Final = (0, 100_000, 10_000, 1_000, 100, 10, 1)
"""Microseconds of the last of so many digits of fraction."""
_SECOND_TEXT: Final = tuple(f":{s:02}" for s in range(60))
_MINUTE_TEXT: Final = tuple(_MINUTE_US)

_RULE: Final = "must be an RFC 3339 date-time with seconds and an offset or Z"
_OUT_OF_RANGE: Final = "must be an instant in the years 1 to 9999 (UTC)"

DATES_REMEMBERED: Final = 4096
"""Days whose text is kept ready: eleven years of them, under 1 MiB."""


def parse_day(text: str) -> int:
    """Read a real date `YYYY-MM-DD` of the years 1 to 9999 as days since the epoch; `ValueError` if it is none."""
    if len(text) != 10 or text[4] != "-" or text[7] != "-" or not text.isascii():
        raise ValueError("must be a date YYYY-MM-DD")
    year, month, day = text[:4], text[5:7], text[8:]
    if not (year.isdigit() and month.isdigit() and day.isdigit()):
        raise ValueError("must be a date YYYY-MM-DD")
    try:
        return date(int(year), int(month), int(day)).toordinal() - EPOCH_ORDINAL
    except ValueError:
        raise ValueError("must be a date of the calendar, YYYY-MM-DD") from None


@lru_cache(maxsize=DATES_REMEMBERED)
def format_day(day: int) -> str:
    """Write days since the epoch as `YYYY-MM-DD`; `ValueError` outside the years 1 to 9999."""
    try:
        return date.fromordinal(day + EPOCH_ORDINAL).isoformat()
    except (ValueError, OverflowError):
        raise ValueError("must be a day in the years 1 to 9999") from None


@lru_cache(maxsize=DATES_REMEMBERED)
def _date_us(text: str) -> int:
    """Return the first microsecond (UTC) of a date; a `ValueError` is not remembered."""
    return parse_day(text) * US_PER_DAY


def parse_rfc3339(text: str) -> int:
    """Read an RFC 3339 date-time as microseconds since the epoch.

    `T` and `Z` in any case; seconds, and an offset or `Z`, are required; digits past microseconds are cut. `ValueError`
    with the rule (never the text) for anything else: second 60, hour 24, year 0000, a day that its month lacks, an
    offset beyond ±23:59, an instant whose UTC lies outside the years 1 to 9999.
    """
    try:
        us = _date_us(text[:10]) + _MINUTE_US[text[11:16]] + _SECOND_US[text[17:19]]
        if text[10] not in "Tt" or text[16] != ":":
            raise ValueError(_RULE)
    except (KeyError, IndexError):
        raise ValueError(_RULE) from None
    rest = text[19:]
    return us if rest == "Z" else _add_rest(us, rest)


def _add_rest(us: int, rest: str) -> int:
    """Add a fraction of a second and take off an offset: what follows `YYYY-MM-DDThh:mm:ss`."""
    if rest[-1:] in ("Z", "z"):
        fraction, offset_us = rest[:-1], 0
    else:
        fraction = rest[:-6]
        try:
            offset_us = _OFFSET_US[rest[-6:]]
        except KeyError:
            raise ValueError(_RULE) from None
    if fraction:
        digits = fraction[1:7]
        if fraction[0] != "." or not (fraction[1:].isdigit() and fraction.isascii()):
            raise ValueError(_RULE)
        us += int(digits) * _SCALE_US[len(digits)]
    us -= offset_us
    if us < MIN_US or us > MAX_US:
        raise ValueError(_OUT_OF_RANGE)
    return us


def format_rfc3339(us: int) -> str:
    """Write microseconds since the epoch as RFC 3339 in UTC with `Z`; six digits of fraction, or none when it is zero.

    `ValueError` outside the years 1 to 9999.
    """
    day, us_of_day = divmod(us, US_PER_DAY)
    minute, us_of_minute = divmod(us_of_day, US_PER_MINUTE)
    second, micro = divmod(us_of_minute, US_PER_SECOND)
    if micro:
        return f"{format_day(day)}T{_MINUTE_TEXT[minute]}{_SECOND_TEXT[second]}.{micro:06}Z"
    return f"{format_day(day)}T{_MINUTE_TEXT[minute]}{_SECOND_TEXT[second]}Z"
