"""Turns the records of one partition into a unit of work. No Kafka, no clock: the store is its only I/O.

What has been decided lies in up to two units: the one being filled, and the one being committed. State is looked up in
that order, then in the store, which holds what is committed.

Somewhat longer than most files here: responses, follow-ups, erasures and the clock all change the same states, counts
and indexes, in one order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from schemas.dead_letters import Reason
from schemas.follow_up import FollowUp, accept_follow_up
from schemas.keys import JourneyKind, erasure_prefix, journey_key, parse_journey_key
from schemas.response import Rejected, SurveyResponse, accept, erased_id
from schemas.times import US_PER_DAY
from schemas.topics import Topics
from streams.engine.anonymous import DAY_BYTES, INDEX_PREFIX, end_of_index, index_key, indexed_key, is_anonymous
from streams.engine.due import DUE_PREFIX, TIME_BYTES, due_entry, due_key, end_of_due
from streams.engine.formats import JOURNEY, REMEMBERED, Format
from streams.engine.fronts import Front
from streams.engine.inbox import Slice
from streams.engine.ledger import CaseLedger, Ledger, LedgerMemory
from streams.engine.placement import partitions_of
from streams.engine.producing import dead_letter, publish
from streams.engine.records import Record
from streams.engine.store import Store
from streams.engine.unit import State, Unit
from streams.rules.case import CaseChange
from streams.rules.cases import NO_SLA, Happening, ended
from streams.rules.counts import cells
from streams.rules.decisions import (
    ANONYMOUS_FORGET_AFTER_MS,
    Event,
    RulesConfig,
    decide,
    decide_anonymous,
    erase,
    forgotten,
)
from streams.rules.follow_ups import UNKNOWN_CASE, decide_follow_up, decide_overdue
from streams.rules.journey import Answer, Journey, Remembered

PRUNED_PER_CALL_MAX: Final = 500
"""Anonymous responses forgotten, stored days looked at, or cases found overdue, in one go (some ten milliseconds)."""


@dataclass(frozen=True, slots=True)
class DecidingConfig:
    """What deciding needs to know; the same for all partitions."""

    topics: Topics
    partitions: int
    rules: RulesConfig
    segment_limit: int
    segment_crosses: tuple[tuple[str, ...], ...]
    event_source: str


class Decider:
    """Decides records of one partition into `unit`."""

    def __init__(
        self, config: DecidingConfig, partition: int, store: Store, stream_time_ms: int, memory: LedgerMemory
    ) -> None:
        self._config = config
        self._partition = partition
        self._store = store
        self.ledger = Ledger(self._stored_counts, config.segment_limit, config.segment_crosses, memory)
        self.cases = CaseLedger(self._stored_case_counts, config.segment_limit, config.segment_crosses, memory)
        self.unit = Unit(partition, stream_time_ms)
        self.committing: Unit | None = None
        self._due = Front(store, DUE_PREFIX, TIME_BYTES)
        self._anonymous = Front(store, INDEX_PREFIX, DAY_BYTES)
        self._events: list[tuple[Event, int]] = []
        """Decided in this slice, each with the offset that it follows from."""
        self.last_offset = 0
        """Of the response that is being decided, or was last."""

    # --- deciding -----------------------------------------------------------------------------------------------------

    def decide(self, arrived: Slice) -> None:
        """Decide records, in their order, into the unit."""
        began = time.perf_counter()
        records = arrived.records
        unit, report = self.unit, self.unit.report
        arrivals = self._arrivals(records)
        stored = self._stored_states([key for key, response, _ in arrivals if response is not None])
        rules, ledger, outcomes = self._config.rules, self.ledger, report.outcomes
        stream_time_ms = unit.stream_time_ms
        for key, response, record in arrivals:
            if record.timestamp > stream_time_ms:
                stream_time_ms = record.timestamp
            self.last_offset = record.offset
            if response is None:
                self._erase(key)
                outcomes["erased"] += 1
                continue
            customer_id = response.customer_id
            if customer_id is None:
                self._decide_anonymous(key, stored[key], response, record.timestamp, stream_time_ms)
                continue
            state = self._known(key, stored[key], JOURNEY)
            assert not isinstance(state, Remembered)
            decision = decide(rules, customer_id, state, response, record.timestamp)
            outcomes[decision.outcome] += 1
            if decision.journey is None:
                continue
            if decision.retracted is not None:
                ledger.retract(response.survey_id, decision.retracted)
            counted = decision.counted
            if counted is not None:
                day = counted.responded_at // US_PER_DAY
                counted.counted_as = ledger.count(response.survey_id, counted.segments, day, cells(counted))
            unit.put(key, decision.journey)
            if decision.case is not None:
                self._change_case(key, response.survey_id, decision.case)
            for event in decision.events:
                self._publish(event)
            if decision.suppressed is not None:
                report.suppressed[decision.suppressed] += 1
        self._put_down()
        unit.input_bytes += arrived.size_bytes
        report.records += len(records)
        report.record_times_ms += [record.timestamp for record in records]
        unit.keys += [record.key for record in records if record.key is not None]
        unit.stream_time_ms = stream_time_ms
        unit.next_offset = records[-1].offset + 1
        report.processing_s += time.perf_counter() - began

    def decide_follow_ups(self, arrived: Slice) -> None:
        """Decide records of the other input, in their order, into the unit."""
        unit, report = self.unit, self.unit.report
        read = [self._read_follow_up(record) for record in arrived.records]
        stored = self._stored_states([key for key, _ in read if key is not None])
        changes: list[tuple[bytes, str, CaseChange]] = []
        answered: list[tuple[str, Answer]] = []
        for record, (key, follow_up) in zip(arrived.records, read, strict=True):
            if isinstance(follow_up, Rejected):
                dead_letter(unit, record, follow_up, self._config.topics.follow_ups_dead_letter)
                report.follow_up_outcomes["dead_letter"] += 1
                continue
            assert key is not None
            state = self._known(key, stored[key], JOURNEY)
            assert not isinstance(state, Remembered)
            decision = decide_follow_up(state, follow_up)
            report.follow_up_outcomes[decision.outcome] += 1
            if decision.outcome == UNKNOWN_CASE:
                said = "the follow-up is about no case and no response that is known of the customer in this survey"
                rejected = Rejected(Reason.UNKNOWN_CASE, said)
                dead_letter(unit, record, rejected, self._config.topics.follow_ups_dead_letter)
            if decision.journey is not None:
                unit.put(key, decision.journey)
            if decision.case is not None:
                changes.append((key, follow_up.survey_id, decision.case))
            if decision.answered is not None:
                answered.append((follow_up.survey_id, decision.answered))
            if decision.contact_us is not None:
                report.contact_s.append(decision.contact_us / 1e6)
        for key, survey, change in changes:
            self._change_case(key, survey, change)
        for survey, answer in answered:
            self.ledger.answered(survey, answer)
        self._put_down()
        unit.input_bytes += arrived.size_bytes
        if not report.follow_ups:
            report.first_follow_up_ms = arrived.records[0].timestamp
        report.follow_ups += len(arrived.records)
        unit.keys += [record.key for record in arrived.records if record.key is not None]
        unit.next_follow_up = arrived.records[-1].offset + 1

    @staticmethod
    def _read_follow_up(record: Record) -> tuple[bytes, FollowUp] | tuple[None, Rejected]:
        """Return it with the key of its state, or why it is a dead letter."""
        try:
            follow_up = accept_follow_up(record.key, record.value, record.timestamp)
        except Rejected as rejected:
            return None, rejected
        return journey_key("customer", follow_up.customer_id, follow_up.survey_id), follow_up

    def has_due(self, now_us: int) -> bool:
        """Is there a case, as far as the store knows, that is due before this time (wall clock)? Never while nobody is
        told: then cases that opened with a time have none any more.
        """
        if self._config.rules.follow_up_sla_us == NO_SLA:
            return False
        entry = self._due.first()
        return entry is not None and entry < end_of_due(now_us)

    def decide_overdue(self, now_us: int) -> bool:
        """Say of cases that nobody has contacted the customer in time; True if there may be more.

        To be called only when everything is decided that may be in the inputs, lest a contact is overlooked.
        """
        unit = self.unit
        found = self._due.take(end_of_due(now_us), PRUNED_PER_CALL_MAX)
        for entry in found:
            key = due_key(entry)
            state = self._state(key)
            if not isinstance(state, Journey) or due_entry(state, key) != entry:
                unit.index_entries[entry] = None  # what made it so is decided and will be written with its unit
                continue
            _, customer_id, survey = parse_journey_key(key)
            decision = decide_overdue(self._config.rules, customer_id, survey, state, now_us)
            assert decision is not None, "what the index says is due is due"
            unit.put(key, decision.journey)
            self._change_case(key, survey, decision.case)
            self._publish(decision.event)
        self._put_down()
        return len(found) == PRUNED_PER_CALL_MAX

    def _change_case(self, key: bytes, survey: str, change: CaseChange) -> None:
        """Count what became of a case, and keep the index of those that are due in step."""
        self.cases.change(survey, change)
        before, after = change.before, change.after
        due_before = None if before is None else before.awaits_contact_until
        due_after = None if after is None else after.awaits_contact_until
        if due_before != due_after:
            entries = self.unit.index_entries
            if due_before is not None:
                entries[end_of_due(due_before) + key] = None
            if due_after is not None:
                entries[end_of_due(due_after) + key] = b""

    def _arrivals(self, records: Sequence[Record]) -> list[tuple[bytes, SurveyResponse | None, Record]]:
        """Read the records: key of the state, response (None: an erasure, with the record's own key). The others are
        dead letters.
        """
        arrivals: list[tuple[bytes, SurveyResponse | None, Record]] = []
        for record in records:
            value = record.value
            try:
                if value is None:
                    erased_id(record.key)
                    assert record.key is not None
                    arrivals.append((record.key, None, record))
                    continue
                response = accept(record.key, value, record.timestamp)
            except Rejected as rejected:
                self.unit.report.outcomes["dead_letter"] += 1
                dead_letter(self.unit, record, rejected, self._config.topics.dead_letter)
                continue
            if response.customer_id is None:
                key = journey_key("response", response.response_id, response.survey_id)
            else:
                key = journey_key("customer", response.customer_id, response.survey_id)
            arrivals.append((key, response, record))
        return arrivals

    def _decide_anonymous(
        self, key: bytes, stored: bytes | None, response: SurveyResponse, record_time_ms: int, stream_time_ms: int
    ) -> None:
        unit, state = self.unit, self._known(key, stored, REMEMBERED)
        assert state is None or isinstance(state, Remembered)
        decision = decide_anonymous(self._config.rules, state, response, record_time_ms, stream_time_ms)
        unit.report.outcomes[decision.outcome] += 1
        if decision.remembered is None:
            return
        if decision.retracted is not None:
            self.ledger.retract(response.survey_id, decision.retracted)
        if decision.counted is not None:
            decision.counted.counted_as = self.ledger.add(response.survey_id, decision.counted)
        self._index(key, state, decision.remembered)
        unit.put(key, decision.remembered)

    def _erase(self, key: bytes) -> None:
        """Forget whatever is remembered under a record's key."""
        erased = erased_id(key)
        if erased is None:
            return
        journeys: dict[str, Journey] = {}
        for state_key in sorted(self._keys_of(erased)):
            state = self._state(state_key)
            if isinstance(state, Journey):
                survey = parse_journey_key(state_key).survey_id
                journeys[survey] = state
                if state.case is not None:
                    self._change_case(state_key, survey, ended(state.case, Happening.ERASED, 0))
            elif state is not None:
                self._index(state_key, state, None)
            if state is not None:
                self.unit.put(state_key, None)
        for event in erase(erased, journeys):
            self._publish(event)

    def _publish(self, event: Event) -> None:
        self._events.append((event, self.last_offset))

    def _put_down(self) -> None:
        """Bring what was decided into the form in which it is kept. At the end of each slice: what is done to many of a
        kind in turn takes less time, and the objects still are in the processor's caches.
        """
        self.unit.encode_fresh()
        self.ledger.settle()
        self.cases.settle()
        topics, source = self._config.topics, self._config.event_source
        for event, offset in self._events:
            publish(self.unit, event, topics, source, offset)
        self._events.clear()

    # --- state --------------------------------------------------------------------------------------------------------

    def _stored_states(self, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Look them up in the units, and the others in the store, in one call."""
        states, committing = self.unit.states, self.committing.states if self.committing else {}
        others = [key for key in keys if key not in states and key not in committing]
        stored = dict(zip(others, self._store.get_many([b"j" + key for key in others]), strict=True)) if others else {}
        if len(others) < len(keys):
            for key in keys:
                if key in states:
                    stored[key] = states[key]
                elif key in committing:
                    stored[key] = committing[key]
        return stored

    def _known(self, key: bytes, stored: bytes | None, kind: Format[Any]) -> State | None:
        """What this slice has made of it, or else what `_stored_states` has found."""
        fresh = self.unit.fresh
        if key in fresh:
            return fresh[key]
        return None if stored is None else kind.decode(stored)

    def _state(self, key: bytes) -> State | None:
        """Look one up."""
        return self._known(key, self._stored_states([key])[key], REMEMBERED if is_anonymous(key) else JOURNEY)

    def _keys_of(self, erased: str) -> set[bytes]:
        keys = set(self.unit.keys_of(erased))
        if self.committing:
            keys.update(self.committing.keys_of(erased))
        kinds: tuple[JourneyKind, ...] = ("customer", "response")
        for kind in kinds:
            keys.update(key[1:] for key, _ in self._store.scan(b"j" + erasure_prefix(kind, erased)))
        return keys

    def _stored_counts(self, key: bytes) -> bytes | None:
        if self.committing and key in self.committing.counts:
            return self.committing.counts[key]
        return self._store.get(b"c" + key)

    def _stored_case_counts(self, key: bytes) -> bytes | None:
        if self.committing and key in self.committing.case_counts:
            return self.committing.case_counts[key]
        return self._store.get(b"k" + key)

    def _index(self, key: bytes, before: State | None, after: Remembered | None) -> None:
        """Keep the index of anonymous responses in step."""
        assert before is None or isinstance(before, Remembered)
        entries = self.unit.index_entries
        if before is not None and (after is None or after.first_seen_ms != before.first_seen_ms):
            entries[index_key(before.first_seen_ms, key)] = None
        if after is not None and (before is None or after.first_seen_ms != before.first_seen_ms):
            entries[index_key(after.first_seen_ms, key)] = b""

    # --- units --------------------------------------------------------------------------------------------------------

    def close_unit(self) -> Unit:
        """Hand over the unit for commit and begin the next. The one before must be committed."""
        assert self.committing is None, "one unit is committed at a time"
        assert not self.unit.fresh, "whoever decides puts it down"
        unit = self.committing = self.unit
        unit.counts.update(self.ledger.take_changed())
        unit.counts.update(dict.fromkeys(unit.dropped_rows))
        unit.case_counts.update(self.cases.take_changed())
        unit.case_counts.update(dict.fromkeys(unit.dropped_case_rows))
        unit.report.overflowed = self.ledger.take_overflowed()
        placed = partitions_of(unit.keys, self._config.partitions)
        unit.report.misplaced = len(placed) - placed.count(self._partition)
        unit.keys.clear()
        self.unit = Unit(self._partition, unit.stream_time_ms)
        return unit

    def unit_committed(self) -> None:
        """Take note that the store holds what `close_unit` handed over."""
        if self.committing is not None:
            for front in (self._due, self._anonymous):
                front.written(self.committing.index_entries.items())
        self.committing = None

    # --- forgetting ---------------------------------------------------------------------------------------------------

    def forget_anonymous(self) -> bool:
        """Forget anonymous responses whose time has come, by the partition's own time; True if there may be more."""
        end = end_of_index(self.unit.stream_time_ms - ANONYMOUS_FORGET_AFTER_MS)
        entries = self.unit.index_entries
        found = self._anonymous.take(end, PRUNED_PER_CALL_MAX)
        for entry in found:
            key = indexed_key(entry)
            state = self._state(key)
            if isinstance(state, Remembered) and index_key(state.first_seen_ms, key) == entry:
                assert forgotten(state, self.unit.stream_time_ms)
                self.unit.put(key, None)
            entries[entry] = None
        self._put_down()
        return len(found) == PRUNED_PER_CALL_MAX

    def drop_days(self, oldest_day: int) -> Iterator[None]:
        """Drop the stored rows of days before `oldest_day`; yields now and then, for others to have their turn. Does
        nothing while the unit drops some already: the store still has those, and each is to be dropped once.
        """
        if self.unit.dropped_rows or self.unit.dropped_case_rows:
            return
        for ledger, letter in ((self.ledger, b"c"), (self.cases, b"k")):
            ledger.oldest_day = oldest_day
            start = letter
            while True:
                keys = [key for key, _ in islice(self._store.scan(letter, start), PRUNED_PER_CALL_MAX)]
                dropped = self.unit.dropped_rows if ledger is self.ledger else self.unit.dropped_case_rows
                dropped += ledger.drop(key[1:] for key in keys)
                if len(keys) < PRUNED_PER_CALL_MAX:
                    break
                start = keys[-1] + b"\0"
                yield
