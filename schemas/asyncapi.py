"""The AsyncAPI 3.0 document: which topics there are for others, who writes them, with what key, headers and value.

Made from the registry of topics and the schemas, under the default prefix. The internal topics are left out: they are
nobody's to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from schemas import dead_letters, webhooks
from schemas.events import (
    EVENT_MODELS,
    EVENT_TYPES,
    FOLLOW_UP_OVERDUE,
    PASSIVE_DETECTED,
    PASSIVE_WITHDRAWN,
    SCORE_CHANGED,
    SEQUENCE_DIGITS,
    schema_id,
)
from schemas.fields import UTC_INSTANT
from schemas.json_schema import FOLLOW_UP, RESPONSE, SCORE_ROW, file_name
from schemas.topics import Topics, TopicSpec

Document: TypeAlias = dict[str, Any]

_BINDING_VERSION: Final = "0.5.0"
_SCHEMA_FORMAT: Final = "application/schema+json;version=draft-2020-12"
_TEXT: Final = {"type": "string"}
_WEBHOOK_CAUSES: Final = (
    "timeout",
    "unreachable",
    "connection",
    "tls",
    "dns",
    "redirect",
    "address_refused",
    "not_an_event",
)
"""Besides the statuses of answers."""


class _Channel(NamedTuple):
    """A topic as this document calls it."""

    name: str
    topic: str
    action: str
    """From this application's side: it receives responses and follow-ups and sends the rest."""
    summary: str
    messages: tuple[str, ...]


