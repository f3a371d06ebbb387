"""The one registry of topics: name, key, value, partitions, cleanup and configuration.

Whoever creates, checks, documents or writes a topic reads it here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

Cleanup: TypeAlias = Literal["delete", "compact"]

DEFAULT_PREFIX: Final = "nps."

_DAY_MS: Final = 24 * 60 * 60 * 1000
_MIB: Final = 1024 * 1024

RESPONSES_RETENTION_MS: Final = 400 * _DAY_MS
"""As long as responses are counted. Retention goes by record time, so a replay of old answers under their own times
must fit into it, or the broker drops them before anybody has read them."""
OUTPUT_RETENTION_MS: Final = 30 * _DAY_MS
"""How long a CRM, or whoever mends dead letters, may be away."""
DEAD_LETTER_MAX_BYTES: Final = 16 * _MIB
"""The largest batch of dead letters. Above the input's limit, since a dead letter is its original and the headers, and
since an original may have fitted only because it was compressed."""

_INPUT: Final = {
    "retention.ms": str(RESPONSES_RETENTION_MS),
    "message.timestamp.type": "CreateTime",  # the publisher's record time is the clock of every decision
}
_OUTPUT: Final = {
    "retention.ms": str(OUTPUT_RETENTION_MS),
    "message.timestamp.type": "LogAppendTime",  # kept from when it could first be read, whatever a writer's clock says
}
_COMPACTED: Final = {
    "segment.bytes": str(50 * _MIB),  # small ones, as Kafka Streams sets for changelogs: only closed segments compact
    "min.cleanable.dirty.ratio": "0.2",  # a restore reads at most a quarter more than what is alive
    "max.compaction.lag.ms": str(_DAY_MS),  # an erased customer is gone from the log within about a day
    "delete.retention.ms": str(_DAY_MS),  # a reader that was away for less sees every null
    "max.message.bytes": str(8 * _MIB),  # one journey of 32 long comments is near Kafka's default of 1 MiB
}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it is to be."""

    name: str
    key: str
    """What its keys are, for people."""
    value: str
    """What its values are, for people."""
    cleanup: Cleanup
    single: bool = False
    """One partition, whatever the number of partitions of the others."""
    config: dict[str, str] = field(default_factory=dict)
    """Kafka's topic configuration, `cleanup.policy` included."""

    def partitions(self, count: int) -> int:
        """Return how many partitions this topic has where the responses have `count`."""
        return 1 if self.single else count


class Topics:
    """All topics under a prefix."""

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        self.prefix: Final = prefix
        self.responses: Final = f"{prefix}responses"
        self.dead_letter: Final = f"{prefix}responses.dead-letter"
        self.webhook_dead_letter: Final = f"{prefix}webhooks.dead-letter"
        self.passive_detected: Final = f"{prefix}passive-detected"
        self.score_changed: Final = f"{prefix}score-changed"
        self.passive_withdrawn: Final = f"{prefix}passive-withdrawn"
        self.follow_ups: Final = f"{prefix}follow-ups"
        self.follow_ups_dead_letter: Final = f"{prefix}follow-ups.dead-letter"
        self.follow_up_overdue: Final = f"{prefix}follow-up-overdue"
        self.segment_scores: Final = f"{prefix}segment-scores"
        self.journeys: Final = f"{prefix}internal.journeys"
        self.segment_counts: Final = f"{prefix}internal.segment-counts"
        self.case_counts: Final = f"{prefix}internal.case-counts"

    @property
    def inputs(self) -> tuple[str, str]:
        """What workers read: of both, the partition of a number is processed by one of them."""
        return self.responses, self.follow_ups

    @property
    def dead_letters(self) -> tuple[str, str]:
        """Where what is refused of each input goes."""
        return self.dead_letter, self.follow_ups_dead_letter

    @property
    def changelogs(self) -> tuple[str, str, str]:
        """What workers restore their state from."""
        return self.journeys, self.segment_counts, self.case_counts

    @property
    def events(self) -> tuple[str, str, str, str]:
        """The topics that a CRM reads."""
        return self.passive_detected, self.score_changed, self.passive_withdrawn, self.follow_up_overdue

    def all(self) -> tuple[TopicSpec, ...]:
        """Return every topic's specification, the inputs first."""
        return (
            _delete(
                self.responses,
                "customer_id; of an anonymous response, its response_id",
                "response (JSON); null erases the customer",
                _INPUT,
            ),
            _delete(self.follow_ups, "customer_id", "follow-up (JSON)", _INPUT),
            *(
                _delete(
                    name,
                    "the original's, byte for byte",
                    "the original's, byte for byte; why is in the headers",
                    {**_OUTPUT, "max.message.bytes": str(DEAD_LETTER_MAX_BYTES)},
                )
                for name in self.dead_letters
            ),
            *(_delete(name, "customer_id", "CloudEvent (JSON)", _OUTPUT) for name in self.events),
            _compact(
                self.segment_scores,
                '["survey","segment","window"]',
                "score row (JSON), or null: there is no such row any more",
                single=True,
            ),
            _compact(
                self.journeys,
                '["customer",id,survey], of an anonymous response ["response",id,survey]',
                "state of the journey",
            ),
            _compact(
                self.segment_counts,
                '["survey","segment","YYYY-MM-DD"]',
                "this partition's counts of that UTC day",
            ),
            _compact(
                self.case_counts,
                '["survey","segment","YYYY-MM-DD"]',
                "this partition's counts of the cases that opened on that UTC day",
            ),
        )

    def of_webhooks(self) -> tuple[TopicSpec, ...]:
        """Return what `nps webhooks` needs beside the events. No worker does, so `all` leaves it out."""
        return (
            _delete(
                self.webhook_dead_letter,
                "the event's: customer_id",
                "the event's, byte for byte; endpoint and cause are in the headers",
                {**_OUTPUT, "max.message.bytes": str(DEAD_LETTER_MAX_BYTES)},
            ),
        )


def _delete(name: str, key: str, value: str, config: dict[str, str]) -> TopicSpec:
    return TopicSpec(name, key, value, "delete", config={"cleanup.policy": "delete", **config})


def _compact(name: str, key: str, value: str, *, single: bool = False) -> TopicSpec:
    return TopicSpec(name, key, value, "compact", single, {"cleanup.policy": "compact", **_COMPACTED})
