"""Instants as they travel (RFC 3339 text) and as they are kept (whole microseconds since the epoch, UTC).

A response's time is read once and an event's times are written a few times per event, so neither direction makes a
`datetime`: an hour or a date is worked out once and remembered, and the rest is table look-ups and integer arithmetic.
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
_HOUR_US: Final = {f"{hour:02}": hour * US_PER_HOUR for hour in range(24)}
_SECOND_OF_HOUR_US: Final = {f":{s // 60:02}:{s % 60:02}": s * US_PER_SECOND for s in range(3600)}
_OFFSET_US: Final = {sign + hhmm: int(sign + "1") * us for sign in "+-" for hhmm, us in _MINUTE_US.items()}
"""`+00:00` to `-23:59`; local time minus this is UTC."""
_SCALE_US: Final = (0, 100_000, 10_000, 1_000, 100, 10, 1)
"""Microseconds of the last of so many digits of fraction."""
_SECOND_OF_HOUR_TEXT: Final = tuple(_SECOND_OF_HOUR_US)
_MILLI_TEXT: Final = ("Z", *(f".{milli:03}000Z" for milli in range(1, 1000)))

_RULE: Final = "must be an RFC 3339 date-time with seconds and an offset or Z"
_OUT_OF_RANGE: Final = "must be an instant in the years 1 to 9999 (UTC)"

DATES_REMEMBERED: Final = 4096
"""Days whose text is kept ready: eleven years of them, under 1 MiB."""
HOURS_REMEMBERED: Final = 16_384
"""Hours whose beginning is kept ready: almost two years of them, some 3 MB."""
INSTANTS_REMEMBERED: Final = 256
"""Written lately: an event says the same time more than once, and many are detected within one millisecond."""
RESTS_REMEMBERED: Final = 4_096
"""Of fractions of a second with an offset: whole milliseconds with four offsets, 1 MB …"""
REST_REMEMBERED_MAX_CHARACTERS: Final = 16
"""… of those no longer than `.123456789+00:00`. A fraction may have any number of digits."""


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


@lru_cache(maxsize=HOURS_REMEMBERED)
def _hour_us(text: str) -> int:
    """Return the first microsecond of an hour `YYYY-MM-DDThh`; a `ValueError` or `KeyError` is not remembered."""
    if text[10:11] not in ("T", "t"):
        raise ValueError(_RULE)
    return parse_day(text[:10]) * US_PER_DAY + _HOUR_US[text[11:]]


def parse_rfc3339(text: str) -> int:
    """Read an RFC 3339 date-time as microseconds since the epoch.

    `T` and `Z` in any case; seconds, and an offset or `Z`, are required; digits past microseconds are cut. `ValueError`
    with the rule (never the text) for anything else: second 60, hour 24, year 0000, a day that its month lacks, an
    offset beyond ±23:59, an instant whose UTC lies outside the years 1 to 9999.
    """
    try:
        us = _hour_us(text[:13]) + _SECOND_OF_HOUR_US[text[13:19]]
        rest = text[19:]
        if rest == "Z":
            return us
        us += _rest_us(rest) if len(rest) <= REST_REMEMBERED_MAX_CHARACTERS else _rest_us.__wrapped__(rest)
    except KeyError:
        raise ValueError(_RULE) from None
    if us < MIN_US or us > MAX_US:
        raise ValueError(_OUT_OF_RANGE)
    return us


@lru_cache(maxsize=RESTS_REMEMBERED)
def _rest_us(rest: str) -> int:
    """Return what follows `YYYY-MM-DDThh:mm:ss`: a fraction of a second (or none), less an offset."""
    if rest[-1:] in ("Z", "z"):
        fraction, offset_us = rest[:-1], 0
    else:
        fraction, offset_us = rest[:-6], _OFFSET_US[rest[-6:]]
    if not fraction:
        return -offset_us
    digits = fraction[1:7]
    if fraction[0] != "." or not (fraction[1:].isdigit() and fraction.isascii()):
        raise ValueError(_RULE)
    return int(digits) * _SCALE_US[len(digits)] - offset_us


@lru_cache(maxsize=HOURS_REMEMBERED)
def _hour_text(hour: int) -> str:
    """Write hours since the epoch as `YYYY-MM-DDThh`."""
    day, hour_of_day = divmod(hour, 24)
    return f"{format_day(day)}T{hour_of_day:02}"


@lru_cache(maxsize=INSTANTS_REMEMBERED)
def format_rfc3339(us: int) -> str:
    """Write microseconds since the epoch as RFC 3339 in UTC with `Z`; six digits of fraction, or none when it is zero.

    `ValueError` outside the years 1 to 9999.
    """
    hour, us_of_hour = divmod(us, US_PER_HOUR)
    second, micro = divmod(us_of_hour, US_PER_SECOND)
    milli, rest = divmod(micro, 1000)
    fraction = f".{micro:06}Z" if rest else _MILLI_TEXT[milli]
    return _hour_text(hour) + _SECOND_OF_HOUR_TEXT[second] + fraction
