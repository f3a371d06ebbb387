"""What one record does to a journey: its outcome, the state to store, what to count, what to publish.

`decide` is the hot path of the processor. The usual record is the first of its branches that can be: a new id, newer
than the latest answer of a short history. `python -m tests.bench.rules` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from schemas.events import ERASED, PASSIVE_DETECTED, PASSIVE_WITHDRAWN, SCORE_CHANGED, event_id
from schemas.playbook import Playbook, default_playbook
from streams.rules import cases, event_data
from streams.rules.case import Case, CaseChange
from streams.rules.cases import Happening
from streams.rules.category import CATEGORY_OF_SCORE, PROMOTER
from streams.rules.event_data import Event
from streams.rules.journey import (
    HISTORY_LIMIT_ANSWERS,
    Answer,
    Detection,
    Journey,
    Remembered,
    answer_of,
    appended,
    inserted,
    order,
    passive_since,
    replaced,
)
from streams.rules.transitions import (
    CLOSES,
    CONFIGURED,
    COOLED_DOWN,
    NO_SCORE,
    OPENS,
    TRANSITION_OF_SCORES,
    amendment,
)

if TYPE_CHECKING:
    from schemas.response import SurveyResponse

__all__ = ["AnonymousDecision", "Decision", "Event", "RulesConfig", "decide", "decide_anonymous", "erase"]

ANONYMOUS_FORGET_AFTER_MS: Final = 100 * 86_400_000
"""How long after its first record time an anonymous response is remembered, ms."""

ACCEPTED: Final = "accepted"
LATE: Final = "late"
TOO_OLD: Final = "too_old"
DUPLICATE: Final = "duplicate"
AMENDED: Final = "amended"

STALE: Final = "stale"
COOLDOWN: Final = "cooldown"


class RulesConfig(msgspec.Struct, frozen=True):
    """What the settings say to the rules."""

    cooldown_us: int
    """How long after a detection's `responded_at` a customer who stays passive is not detected again."""
    event_max_age_us: int
    """The oldest that an answer may be at record time to be published; that age is still published."""
    counts_retention_us: int
    """The oldest that an answer may be at record time to be counted; that age is still counted."""
    transitions: frozenset[str]
    """Changes of category that are published, out of `transitions.CONFIGURABLE_CHANGES`."""
    follow_up_sla_us: int = cases.DEFAULT_SLA_US
    """How long after a case opens the customer is to be contacted; 0: no time is set."""
    playbook: Playbook = msgspec.field(default_factory=default_playbook)


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What a customer's response does. Events: none or one."""

    outcome: str
    journey: Journey | None
    """The state to store; None: unchanged."""
    counted: Answer | None
    """Add this one, which is the very object in `journey` …"""
    retracted: Answer | None
    """… after taking this one back from where its `counted_as` says."""
    events: tuple[Event, ...]
    suppressed: str | None
    """Why the event that the table asks for is not published: `stale` or `cooldown`."""
    case: CaseChange | None = None
    """What became of the case; None: it is as it was."""


class AnonymousDecision(msgspec.Struct, frozen=True, gc=False):
    """What an anonymous response does: `accepted`, `duplicate` or `amended`."""

    outcome: str
    remembered: Remembered | None
    """The state to store; None: unchanged."""
    counted: Answer | None
    """As in `Decision`."""
    retracted: Answer | None
    """As in `Decision`."""


_TOO_OLD: Final = Decision(TOO_OLD, None, None, None, (), None)
_DUPLICATE: Final = Decision(DUPLICATE, None, None, None, (), None)
_ANONYMOUS_DUPLICATE: Final = AnonymousDecision(DUPLICATE, None, None, None)


def decide(
    config: RulesConfig,
    customer_id: str,
    journey: Journey | None,
    response: SurveyResponse,
    record_time_ms: int,
) -> Decision:
    """What the customer's `response` does to their journey in its survey (None: they have none yet)."""
    if journey is None:
        return _accept(config, customer_id, None, response, record_time_ms * 1000)
    response_id = response.response_id
    history = journey.history
    for place, known in enumerate(history):
        if known.response_id == response_id:
            if response.revision <= known.revision:
                return _DUPLICATE
            return _amend(config, customer_id, journey, place, response, record_time_ms * 1000)
    latest = history[-1]
    responded_at = response.responded_at
    if responded_at > latest.responded_at or (responded_at == latest.responded_at and response_id > latest.response_id):
        return _accept(config, customer_id, journey, response, record_time_ms * 1000)
    return _insert(config, journey, response, record_time_ms * 1000)


