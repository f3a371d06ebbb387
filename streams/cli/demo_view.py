"""The demonstration on a terminal: scores with their intervals, what was found, and the newest events in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.cli.demo_observed import Observed
from streams.cli.simulated_feed import Tally

WINDOWS = ("1d", "7d", "30d", "90d")
WINDOW_COLUMNS = 14
OTHER_COLUMNS = 52
"""Columns of a terminal that one window takes, and everything else in the table of scores."""
OTHER_LINES = 22
"""Lines of a terminal that everything but the rows of scores takes."""
SMALL_LINES = 28
"""A terminal with fewer shows fewer of the newest events."""
LEFT_OUT_FIRST = ("industry", "plan", "country")
"""Segments that a small terminal does without."""
SURVEYS = ("relationship", "onboarding")
NONE = "–"  # noqa: RUF001 - a dash for nothing, as printed tables have
COMMENT_CHARS = 56


@dataclass
class Stage:
    """Where the demonstration is, for its first lines."""

    title: str
    links: dict[str, str]


def view(stage: Stage, tally: Tally, seen: Observed, width: int, height: int) -> RenderableType:
    """Everything, as much as fits."""
    left_out = 1 if height < SMALL_LINES else 0
    shown = scores(seen, width, rows_max=height - OTHER_LINES + 2 * left_out)
    return Group(heading(stage), Text(), shown, Text(), facts(tally, seen), Text(), newest(seen, left_out))


def heading(stage: Stage) -> RenderableType:
    """What happens now and where to look."""
    links = Text("   ").join(Text.assemble((f"{name} ", "dim"), (url, "cyan")) for name, url in stage.links.items())
    return Group(Text(stage.title, style="bold"), links)


def scores(seen: Observed, width: int, rows_max: int | None = None) -> Table:
    """NPS by survey, segment and window; the number of responses and the passives are those of the longest window."""
    room = (width - OTHER_COLUMNS) // WINDOW_COLUMNS
    windows = WINDOWS[-max(1, min(len(WINDOWS), room)) :]
    longest = windows[-1]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("NPS (95 % interval)", no_wrap=True)
    for window in windows:
        table.add_column(window, justify="right", no_wrap=True, min_width=WINDOW_COLUMNS - 1)
    for name in (f"in {longest}", "7s", "8s", "passive"):
        table.add_column(name, justify="right", no_wrap=True)
    for survey, segment in _rows_that_fit(seen, rows_max):
        title = Text(survey, style="bold") if segment == "all" else Text(segment)
        cells = [_nps(seen.scores.get((survey, segment, window))) for window in windows]
        table.add_row(title, *cells, *_counts(seen.scores.get((survey, segment, longest))))
    return table


def _rows_that_fit(seen: Observed, rows_max: int | None) -> list[tuple[str, str]]:
    """Survey and segment of each row: the first survey with its segments, of the others the whole."""
    names = {(survey, segment) for survey, segment, _ in seen.scores if survey == SURVEYS[0] or segment == "all"}
    for left_out in LEFT_OUT_FIRST:
        if rows_max is not None and len(names) > rows_max:
            names = {(survey, segment) for survey, segment in names if not segment.startswith(f"{left_out}=")}
    return sorted(names, key=lambda name: (SURVEYS.index(name[0]), name[1] != "all", name[1]))


def _counts(row: dict[str, Any] | None) -> tuple[str, str, str, str]:
    if row is None or row["passive_share"] is None:
        return NONE, NONE, NONE, NONE
    return f"{row['responses']:,}", f"{row['sevens']:,}", f"{row['eights']:,}", f"{row['passive_share']:.0%}"


def _nps(row: dict[str, Any] | None) -> Text:
    """`+12 (+8…+16)`, rounded here alone; grey for a small sample."""
    if row is None or row["nps"] is None:
        return Text(NONE, style="dim")
    text = f"{_signed(row['nps'])} ({_signed(row['nps_low'])}…{_signed(row['nps_high'])})"
    return Text(text, style="dim" if row["small_sample"] else "green" if row["nps"] > 0 else "red")


def _signed(value: float) -> str:
    whole = round(value)
    return f"{whole:+d}" if whole else "0"


def facts(tally: Tally, seen: Observed) -> Table:
    """What was done so far, from the worker's own metrics."""
    found, changed = seen.counters["nps_passive_detected_total"], seen.counters["nps_score_changed_total"]
    withdrawn, dead = seen.counters["nps_passive_withdrawn_total"], seen.counters["nps_dead_letters_total"]
    pace = f"{seen.per_second:,.0f} a second, {seen.lag_records:,} waiting, {tally.records:,} sent"
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")  # the one that gives way
    table.add_row("Records processed", f"{seen.processed:,}", _one_line(pace))
    table.add_row("Passives found", f"{found.total():,}", _one_line(in_words(found)))
    table.add_row("Passives converted", f"{changed.total():,}", _one_line(_converted_from(seen)))
    followed = seen.counters["nps_follow_ups_total"]
    overdue = f"; nobody was in time for {seen.overdue:,}" if seen.overdue else ""
    table.add_row("Follow-ups", f"{followed.total():,}", _one_line(in_words(followed) + overdue))
    table.add_row("Conversion by action", "", _one_line(by_action(seen)))
    table.add_row("Detections withdrawn", f"{withdrawn.total():,}", _one_line(in_words(withdrawn)))
    table.add_row("Dead letters", f"{dead.total():,}", _one_line(in_words(dead)))
    return table