def document(version: str) -> Document:
    """Return the document; `version` is the application's."""
    topics = Topics()
    specs = {spec.name: spec for spec in (*topics.all(), *topics.of_webhooks())}
    channels = _channels(topics)
    return {
        "asyncapi": "3.0.0",
        "id": "urn:nps-streams",
        "info": {
            "title": "nps-streams",
            "version": version,
            "description": "Survey responses and follow-ups in; passive customers, score changes and rolling Net "
            "Promoter Scores out, exactly once. Consumers read with `isolation.level=read_committed`. Topic names are "
            "those under the default prefix `nps.`.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {channel.name: _channel(channel, specs[channel.topic]) for channel in channels},
        "operations": {
            f"{channel.action}{channel.name[0].upper()}{channel.name[1:]}": {
                "action": channel.action,
                "summary": channel.summary,
                "channel": {"$ref": f"#/channels/{channel.name}"},
                "messages": [{"$ref": f"#/channels/{channel.name}/messages/{name}"} for name in channel.messages],
            }
            for channel in channels
        },
        "components": {"messages": _messages()},
    }


def _channels(topics: Topics) -> tuple[_Channel, ...]:
    return (
        _Channel("responses", topics.responses, "receive", "Survey responses and erasures.", ("response", "erasure")),
        _Channel("followUps", topics.follow_ups, "receive", "What was done about passive customers.", ("followUp",)),
        _Channel("deadLetter", topics.dead_letter, "send", "Records that are no response.", ("deadLetter",)),
        _Channel(
            "followUpsDeadLetter",
            topics.follow_ups_dead_letter,
            "send",
            "Records that are no follow-up, or about nobody known.",
            ("deadLetter",),
        ),
        _Channel(
            "webhooksDeadLetter",
            topics.webhook_dead_letter,
            "send",
            "Events that an endpoint of `nps webhooks` did not take.",
            ("webhookDeadLetter",),
        ),
        _Channel(
            "passiveDetected", topics.passive_detected, "send", "A passive customer was found.", ("passiveDetected",)
        ),
        _Channel(
            "scoreChanged",
            topics.score_changed,
            "send",
            "A customer changed category, or converted.",
            ("scoreChanged",),
        ),
        _Channel(
            "passiveWithdrawn",
            topics.passive_withdrawn,
            "send",
            "A detection no longer stands.",
            ("passiveWithdrawn",),
        ),
        _Channel(
            "followUpOverdue",
            topics.follow_up_overdue,
            "send",
            "Nobody has contacted a passive customer in time.",
            ("followUpOverdue",),
        ),
        _Channel(
            "segmentScores", topics.segment_scores, "send", "Rolling scores per segment.", ("scoreRow", "scoreRowGone")
        ),
    )


def _channel(channel: _Channel, spec: TopicSpec) -> Document:
    configuration: Document = {name: int(value) if value.isdigit() else value for name, value in spec.config.items()}
    configuration["cleanup.policy"] = [spec.cleanup]
    kafka: Document = {"topic": spec.name, "topicConfiguration": configuration, "bindingVersion": _BINDING_VERSION}
    if spec.single:
        kafka["partitions"] = 1
    return {
        "address": spec.name,
        "title": spec.name,
        "description": f"Key: {spec.key}. Value: {spec.value}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in channel.messages},
        "bindings": {"kafka": kafka},
    }


def _messages() -> Document:
    customer = "The customer_id, UTF-8."
    owner = "The customer_id; of an anonymous response, its response_id. UTF-8. Partitioned by murmur2."
    return {
        "response": _message("Survey response", owner, payload=_schema(RESPONSE)),
        "erasure": _message(
            "Erasure", "The customer's id (or the anonymous response's), UTF-8.", payload={"type": "null"}
        ),
        "followUp": _message("Follow-up", f"{customer} Partitioned by murmur2.", payload=_schema(FOLLOW_UP)),
        "deadLetter": {
            **_message("Dead letter", "The original's, byte for byte."),
            "contentType": "application/octet-stream",
            "headers": _dead_letter_headers(),
        },
        "webhookDeadLetter": {
            **_message("Dead letter of a webhook", "The event's, byte for byte: the customer_id."),
            "contentType": "application/octet-stream",
            "headers": _webhook_dead_letter_headers(),
        },
        "passiveDetected": _event("Passive detected", PASSIVE_DETECTED, customer),
        "scoreChanged": _event("Score changed", SCORE_CHANGED, customer),
        "passiveWithdrawn": _event("Passive withdrawn", PASSIVE_WITHDRAWN, customer),
        "followUpOverdue": _event("Follow-up overdue", FOLLOW_UP_OVERDUE, customer),
        "scoreRow": _message("Score row", 'JSON array text ["survey","segment","window"].', payload=_schema(SCORE_ROW)),
        "scoreRowGone": _message(
            "Score row that is gone: its window is configured no more",
            'JSON array text ["survey","segment","window"].',
            payload={"type": "null"},
        ),
    }


def _message(title: str, key: str, payload: Mapping[str, Any] | None = None) -> Document:
    message: Document = {
        "title": title,
        "bindings": {"kafka": {"key": {**_TEXT, "description": key}, "bindingVersion": _BINDING_VERSION}},
    }
    if payload is not None:
        message["payload"] = dict(payload)
    return message


def _event(title: str, event_type: str, key: str) -> Document:
    return {
        **_message(title, key, payload=_schema(event_type)),
        "name": event_type,
        "summary": EVENT_MODELS[event_type].__doc__,
        "headers": _cloud_event_headers(event_type),
    }


def _schema(name: str) -> Document:
    return {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": f"./json/{file_name(name)}"}}


def _cloud_event_headers(event_type: str) -> Document:
    assert event_type in EVENT_TYPES
    properties = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {**_TEXT, "format": "uuid", "description": "The event_id: the same event, the same id."},
        "ce_source": {**_TEXT, "description": "The setting NPS_EVENT_SOURCE.", "default": "/nps"},
        "ce_type": {"const": event_type},
        "ce_time": {
            **_TEXT,
            "format": "date-time",
            "pattern": UTC_INSTANT,
            "description": "The responded_at; of a withdrawal, the latest response's; of an overdue case, its due_at.",
        },
        "ce_subject": {**_TEXT, "description": "The customer_id."},
        "ce_partitionkey": {**_TEXT, "description": "The customer_id."},
        "ce_sequence": {
            **_TEXT,
            "pattern": f"^[0-9]{{{SEQUENCE_DIGITS}}}$",
            "description": "The offset of the response that made it, or after which it was found to be overdue: the "
            "order of the events of one partition number, across topics.",
        },
        "ce_dataschema": {"const": schema_id(event_type)},
        "content-type": {"const": "application/json"},
    }
    return {"type": "object", "required": list(properties), "properties": properties}


def _dead_letter_headers() -> Document:
    properties = {
        dead_letters.REASON_HEADER: {"enum": [str(reason) for reason in dead_letters.Reason]},
        **_origin("The topic that the record was read from."),
        dead_letters.CLASS_NAME_HEADER: {"enum": list(dead_letters.CLASS_NAMES.values())},
        dead_letters.MESSAGE_HEADER: {**_TEXT, "description": "Names the field and the rule, never a value."},
    }
    return {
        "type": "object",
        "description": "Appended to the record's own headers; the last value of a name counts.",
        "required": list(properties),
        "properties": properties,
    }


def _webhook_dead_letter_headers() -> Document:
    properties = {
        webhooks.ENDPOINT_HEADER: {**_TEXT, "description": "The endpoint's name in the file NPS_WEBHOOKS_FILE."},
        webhooks.CAUSE_HEADER: {
            "description": "The status of the answer, or why there was none; of what failed for long, the last one.",
            "anyOf": [{**_TEXT, "pattern": "^http_[0-9]{3}$"}, {"enum": list(_WEBHOOK_CAUSES)}],
        },
        **_origin("The topic that the event was read from, before any replay."),
        dead_letters.CLASS_NAME_HEADER: {"const": webhooks.CLASS_NAME},
        dead_letters.MESSAGE_HEADER: {
            **_TEXT,
            "description": "The cause in a sentence: no address, nothing of the event.",
        },
    }
    return {
        "type": "object",
        "description": "Appended to the event's own headers, and in place of those of an earlier dead letter of it.",
        "required": list(properties),
        "properties": properties,
    }


def _origin(topic: str) -> Document:
    return {
        dead_letters.TOPIC_HEADER: {**_TEXT, "description": topic},
        dead_letters.PARTITION_HEADER: {**_TEXT, "pattern": "^[0-9]+$"},
        dead_letters.OFFSET_HEADER: {**_TEXT, "pattern": "^[0-9]+$"},
    }