def _accept(
    config: RulesConfig,
    customer_id: str,
    journey: Journey | None,
    response: SurveyResponse,
    now_us: int,
) -> Decision:
    """A new id, newer than the latest: the first table."""
    answer = answer_of(response)
    case = past = change = None
    if journey is None:
        before = detection = None
        history = [answer]
        rule = TRANSITION_OF_SCORES[NO_SCORE][answer.score]
    else:
        before = journey.history[-1]
        detection, case, past = journey.detection, journey.case, journey.past
        history = appended(journey.history, answer)
        rule = TRANSITION_OF_SCORES[before.score][answer.score]
    age_us = now_us - answer.responded_at
    counted = answer if age_us <= config.counts_retention_us else None
    if case is not None and rule.detection is CLOSES:
        happening = Happening.PROMOTED if rule.after is PROMOTER else Happening.DROPPED
        assert journey is not None, "a case is a journey's"
        change = cases.ended(case, happening, now_us)
        cases.mark_ended(history, journey.history, case, answer)
        past = cases.after_the_end(case, past)
        case = None

    publishes = rule.publishes
    if publishes is None or (rule.provided is CONFIGURED and rule.label not in config.transitions):
        return Decision(ACCEPTED, Journey(history, None, None, past), counted, None, (), None, change)

    if rule.provided is COOLED_DOWN and _cooling_down(config, detection, answer):
        suppressed = COOLDOWN
    elif age_us > config.event_max_age_us:
        suppressed = STALE
    elif publishes == PASSIVE_DETECTED:
        if past is not None and case is None:
            cases.unmark_run(history, answer)
        event, after = _detected(config, rule.label, customer_id, response, answer, before, history, case, now_us)
        opened = Detection(event.id, answer.responded_at)
        change = CaseChange(case, after)
        return Decision(ACCEPTED, Journey(history, opened, after, past), counted, None, (event,), None, change)
    else:
        assert journey is not None, "a change of category has a latest answer before"
        event = _changed(rule.label, customer_id, response, answer, journey)
        return Decision(ACCEPTED, Journey(history, None, None, past), counted, None, (event,), None, change)
    if rule.detection is not OPENS:
        return Decision(ACCEPTED, Journey(history, None, None, past), counted, None, (), suppressed, change)
    if case is not None:
        case, change = _stayed(case, history)
    return Decision(ACCEPTED, Journey(history, detection, case, past), counted, None, (), suppressed, change)


def _insert(config: RulesConfig, journey: Journey, response: SurveyResponse, now_us: int) -> Decision:
    """A new id, older than the latest: takes its place in the history, no event."""
    answer = answer_of(response)
    history = journey.history
    if len(history) >= HISTORY_LIMIT_ANSWERS and order(answer) < order(history[0]):
        return _TOO_OLD
    counted = answer if now_us - answer.responded_at <= config.counts_retention_us else None
    longer = inserted(history, answer)
    case, change = _stayed(journey.case, longer)
    return Decision(LATE, Journey(longer, journey.detection, case, journey.past), counted, None, (), None, change)


def _amend(
    config: RulesConfig,
    customer_id: str,
    journey: Journey,
    place: int,
    response: SurveyResponse,
    now_us: int,
) -> Decision:
    """A known id with a higher revision: the second table, by the latest answers before and after the edit."""
    answer = answer_of(response)
    known = journey.history[place]
    answer.marks = known.marks
    before = journey.history[-1]
    history = replaced(journey.history, place, answer)
    after = history[-1]
    counted = answer if now_us - answer.responded_at <= config.counts_retention_us else None
    retracted = known if known.counted_as is not False else None

    detection, case, past = journey.detection, journey.case, journey.past
    rule = amendment(CATEGORY_OF_SCORE[before.score], detection is not None, CATEGORY_OF_SCORE[after.score])
    if rule is None:
        case, change = _stayed(case, history)
        return Decision(AMENDED, Journey(history, detection, case, past), counted, retracted, (), None, change)
    if rule.publishes == PASSIVE_WITHDRAWN:
        assert detection is not None, "the table withdraws only where a detection is open"
        event = _withdrawn(rule.label, customer_id, response, after, detection)
        change = None
        if case is not None:
            change = cases.ended(case, Happening.CORRECTED, now_us)
            cases.mark_ended(history, journey.history, case, answer)
            past = cases.after_the_end(case, past)
        return Decision(AMENDED, Journey(history, None, None, past), counted, retracted, (event,), None, change)
    if now_us - after.responded_at > config.event_max_age_us:
        return Decision(AMENDED, Journey(history, None, None, past), counted, retracted, (), STALE)
    cases.unmark_run(history, answer)
    event, opened_case = _detected(config, rule.label, customer_id, response, after, before, history, None, now_us)
    opened = Detection(event.id, after.responded_at)
    change = CaseChange(None, opened_case)
    return Decision(AMENDED, Journey(history, opened, opened_case, past), counted, retracted, (event,), None, change)


def _stayed(case: Case | None, history: list[Answer]) -> tuple[Case | None, CaseChange | None]:
    """The case, if any, and what is new about it, after the history changed in another way than by its latest answer's
    category.
    """
    if case is None:
        return None, None
    after = cases.stayed(case, history)
    return after, None if after is case else CaseChange(case, after)


