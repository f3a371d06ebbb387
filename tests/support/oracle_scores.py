"""Windows and score rows from the oracle's counts, added up the plain way. Times in microseconds since the epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.support.oracle import HOUR_US
from tests.support.oracle_events import Row

DEFAULT_WINDOWS = {"1d": 24, "7d": 168, "30d": 720, "90d": 2160}


def retained(counts: Mapping[Row, list[int]], now_us: int, retention_days: int) -> dict[Row, list[int]]:
    """Without the days that are over `retention_days` old as a whole, and without rows of nothing."""
    now = datetime.fromtimestamp(now_us / 1e6, UTC)
    kept = {}
    for row, cell in counts.items():
        end_of_day = datetime.combine(date.fromisoformat(row.day), datetime.min.time(), UTC) + timedelta(days=1)
        if any(cell) and end_of_day + timedelta(days=retention_days) > now:
            kept[row] = cell
    return kept


def score_rows(
    counts: Mapping[Row, Sequence[int]], now_us: int, windows: Mapping[str, int] = DEFAULT_WINDOWS
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """(survey, segment, window) → score row, for every combination that has a row of counts at all."""
    this_hour = now_us // HOUR_US
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    totals: dict[tuple[str, str, str], list[int]] = {}
    for row, cell in counts.items():
        hour = (date.fromisoformat(row.day) - date(1970, 1, 1)).days * 24 + row.hour
        for window, hours in windows.items():
            total = totals.setdefault((row.survey, row.segment, window), [0] * 7)
            if this_hour - hours < hour <= this_hour:
                for counter, count in enumerate(cell):
                    total[counter] += count
    for (survey, segment, window), total in totals.items():
        rows[survey, segment, window] = {
            "survey_id": survey,
            "segment": segment,
            "window": window,
            **score_row(*total),
        }
    return rows


def score_row(
    detractors: int, sevens: int, eights: int, promoters: int, csat_responses: int, csat_sum: int, answered: int
) -> dict[str, Any]:
    """The computed part of a score row. nps and its bounds are -100 to 100, the share 0 to 1, all unrounded."""
    passives = sevens + eights
    responses = detractors + passives + promoters
    low = high = nps = share = None
    if responses:
        nps = 100 * (promoters - detractors) / responses
        share = passives / responses
        adjusted = responses + 3
        p, d = (promoters + 0.75) / adjusted, (detractors + 0.75) / adjusted
        half = 1.959964 * math.sqrt((p + d - (p - d) ** 2) / adjusted)
        low, high = max(-100.0, 100 * (p - d - half)), min(100.0, 100 * (p - d + half))
    return {
        "responses": responses,
        "promoters": promoters,
        "passives": passives,
        "detractors": detractors,
        "sevens": sevens,
        "eights": eights,
        "nps": nps,
        "nps_low": low,
        "nps_high": high,
        "passive_share": share,
        "csat_mean": csat_sum / csat_responses if csat_responses else None,
        "csat_responses": csat_responses,
        "small_sample": responses < 30,
        "answered": answered,
        "answered_share": answered / responses if responses else None,
    }
