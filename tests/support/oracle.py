"""A naive oracle of the whole processor: one partition's log in, everything it must say about it out.

It is written from the contract alone and imports nothing of the product. Each step is computed the plain way: a
history is re-sorted for every record, ages and cooldowns are subtracted where they are needed, nothing is cached.

    oracle = PartitionOracle(partition, OracleConfig(partitions=4))
    for record in log:
        oracle.process(record)
    oracle.events, oracle.dead_letters, oracle.counts, ...

`process` also returns what came of the one record; with `keep=False` nothing but state and counters is kept, for logs
too long to hold their events in memory. Totals of several partitions are the sums of theirs (`total_counts`).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.support import oracle_cases, oracle_events
from tests.support.oracle_cases import Case, CaseGroup
from tests.support.oracle_events import DAY_US, DETECTED, Detection, Journey, Kept, OracleEvent, Row, category
from tests.support.oracle_reading import LAST_US, DeadLetter, Record, Response, partition_of, read_response, time_text

HOUR_US = 3_600_000_000
HISTORY_LENGTH = 32
ANONYMOUS_MEMORY_MS = 100 * 86_400_000


@dataclass(frozen=True)
class OracleConfig:
    """What of the settings changes results; days are whole days."""

    partitions: int = 1
    cooldown_days: int = 30
    event_max_age_days: int = 30
    retention_days: int = 400
    transitions: frozenset[str] = frozenset({"passive_to_promoter"})
    crosses: tuple[tuple[str, ...], ...] = ()
    segment_limit: int = 10_000
    sla_hours: int = 72
    source: str = "/nps"


class OracleDeadLetter(NamedTuple):
    record: Record
    reason: str
    field: str | None


class Processed(NamedTuple):
    """What came of one record."""

    outcome: str
    events: list[OracleEvent]
    dead_letter: OracleDeadLetter | None


@dataclass(slots=True)
class Anonymous:
    """An anonymous response, remembered since the record time `first_ms`."""

    kept: Kept
    first_ms: int


def escaped(value: str) -> str:
    return value.replace("%", "%25").replace("+", "%2B")


class PartitionOracle:
    """Everything one partition knows and has said."""

    def __init__(self, partition: int, config: OracleConfig, *, keep: bool = True) -> None:
        self.partition = partition
        self.config = config
        self.keep = keep
        self.next_offset = 0
        self.stream_time_ms = 0
        self.customers: dict[str, dict[str, Journey]] = {}  # customer → survey → journey
        self.anonymous: dict[str, dict[str, Anonymous]] = {}  # response id → survey → response
        # → detractors, sevens, eights, promoters, csat responses, csat sum, answered
        self.counts: dict[Row, list[int]] = {}
        self.places: dict[str, set[str]] = {}  # survey → segment names that have a place
        self.case_places: dict[str, set[str]] = {}
        self.cases: list[Case] = []  # all that ever were
        self.next_follow_up = 0
        self.follow_up_outcomes: Counter[str] = Counter()
        self.follow_up_dead_letters: list[OracleDeadLetter] = []
        self.contacts_us: list[int] = []  # from opening to first contact
        self.processed: list[str] = []  # the outcome of each record
        self.events: list[OracleEvent] = []
        self.dead_letters: list[OracleDeadLetter] = []
        self.outcomes: Counter[str] = Counter()
        self.suppressed: Counter[str] = Counter()
        self.labels: Counter[tuple[str, str]] = Counter()  # (event type, label)
        self.found: Counter[tuple[int, str]] = Counter()  # (score, reason or "unknown") of each detection but renewals
        self.converted: Counter[int] = Counter()  # passive score before → conversions
        self.reasons: Counter[str] = Counter()
        self.misplaced = 0
        self.overflowed = 0

    def process(self, record: Record) -> Processed:
        assert record.partition == self.partition
        assert record.offset >= self.next_offset
        self.next_offset = record.offset + 1
        if record.key is not None and partition_of(record.key, self.config.partitions) != self.partition:
            self.misplaced += 1
        events: list[OracleEvent] = []
        dead_letter = None
        try:
            if record.value is None:
                outcome = "erased"
                events = self._erase(record.key)
                self._move_clock(record)
            else:
                response = read_response(record.key, record.value, record.timestamp_ms)
                self._move_clock(record)
                if response.customer_id is None:
                    outcome = self._remember(response, record.timestamp_ms)
                else:
                    outcome, events = self._respond(response, response.customer_id, record.timestamp_ms * 1000)
        except DeadLetter as error:
            outcome = "dead_letter"
            dead_letter = OracleDeadLetter(record, error.reason, error.field)
            self.reasons[error.reason] += 1
        self.outcomes[outcome] += 1
        events = [oracle_events.in_order(event, record.offset) for event in events]
        for event in events:
            self.labels[event.type, event.label] += 1
            if event.type == DETECTED:
                if event.label != "still_passive":
                    self.found[event.data["score"], event.data["reason"] or "unknown"] += 1
            elif event.label == "passive_to_promoter":
                self.converted[event.data["previous_score"]] += 1
        if self.keep:
            self.processed.append(outcome)
            self.events += events
            if dead_letter:
                self.dead_letters.append(dead_letter)
        return Processed(outcome, events, dead_letter)

    def process_follow_up(self, record: Record) -> str:
        """The outcome of one record of the follow-ups' log."""
        assert record.partition == self.partition
        assert record.offset >= self.next_follow_up
        self.next_follow_up = record.offset + 1
        if record.key is not None and partition_of(record.key, self.config.partitions) != self.partition:
            self.misplaced += 1
        try:
            follow_up = oracle_cases.read_follow_up(record.key, record.value, record.timestamp_ms)
            outcome = self._follow(follow_up)
            if outcome == "unknown_case":
                raise DeadLetter(outcome)
        except DeadLetter as error:
            outcome = "unknown_case" if error.reason == "unknown_case" else "dead_letter"
            self.reasons[error.reason] += 1
            self.follow_up_dead_letters.append(OracleDeadLetter(record, error.reason, error.field))
        self.follow_up_outcomes[outcome] += 1
        return outcome

    def _follow(self, follow_up: oracle_cases.FollowUp) -> str:
        journey = self.customers.get(follow_up.customer_id, {}).get(follow_up.survey_id)
        if journey is None:
            return "unknown_case"
        before_us = journey.case.first_contact_us if journey.case else None
        outcome, answered = oracle_cases.follow(journey, follow_up)
        if journey.case and before_us is None and (first_us := journey.case.first_contact_us) is not None:
            self.contacts_us.append(max(first_us - journey.case.opened_us, 0))
        if answered is not None:
            answered.answered = True
            for row in answered.rows:
                self.counts[row][6] += 1
        return outcome

    def overdue(self, customer: str, survey: str, now_us: int) -> OracleEvent:
        """The wall clock has passed a due time: say so."""
        journey = self.customers[customer][survey]
        assert journey.case is not None
        assert journey.case.is_due(now_us), "not due"
        action = oracle_cases.recommended_action(journey.case, journey.case.score)
        event = oracle_events.overdue(self.config.source, journey.history[-1].response, journey.case, now_us, action)
        journey.case.overdue = True
        self.labels[event.type, event.label] += 1
        self.events.append(event)
        return event

    def due(self, now_us: int) -> list[tuple[str, str]]:
        """Customer and survey of the cases that are overdue now and of which that was not said."""
        return [
            (customer, survey)
            for customer, journeys in self.customers.items()
            for survey, journey in journeys.items()
            if journey.case and journey.case.is_due(now_us)
        ]

    def case_counts(self) -> dict[CaseGroup, Counter[str]]:
        return oracle_cases.case_counts(self.cases)

    def _end(self, journey: Journey, end: str, run: list[Kept], now_us: int) -> None:
        """The open case, if any, has ended; `run` is the passive run that it was about."""
        case, journey.case = journey.case, None
        if case is None:
            return
        case.end = end
        case.took_us = max(min(now_us, LAST_US) - case.opened_us, 0)
        journey.ended = [*journey.ended, case][-8:]
        for each in case.follow_ups:
            journey.remember(each.follow_up_id, each.revision)
        ids = {kept.response.response_id for kept in run} | {case.response_id}
        for kept in journey.history:
            if kept.response.response_id in ids:
                kept.of_ended_case = True

    def _move_clock(self, record: Record) -> None:
        """Dead letters, whose times may be as broken as they are, have no say in what the partition's time is."""
        self.stream_time_ms = max(self.stream_time_ms, record.timestamp_ms)

    # Erasure

    def _erase(self, key: bytes | None) -> list[OracleEvent]:
        if key is None:
            raise DeadLetter("key_mismatch")
        try:
            name = key.decode("utf-8", "strict")
        except UnicodeDecodeError:
            return []
        self.anonymous.pop(name, None)
        events = []
        for _, journey in sorted(self.customers.pop(name, {}).items()):
            if journey.detection:
                latest = journey.history[-1].response
                events.append(oracle_events.erased(self.config.source, latest, journey.detection))
            if journey.case:
                journey.case.end = "erased"
        return events

    # Anonymous responses

    def _remember(self, response: Response, record_time_ms: int) -> str:
        surveys = self.anonymous.setdefault(response.response_id, {})
        known = surveys.get(response.survey_id)
        if known and self.stream_time_ms - known.first_ms > ANONYMOUS_MEMORY_MS:
            known = None
        if known and response.revision <= known.kept.response.revision:
            return "duplicate"
        if known:
            self._uncount(known.kept)
        kept = self._count(response, record_time_ms * 1000)
        surveys[response.survey_id] = Anonymous(kept, known.first_ms if known else record_time_ms)
        return "amended" if known else "accepted"

    # Customers

    def _respond(self, response: Response, customer: str, record_time_us: int) -> tuple[str, list[OracleEvent]]:
        journey = self.customers.get(customer, {}).get(response.survey_id) or Journey()
        before = list(journey.history)
        known = [kept for kept in before if kept.response.response_id == response.response_id]
        place = (response.responded_us, response.response_id)
        if known:
            if response.revision <= known[0].response.revision:
                return "duplicate", []
            self._uncount(known[0])
            others = [kept for kept in before if kept is not known[0]]
            run = journey.passive_run()
            kept = self._count(response, record_time_us, answered=known[0].answered)
            kept.of_ended_case = known[0].of_ended_case
            journey.history = sorted([*others, kept], key=lambda kept: kept.place)
            return "amended", self._after_amendment(journey, before, run, response, record_time_us)
        if len(before) == HISTORY_LENGTH and place < before[0].place:
            return "too_old", []
        self.customers.setdefault(customer, {})[response.survey_id] = journey
        kept = self._count(response, record_time_us)
        journey.history = sorted([*before, kept], key=lambda kept: kept.place)[-HISTORY_LENGTH:]
        if before and place < before[-1].place:
            self._look(journey)
            return "late", []
        return "accepted", self._after_transition(journey, before, response, record_time_us)

    def _after_transition(
        self, journey: Journey, before: list[Kept], response: Response, record_time_us: int
    ) -> list[OracleEvent]:
        previous = before[-1].response if before else None
        was = category(previous.score) if previous else None
        now = category(response.score)
        stale = record_time_us - response.responded_us > self.config.event_max_age_days * DAY_US
        if now == "passive":
            if was == "passive":
                trigger = "still_passive"
                cooldown_us = self.config.cooldown_days * DAY_US
                if journey.detection and response.responded_us < journey.detection.responded_us + cooldown_us:
                    self.suppressed["cooldown"] += 1
                    self._look(journey)
                    return []
            else:
                trigger = f"from_{was}" if was else "first_response"
            if stale:
                self.suppressed["stale"] += 1
                self._look(journey)
                return []
            return [self._detected(journey, previous, response, trigger, record_time_us)]
        closed, journey.detection = journey.detection, None
        case = journey.case
        run = [kept for kept in before[::-1] if kept.place >= self._run_start(before)]
        self._end(journey, "converted" if now == "promoter" else "left", run, record_time_us)
        change = f"{was}_to_{now}"
        if previous is None or was == now or change not in self.config.transitions:
            return []
        if stale:
            self.suppressed["stale"] += 1
            return []
        of_case = oracle_cases.of_change(case, response.responded_us)
        return [oracle_events.changed(self.config.source, before, response, change, closed, of_case)]

    @staticmethod
    def _run_start(history: list[Kept]) -> tuple[int, str]:
        """The place of the first of the passive run that ends a history; after all, when it ends with none."""
        start = (2**63, "")
        for kept in history[::-1]:
            if category(kept.response.score) != "passive":
                break
            start = kept.place
        return start

    def _look(self, journey: Journey) -> None:
        if journey.case:
            journey.case.look_at(journey.history)

    def _after_amendment(
        self, journey: Journey, before: list[Kept], run: list[Kept], arriving: Response, record_time_us: int
    ) -> list[OracleEvent]:
        previous, latest = before[-1].response, journey.history[-1].response
        was_passive, is_passive = category(previous.score) == "passive", category(latest.score) == "passive"
        if was_passive and journey.detection and not is_passive:
            closed, journey.detection = journey.detection, None
            self._end(journey, "withdrawn", run, record_time_us)
            return [oracle_events.corrected(self.config.source, latest, arriving, closed)]
        if not was_passive and is_passive:
            if record_time_us - latest.responded_us > self.config.event_max_age_days * DAY_US:
                self.suppressed["stale"] += 1
                return []
            return [self._detected(journey, previous, arriving, "corrected", record_time_us)]
        self._look(journey)
        return []

    def _detected(
        self, journey: Journey, previous: Response | None, arriving: Response, trigger: str, record_time_us: int
    ) -> OracleEvent:
        latest = journey.history[-1].response
        event_id = oracle_events.event_id(
            oracle_events.DETECTED, latest.survey_id, str(latest.customer_id), arriving.response_id, arriving.revision
        )
        if journey.case is None:
            self._open(journey, arriving, event_id, record_time_us)
        else:
            journey.case.detections = [*journey.case.detections, event_id][-8:]
            journey.case.response_id = latest.response_id
        self._look(journey)
        of_case = oracle_cases.of_detection(journey.case, latest.score, latest.language)
        event = oracle_events.detected(
            self.config.source, journey, previous, arriving, trigger, record_time_us, of_case
        )
        journey.detection = Detection(event.data["event_id"], journey.history[-1].response.responded_us)
        return event

    def _open(self, journey: Journey, arriving: Response, event_id: str, record_time_us: int) -> None:
        latest = journey.history[-1].response
        opened_us = min(record_time_us, LAST_US)
        for kept in journey.passive_run():
            kept.of_ended_case = False
        journey.case = Case(
            survey=latest.survey_id,
            score=latest.score,
            opened_us=opened_us,
            due_us=min(opened_us + self.config.sla_hours * HOUR_US, LAST_US) if self.config.sla_hours else None,
            first=(arriving.response_id, arriving.revision),
            segments=dict(latest.segments),
            rows=self._segments(latest, self.case_places),
            detections=[event_id],
            response_id=latest.response_id,
        )
        self.cases.append(journey.case)

    # Counts

    def _count(self, response: Response, record_time_us: int, *, answered: bool = False) -> Kept:
        if record_time_us - response.responded_us > self.config.retention_days * DAY_US:
            return Kept(response, [], answered)
        day = time_text(response.responded_us)[:10]
        hour = response.responded_us % DAY_US // HOUR_US
        rows = [Row(response.survey_id, name, day, hour) for name in self._segments(response, self.places)]
        kept = Kept(response, rows, answered)
        self._add(kept, +1)
        return kept

    def _uncount(self, kept: Kept) -> None:
        self._add(kept, -1)

    def _add(self, kept: Kept, sign: int) -> None:
        score, csat = kept.response.score, kept.response.csat
        counter = {"detractor": 0, "promoter": 3}.get(category(score), 1 if score == 7 else 2)
        for row in kept.rows:
            cell = self.counts.setdefault(row, [0] * 7)
            cell[counter] += sign
            cell[6] += sign * kept.answered
            if csat is not None:
                cell[4] += sign
                cell[5] += sign * csat
            assert min(cell) >= 0, row

    def _segments(self, response: Response, places: dict[str, set[str]]) -> list[str]:
        """Names it counts under: `all`, its segments in order of name, then crosses in order of configuration."""
        given = {name: escaped(value) for name, value in response.segments.items()}
        combinations: list[tuple[str, ...]] = [(name,) for name in sorted(given)]
        combinations += [cross for cross in self.config.crosses if all(name in given for name in cross)]
        taken = places.setdefault(response.survey_id, set())
        names = ["all"]
        for combination in combinations:
            name = "+".join(f"{part}={given[part]}" for part in combination)
            other = "+".join(f"{part}=__other__" for part in combination)
            if name not in taken and name != other:
                if len(taken) < self.config.segment_limit:
                    taken.add(name)
                else:
                    self.overflowed += places is self.places
                    name = other
            names.append(name)
        return names


def run(
    logs: Mapping[int, Sequence[Record]],
    config: OracleConfig,
    follow_ups: Mapping[int, Sequence[Record]] | None = None,
) -> dict[int, PartitionOracle]:
    """Feed each partition's log to an oracle of its own. Of two inputs the record with the lower record time goes
    first, a tie to the response.
    """
    oracles = {}
    for partition, log in sorted(logs.items()):
        oracle = oracles[partition] = PartitionOracle(partition, config)
        responses = ((oracle.process, record) for record in log)
        others = ((oracle.process_follow_up, record) for record in (follow_ups or {}).get(partition, ()))
        for process, record in heapq.merge(responses, others, key=lambda each: each[1].timestamp_ms):
            process(record)
    return oracles


def total_counts(oracles: Iterable[PartitionOracle]) -> dict[Row, list[int]]:
    """Counts of all partitions together."""
    total: dict[Row, list[int]] = {}
    for oracle in oracles:
        for row, cell in oracle.counts.items():
            total[row] = [a + b for a, b in zip(total.get(row, [0] * 7), cell, strict=True)]
    return total
