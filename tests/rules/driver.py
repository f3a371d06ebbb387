"""A partition in memory, driven by the rules: what the engine does with them, without stores, units and Kafka."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from schemas.response import Rejected, SurveyResponse, accept, erased_id
from schemas.times import format_day
from streams.rules.counts import COUNTERS, cells, day_of
from streams.rules.decisions import Event, RulesConfig, decide, decide_anonymous, erase
from streams.rules.journey import Answer, Journey, Remembered
from streams.rules.segments import ALL, Places, segment_names

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
        if decision.suppressed is not None:
            self.suppressed[decision.suppressed] += 1
        return decision.outcome, decision.events

    def erase(self, erased: str | None) -> Sequence[Event]:
        if erased is None:
            return ()
        self.remembered.pop(erased, None)
        return erase(self.config, erased, self.journeys.pop(erased, {}))

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