def _cooling_down(config: RulesConfig, detection: Detection | None, answer: Answer) -> bool:
    return detection is not None and answer.responded_at - detection.responded_at < config.cooldown_us


# An event's id names the record that arrived; what it tells is about the latest answer, which after an amendment may be
# another one.


def _detected(
    config: RulesConfig,
    trigger: str,
    customer_id: str,
    response: SurveyResponse,
    latest: Answer,
    before: Answer | None,
    history: list[Answer],
    case: Case | None,
    now_us: int,
) -> tuple[Event, Case]:
    """The event, and the case that it opens or (the given one) renews."""
    survey_id, response_id, revision = response.survey_id, response.response_id, response.revision
    id_ = event_id(PASSIVE_DETECTED, survey_id, customer_id, response_id, revision)
    since_us = passive_since(history)
    assert since_us is not None, "a history that ends with a passive has a passive run"
    if case is None:
        case = cases.opened(config.follow_up_sla_us, id_, response_id, revision, latest, history, now_us)
    else:
        case = cases.renewed(case, id_, latest, history)
    data = event_data.passive_detected(
        id_, customer_id, survey_id, trigger, latest, before, since_us, now_us, case, config.playbook
    )
    return Event(PASSIVE_DETECTED, customer_id, id_, latest.responded_at, data, trigger), case


def _changed(change: str, customer_id: str, response: SurveyResponse, answer: Answer, journey: Journey) -> Event:
    """`journey` is as it was before: a full history still holds the oldest, with which the passive run may begin."""
    survey_id = response.survey_id
    id_ = event_id(SCORE_CHANGED, survey_id, customer_id, response.response_id, response.revision)
    history = journey.history
    since_us = passive_since(history)
    data = event_data.score_changed(
        id_,
        customer_id,
        survey_id,
        change,
        answer,
        history[-1],
        since_us,
        journey.detection,
        response.comment,
        journey.case,
    )
    return Event(SCORE_CHANGED, customer_id, id_, answer.responded_at, data, change)


def _withdrawn(cause: str, customer_id: str, response: SurveyResponse, latest: Answer, detection: Detection) -> Event:
    survey_id = response.survey_id
    id_ = event_id(PASSIVE_WITHDRAWN, survey_id, customer_id, response.response_id, response.revision)
    category = CATEGORY_OF_SCORE[latest.score]
    data = event_data.passive_withdrawn(id_, customer_id, survey_id, cause, latest, detection, category)
    return Event(PASSIVE_WITHDRAWN, customer_id, id_, latest.responded_at, data, cause)


def decide_anonymous(
    config: RulesConfig,
    remembered: Remembered | None,
    response: SurveyResponse,
    record_time_ms: int,
    stream_time_ms: int,
) -> AnonymousDecision:
    """What an anonymous `response` does; `remembered` is what is stored under its survey and id, if anything.

    `stream_time_ms` is the highest record time that the partition has seen so far: what is forgotten depends on the
    log alone, not on when the store is pruned.
    """
    if remembered is not None and forgotten(remembered, max(record_time_ms, stream_time_ms)):
        remembered = None
    if remembered is not None and response.revision <= remembered.answer.revision:
        return _ANONYMOUS_DUPLICATE
    answer = _anonymous_answer(response)
    counted = answer if record_time_ms * 1000 - answer.responded_at <= config.counts_retention_us else None
    if remembered is None:
        return AnonymousDecision(ACCEPTED, Remembered(answer, record_time_ms), counted, None)
    known = remembered.answer
    retracted = known if known.counted_as is not False else None
    return AnonymousDecision(AMENDED, Remembered(answer, remembered.first_seen_ms), counted, retracted)


def forgotten(remembered: Remembered, stream_time_ms: int) -> bool:
    """True when an anonymous response is no longer remembered at this time, and may be pruned."""
    return stream_time_ms - remembered.first_seen_ms > ANONYMOUS_FORGET_AFTER_MS


def _anonymous_answer(response: SurveyResponse) -> Answer:
    """Only what counting and taking back need: nothing is ever published about an anonymous response."""
    return Answer(
        response.response_id,
        response.revision,
        response.score,
        response.responded_at,
        response.segments,
        response.csat,
    )


def erase(customer_id: str, journeys: Mapping[str, Journey]) -> tuple[Event, ...]:
    """The withdrawals of a customer's open detections, in order of survey. `journeys`: survey → journey."""
    events = []
    for survey_id in sorted(journeys):
        journey = journeys[survey_id]
        if journey.detection is None:
            continue
        latest = journey.history[-1]
        id_ = event_id(PASSIVE_WITHDRAWN, survey_id, customer_id, latest.response_id, ERASED)
        data = event_data.passive_withdrawn(id_, customer_id, survey_id, ERASED, latest, journey.detection, None)
        events.append(Event(PASSIVE_WITHDRAWN, customer_id, id_, latest.responded_at, data, ERASED))
    return tuple(events)
