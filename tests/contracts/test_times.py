"""RFC 3339 text ↔ microseconds: every rule, both directions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings

from schemas.times import MAX_US, MIN_US, US_PER_DAY, format_day, format_rfc3339, parse_day, parse_rfc3339
from tests.contracts.responses import instants_us, offset_instants

NOON = 1_795_348_800_000_000  # 2026-11-22T12:00:00Z


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2026-11-22T12:00:00Z", NOON),
        ("2026-11-22t12:00:00z", NOON),
        ("2026-11-22T12:00:00+00:00", NOON),
        ("2026-11-22T12:00:00-00:00", NOON),
        ("2026-11-22T13:00:00+01:00", NOON),
        ("2026-11-22T06:30:00-05:30", NOON),
        ("2026-11-23T11:59:00+23:59", NOON),
        ("2026-11-21T12:01:00-23:59", NOON),
        ("2026-11-22T12:00:00.5Z", NOON + 500_000),
        ("2026-11-22T12:00:00.05z", NOON + 50_000),
        ("2026-11-22T12:00:00.000001Z", NOON + 1),
        ("2026-11-22T12:00:00.0000019Z", NOON + 1),
        ("2026-11-22T12:00:00.99999999999999999999Z", NOON + 999_999),
        ("2026-11-22T13:00:00.25+01:00", NOON + 250_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
        ("2000-02-29T00:00:00Z", 951_782_400_000_000),
        ("0001-01-01T00:00:00Z", MIN_US),
        ("9999-12-31T23:59:59.999999Z", MAX_US),
        ("0001-01-01T00:00:00-00:01", MIN_US + 60_000_000),
        ("9999-12-31T23:59:59.999999+00:01", MAX_US - 60_000_000),
    ],
)
def test_reads_every_form_that_rfc_3339_allows(text: str, us: int) -> None:
    assert parse_rfc3339(text) == us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026",
        "2026-11-22",
        "2026-11-22T12:00",
        "2026-11-22T12:00Z",
        "2026-11-22T12:00:00",
        "2026-11-22T12:00:00.5",
        "2026-11-22 12:00:00Z",
        "2026-11-22_12:00:00Z",
        "2026-11-22T12:00:60Z",
        "2016-12-31T23:59:60Z",
        "2026-11-22T12:60:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T12:00:00.Z",
        "2026-11-22T12:00:00,5Z",
        "2026-11-22T12:00:00.5.5Z",
        "2026-11-22T12:00:00. 5Z",
        "2026-11-22T12:00:00.-5Z",
        "2026-11-22T12:00:00.1_0Z",
        "2026-11-22T12:00:00.٣Z",
        "2026-11-22T12:00:00.²Z",
        "2026-11-22T12:00:00Z ",
        " 2026-11-22T12:00:00Z",
        "2026-11-22T12:00:00Z\n",
        "2026-11-22T12:00:00ZZ",
        "2026-11-22T12:00:00+0100",
        "2026-11-22T12:00:00+01",
        "2026-11-22T12:00:00+1:00",
        "2026-11-22T12:00:00+24:00",
        "2026-11-22T12:00:00+01:60",
        "2026-11-22T12:00:00\u221201:00",
        "2026-11-22T12:00:00 01:00",
        "2026-11-22T12-00-00Z",
        "2026-11-22T12:00-00Z",
        "2026/11/22T12:00:00Z",
        "20261122T120000Z",
        "2026-W47-7T12:00:00Z",
        "2026-326T12:00:00.00Z",
        "26-11-22T12:00:00Z",
        "+2026-11-22T12:00:00Z",
        "2026-00-22T12:00:00Z",
        "2026-13-22T12:00:00Z",
        "2026-11-00T12:00:00Z",
        "2026-11-31T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "1900-02-29T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "٢٠٢٦-11-22T12:00:00Z",
        "2026-11-22T1२:00:00Z",
        "2026-11-22T1:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_refuses_what_is_no_instant_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="must be") as refusal:
        parse_rfc3339(text)
    assert len(text) < 8 or text not in str(refusal.value)


@settings(deadline=None, print_blob=True)
@given(offset_instants())
def test_reads_any_way_of_writing_an_instant(written: tuple[int, str]) -> None:
    us, text = written
    assert parse_rfc3339(text) == us


@settings(deadline=None, print_blob=True)
@given(instants_us)
def test_what_is_written_reads_back_and_is_what_datetime_writes(us: int) -> None:
    text = format_rfc3339(us)
    assert parse_rfc3339(text) == us
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo is UTC
    assert text == moment.replace(tzinfo=None).isoformat() + "Z"


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (500_000, "1970-01-01T00:00:00.500000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (MIN_US, "0001-01-01T00:00:00Z"),
        (MAX_US, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_writes_utc_with_seconds_and_a_fraction_only_when_there_is_one(us: int, text: str) -> None:
    assert format_rfc3339(us) == text


@pytest.mark.parametrize("us", [MIN_US - 1, MAX_US + 1, -(10**30), 10**30])
def test_refuses_to_write_instants_outside_the_years_1_to_9999(us: int) -> None:
    with pytest.raises(ValueError, match="years 1 to 9999"):
        format_rfc3339(us)


@pytest.mark.parametrize(("day", "text"), [(0, "1970-01-01"), (-1, "1969-12-31"), (20_779, "2026-11-22")])
def test_days_read_and_write(day: int, text: str) -> None:
    assert format_day(day) == text
    assert parse_day(text) == day


@pytest.mark.parametrize("text", ["", "2026-1-22", "2026-11-2x", "2026-11-31", "20261122", "2026-11-22T", "٢٠٢٦-11-22"])
def test_refuses_what_is_no_day(text: str) -> None:
    with pytest.raises(ValueError, match="must be a date"):
        parse_day(text)


def test_first_and_last_day() -> None:
    assert format_day(MIN_US // US_PER_DAY) == "0001-01-01"
    assert format_day(MAX_US // US_PER_DAY) == "9999-12-31"
