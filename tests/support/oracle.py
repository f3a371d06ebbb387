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

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.support import oracle_events
from tests.support.oracle_events import DAY_US, Detection, Journey, Kept, OracleEvent, Row, category
from tests.support.oracle_reading import DeadLetter, Record, Response, partition_of, read_response, time_text

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
        self.counts: dict[Row, list[int]] = {}  # → detractors, sevens, eights, promoters, csat responses, csat sum
        self.places: dict[str, set[str]] = {}  # survey → segment names that have a place
        self.processed: list[str] = []  # the outcome of each record
        self.events: list[OracleEvent] = []
        self.dead_letters: list[OracleDeadLetter] = []
        self.outcomes: Counter[str] = Counter()
        self.suppressed: Counter[str] = Counter()
        self.labels: Counter[tuple[str, str]] = Counter()  # (event type, label)
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
        self.labels.update((event.type, event.label) for event in events)
        if self.keep:
            self.processed.append(outcome)
            self.events += events
            if dead_letter:
                self.dead_letters.append(dead_letter)
        return Processed(outcome, events, dead_letter)

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
            journey.history = sorted([*others, self._count(response, record_time_us)], key=lambda kept: kept.place)
            return "amended", self._after_amendment(journey, before, response, record_time_us)
        if len(before) == HISTORY_LENGTH and place < before[0].place:
            return "too_old", []
        self.customers.setdefault(customer, {})[response.survey_id] = journey
        kept = self._count(response, record_time_us)
        journey.history = sorted([*before, kept], key=lambda kept: kept.place)[-HISTORY_LENGTH:]
        if before and place < before[-1].place:
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
                    return []
            else:
                trigger = f"from_{was}" if was else "first_response"
            if stale:
                self.suppressed["stale"] += 1
                return []
            return [self._detected(journey, previous, response, trigger, record_time_us)]
        closed, journey.detection = journey.detection, None
        change = f"{was}_to_{now}"
        if previous is None or was == now or change not in self.config.transitions:
            return []
        if stale:
            self.suppressed["stale"] += 1
            return []
        return [oracle_events.changed(self.config.source, before, response, change, closed)]

    def _after_amendment(
        self, journey: Journey, before: list[Kept], arriving: Response, record_time_us: int
    ) -> list[OracleEvent]:
        previous, latest = before[-1].response, journey.history[-1].response
        was_passive, is_passive = category(previous.score) == "passive", category(latest.score) == "passive"
        if was_passive and journey.detection and not is_passive:
            closed, journey.detection = journey.detection, None
            return [oracle_events.corrected(self.config.source, latest, arriving, closed)]
        if not was_passive and is_passive:
            if record_time_us - latest.responded_us > self.config.event_max_age_days * DAY_US:
                self.suppressed["stale"] += 1
                return []
            return [self._detected(journey, previous, arriving, "corrected", record_time_us)]
        return []

    def _detected(
        self, journey: Journey, previous: Response | None, arriving: Response, trigger: str, record_time_us: int
    ) -> OracleEvent:
        event = oracle_events.detected(self.config.source, journey, previous, arriving, trigger, record_time_us)
        journey.detection = Detection(event.data["event_id"], journey.history[-1].response.responded_us)
        return event

    # Counts

    def _count(self, response: Response, record_time_us: int) -> Kept:
        if record_time_us - response.responded_us > self.config.retention_days * DAY_US:
            return Kept(response, [])
        day = time_text(response.responded_us)[:10]
        hour = response.responded_us % DAY_US // HOUR_US
        kept = Kept(response, [Row(response.survey_id, name, day, hour) for name in self._segments(response)])
        self._add(kept, +1)
        return kept

    def _uncount(self, kept: Kept) -> None:
        self._add(kept, -1)

    def _add(self, kept: Kept, sign: int) -> None:
        score, csat = kept.response.score, kept.response.csat
        counter = {"detractor": 0, "promoter": 3}.get(category(score), 1 if score == 7 else 2)
        for row in kept.rows:
            cell = self.counts.setdefault(row, [0] * 6)
            cell[counter] += sign
            if csat is not None:
                cell[4] += sign
                cell[5] += sign * csat
            assert min(cell) >= 0, row

    def _segments(self, response: Response) -> list[str]:
        """Names it counts under: `all`, its segments in order of name, then crosses in order of configuration."""
        given = {name: escaped(value) for name, value in response.segments.items()}
        combinations: list[tuple[str, ...]] = [(name,) for name in sorted(given)]
        combinations += [cross for cross in self.config.crosses if all(name in given for name in cross)]
        taken = self.places.setdefault(response.survey_id, set())
        names = ["all"]
        for combination in combinations:
            name = "+".join(f"{part}={given[part]}" for part in combination)
            other = "+".join(f"{part}=__other__" for part in combination)
            if name not in taken and name != other:
                if len(taken) < self.config.segment_limit:
                    taken.add(name)
                else:
                    self.overflowed += 1
                    name = other
            names.append(name)
        return names


def run(logs: Mapping[int, Sequence[Record]], config: OracleConfig) -> dict[int, PartitionOracle]:
    """Feed each partition's log to an oracle of its own."""
    oracles = {}
    for partition, log in sorted(logs.items()):
        oracles[partition] = PartitionOracle(partition, config)
        for record in log:
            oracles[partition].process(record)
    return oracles


def total_counts(oracles: Iterable[PartitionOracle]) -> dict[Row, list[int]]:
    """Counts of all partitions together."""
    total: dict[Row, list[int]] = {}
    for oracle in oracles:
        for row, cell in oracle.counts.items():
            total[row] = [a + b for a, b in zip(total.get(row, [0] * 6), cell, strict=True)]
    return total
