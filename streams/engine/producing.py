"""Puts events and dead letters into the unit of work, as the records that they will be, and counts them."""

from __future__ import annotations

from typing import Final

import msgspec

from schemas import dead_letters
from schemas.events import FOLLOW_UP_OVERDUE, PASSIVE_DETECTED, SCORE_CHANGED, cloud_event_headers
from schemas.response import Rejected
from schemas.topics import Topics
from streams.engine.records import Record
from streams.engine.sizes import size_bytes
from streams.engine.unit import Produced, Unit
from streams.rules.event_data import Event
from streams.rules.transitions import PASSIVE_TO_PROMOTER, STILL_PASSIVE

_encode_json: Final = msgspec.json.Encoder().encode


def publish(unit: Unit, event: Event, topics: Topics, source: str, sequence: int) -> None:
    """Publish an event to the topic of its type; `source` and `sequence` are those of the CloudEvent."""
    report = unit.report
    if event.type == PASSIVE_DETECTED:
        topic, labels = topics.passive_detected, report.detected
        if event.label != STILL_PASSIVE:
            report.found_answers[event.data["score"], event.data["reason"]] += 1
    elif event.type == SCORE_CHANGED:
        topic, labels = topics.score_changed, report.changed
        if event.label == PASSIVE_TO_PROMOTER:
            report.converted[event.data["previous_score"]] += 1
    elif event.type == FOLLOW_UP_OVERDUE:
        topic, labels = topics.follow_up_overdue, report.overdue
    else:
        topic, labels = topics.passive_withdrawn, report.withdrawn
    labels[event.label] += 1
    headers = cloud_event_headers(event.type, event.id, source, event.time_us, event.key, sequence)
    unit.produced.append(Produced(topic, event.key.encode(), _encode_json(event.data), headers))


def dead_letter(unit: Unit, record: Record, rejected: Rejected, topic: str) -> None:
    """Keep a record that can't be processed, as it came, with headers that say why."""
    unit.report.dead_letters[rejected.reason] += 1
    why = dead_letters.headers(rejected.reason, rejected.message, record.topic, record.partition, record.offset)
    headers = (*record.headers, *why)
    size = size_bytes(record.key, record.value, headers)
    unit.produced.append(Produced(topic, record.key, record.value, headers, size))
