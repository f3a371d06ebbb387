"""A partition in memory, driven by the rules: what the engine does with them, without stores, units and Kafka."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from schemas.follow_up import accept_follow_up
from schemas.response import Rejected, SurveyResponse, accept, erased_id
from schemas.times import format_day
from streams.rules.case import Case, CaseChange
from streams.rules.case_counts import amounts, opening_amounts
from streams.rules.cases import Happening, ended
from streams.rules.counts import COUNTERS, answered_cells, cells, day_of
from streams.rules.decisions import Event, RulesConfig, decide, decide_anonymous, erase
from streams.rules.follow_ups import UNKNOWN_CASE, decide_follow_up, decide_overdue
from streams.rules.journey import Answer, Journey, Remembered
from streams.rules.segments import ALL, Places, segment_names
from tests.support import case_cells

Hour = tuple[str, str, str, int]
"""Survey, segment, day as YYYY-MM-DD, hour of the day."""


class Driver:
    """Feed it records in the order of their offsets."""

    def __init__(
        self, config: RulesConfig, crosses: Sequence[tuple[str, ...]] = (), segment_limit: int = 10_000
    ) -> None:
        self.config = config
        self.places = Places(segment_limit, crosses)
        self.journeys: dict[str, dict[str, Journey]] = {}  # customer → survey →
        self.remembered: dict[str, dict[str, Remembered]] = {}  # response id → survey →
        self.counts: dict[tuple[str, str, int], Counter[int]] = {}  # (survey, segment, day) → cell → count
        self.suppressed: Counter[str] = Counter()
        self.overflowed = 0
        self.stream_time_ms = 0
        self.case_places = Places(segment_limit, crosses)
        self.case_rows: dict[tuple[str, str, int], Counter[int]] = {}  # (survey, segment, day) → cell → count
        self.contacts_us: list[int] = []

    def process(self, key: bytes | None, value: bytes | None, record_time_ms: int) -> tuple[str, Sequence[Event]]:
        """Outcome and events of one record."""
        self.stream_time_ms = max(self.stream_time_ms, record_time_ms)
        try:
            if value is None:
                return "erased", self.erase(erased_id(key))
            return self.respond(accept(key, value, record_time_ms), record_time_ms)
        except Rejected:
            return "dead_letter", ()

    def respond(self, response: SurveyResponse, record_time_ms: int) -> tuple[str, Sequence[Event]]:
        """Outcome and events of a valid response."""
        survey, customer = response.survey_id, response.customer_id
        if customer is None:
            remembered = self.remembered.setdefault(response.response_id, {})
            anonymous = decide_anonymous(
                self.config, remembered.get(survey), response, record_time_ms, self.stream_time_ms
            )
            self._count(survey, anonymous.retracted, anonymous.counted)
            if anonymous.remembered is not None:
                remembered[survey] = anonymous.remembered
            return anonymous.outcome, ()
        journeys = self.journeys.setdefault(customer, {})
        decision = decide(self.config, customer, journeys.get(survey), response, record_time_ms)
        self._count(survey, decision.retracted, decision.counted)
        if decision.journey is not None:
            journeys[survey] = decision.journey
        self._change(survey, decision.case)
        if decision.suppressed is not None:
            self.suppressed[decision.suppressed] += 1
        return decision.outcome, decision.events

    def erase(self, erased: str | None) -> Sequence[Event]:
        if erased is None:
            return ()
        self.remembered.pop(erased, None)
        journeys = self.journeys.pop(erased, {})
        for survey, journey in journeys.items():
            if journey.case is not None:
                self._change(survey, ended(journey.case, Happening.ERASED, 0))
        return erase(erased, journeys)

    def follow_up(self, key: bytes | None, value: bytes | None, record_time_ms: int) -> str:
        """Outcome of one record of the follow-ups."""
        try:
            follow_up = accept_follow_up(key, value, record_time_ms)
        except Rejected:
            return "dead_letter"
        survey, customer = follow_up.survey_id, follow_up.customer_id
        decision = decide_follow_up(self.journeys.get(customer, {}).get(survey), follow_up)
        if decision.journey is not None:
            assert decision.outcome != UNKNOWN_CASE
            self.journeys[customer][survey] = decision.journey
        self._change(survey, decision.case)
        if decision.answered is not None and (rows := decision.answered.counted_as) is not False:
            names = segment_names(decision.answered.segments) if rows is True else rows
            for segment in (ALL, *names):
                self.counts[survey, segment, day_of(decision.answered.responded_at)].update(
                    dict(answered_cells(decision.answered))
                )
        if decision.contact_us is not None:
            self.contacts_us.append(decision.contact_us)
        return decision.outcome

    def overdue(self, customer: str, survey: str, now_us: int) -> Event | None:
        """Let the wall clock pass."""
        decision = decide_overdue(self.config, customer, survey, self.journeys[customer][survey], now_us)
        if decision is None:
            return None
        self.journeys[customer][survey] = decision.journey
        self._change(survey, decision.case)
        return decision.event

    def open_cases(self) -> dict[tuple[str, str], Case]:
        """(customer, survey) → case."""
        return {
            (customer, survey): journey.case
            for customer, journeys in self.journeys.items()
            for survey, journey in journeys.items()
            if journey.case is not None
        }

    def case_counts(self) -> dict[tuple[str, str, str, int, str, str], Counter[str]]:
        """(survey, segment, day, score, reason, action) → counters that are not 0."""
        found: dict[tuple[str, str, str, int, str, str], Counter[str]] = {}
        for (survey, segment, day), row in self.case_rows.items():
            for group, counters in case_cells.told(row).items():
                found[survey, segment, format_day(day), *group] = counters
        return found

    def _change(self, survey: str, change: CaseChange | None) -> None:
        if change is None:
            return
        if change.before is None:
            opened = change.after
            assert opened is not None
            placement = self.case_places.rows_of(survey, opened.segments)
            opened.counted_as = True if placement.plain else placement.rows
            changed, case = opening_amounts(opened), opened
        else:
            changed, case = amounts(change), change.before
        rows = case.counted_as
        assert rows is not False
        day = day_of(case.opened_at)
        for segment in (ALL, *(segment_names(case.segments) if rows is True else rows)):
            row = self.case_rows.get((survey, segment, day))
            if row is None:
                row = self.case_rows[survey, segment, day] = Counter()
                self.case_places.row_created(survey, segment)
            for cell, amount in changed:
                row[cell] += amount
                assert row[cell] >= 0, "taken back from where it was not counted"

    def by_hour(self) -> dict[Hour, list[int]]:
        """The six counters of each clock hour that holds anything."""
        hours: dict[Hour, list[int]] = {}
        for (survey, segment, day), row in self.counts.items():
            for cell, count in row.items():
                hour, counter = divmod(cell, COUNTERS)
                if count:
                    hours.setdefault((survey, segment, format_day(day), hour), [0] * COUNTERS)[counter] = count
        return hours

    def histories(self) -> dict[tuple[str, str], list[tuple[str, int, int, int]]]:
        """(customer, survey) → the answers of the history: id, revision, score, time."""
        return {
            (customer, survey): [(a.response_id, a.revision, a.score, a.responded_at) for a in journey.history]
            for customer, journeys in self.journeys.items()
            for survey, journey in journeys.items()
        }

    def _count(self, survey: str, retracted: Answer | None, counted: Answer | None) -> None:
        if retracted is not None:
            rows = retracted.counted_as
            assert rows is not False
            self._add(survey, segment_names(retracted.segments) if rows is True else rows, retracted, -1)
        if counted is not None:
            placement = self.places.rows_of(survey, counted.segments)
            self.overflowed += placement.diverted
            counted.counted_as = True if placement.plain else placement.rows
            self._add(survey, placement.rows, counted, 1)

    def _add(self, survey: str, rows: Sequence[str], answer: Answer, sign: int) -> None:
        day = day_of(answer.responded_at)
        for segment in (ALL, *rows):
            row = self.counts.get((survey, segment, day))
            if row is None:
                row = self.counts[survey, segment, day] = Counter()
                self.places.row_created(survey, segment)
            for cell, amount in cells(answer):
                row[cell] += sign * amount
                assert row[cell] >= 0, "taken back from where it was not counted"