def _one_line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def _converted_from(seen: Observed) -> str:
    """Conversions by the score that they come from, of the events that have been read."""
    return ", ".join(f"from {score} {number:,}" for score, number in sorted(seen.converted_from.items()))


def by_action(seen: Observed) -> str:
    """`tailored_offer 34 % of 412, none 15 % of 2,310`: the relationship survey, the best first."""
    rows = [row for row in seen.conversions if row["survey_id"] == SURVEYS[0] and row["conversion"] is not None]
    rows.sort(key=lambda row: -row["conversion"])
    return ", ".join(f"{row['action']} {row['conversion']:.0%} of {row['cases'] - row['withdrawn']:,}" for row in rows)


def in_words(counter: Counter[str]) -> str:
    """`first_response 310, from_promoter 41`, the most first; nothing that is 0."""
    return ", ".join(f"{name} {number:,}" for name, number in counter.most_common() if number)


def newest(seen: Observed, left_out: int = 0) -> RenderableType:
    """The newest events as a CRM reads them, but for so many of each kind."""
    lines = [found_sentence(data) for data in list(seen.detected)[left_out:]]
    lines += [changed_sentence(data) for data in list(seen.changed)[left_out:]]
    return Group(
        Text("Newest events", style="bold"), *(Text(line, no_wrap=True, overflow="ellipsis") for line in lines)
    )


def found_sentence(data: dict[str, Any]) -> str:
    """`c-001042 gave 8, was 9: passive (value_for_price)  “A bit expensive …”`."""
    before = "" if data["previous_score"] is None else f", was {data['previous_score']}"
    reason = f" ({data['reason']})" if data["reason"] else ""
    return f"  {data['customer_id']} gave {data['score']}{before}: passive{reason}{_quoted(data['comment'])}"


def changed_sentence(data: dict[str, Any]) -> str:
    """`c-001042 gave 8 and 41 days later 9: converted  “…”`."""
    what = "converted" if data["change"] == "passive_to_promoter" else data["change"]
    after = "then" if data["days_passive"] is None else f"{data['days_passive']:.0f} days later"
    sentence = f"  {data['customer_id']} gave {data['previous_score']}, passive; {after} {data['score']}: {what}"
    return sentence + _quoted(data["comment"])


def _quoted(comment: str | None) -> str:
    if comment is None:
        return ""
    return f"  “{comment}”" if len(comment) <= COMMENT_CHARS else f"  “{comment[:COMMENT_CHARS].rstrip()}…”"


def plain_line(elapsed_s: float, stage: Stage, tally: Tally, seen: Observed) -> str:
    """One line where no table can live."""
    return (
        f"{elapsed_s:4.0f} s  {stage.title}: {tally.records:,} sent, {seen.processed:,} processed"
        f" ({seen.per_second:,.0f} a second), {seen.lag_records:,} waiting;"
        f" passives found {seen.counters['nps_passive_detected_total'].total():,},"
        f" converted {seen.counters['nps_score_changed_total'].total():,};"
        f" dead letters {seen.counters['nps_dead_letters_total'].total():,}"
    )
