"""Who needs which of Kafka's rights (ACLs): the least that each role works with.

The one source: the worker checks its own at the start, the documentation's table is held against it, and the tests
take each away in turn. Read and Write include Describe. Not needed by anybody: Alter, AlterConfigs, Delete,
ClusterAction, IdempotentWrite (writing to any topic includes it since Kafka 2.8).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from schemas.intake import DOORS
from schemas.topics import Topics


class Resource(StrEnum):
    """What a right is about, as `kafka-acls` names it."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"


class Operation(StrEnum):
    """What may be done, as `kafka-acls` names it."""

    READ = "Read"
    WRITE = "Write"
    CREATE = "Create"
    DESCRIBE = "Describe"
    DESCRIBE_CONFIGS = "DescribeConfigs"


class Right(NamedTuple):
    """One ACL that allows."""

    operation: Operation
    resource: Resource
    name: str
    prefixed: bool
    """Of everything whose name begins with `name`, or of that alone."""
    why: str

    def as_option(self) -> str:
        """Return it as `kafka-acls --add` takes it, without the principal."""
        pattern = " --resource-pattern-type prefixed" if self.prefixed else ""
        return f"--operation {self.operation} --{self.resource} {self.name}{pattern}"


class Roles:
    """The rights of each role, for topics under a prefix and a group of workers."""

    def __init__(self, topics: Topics, group_id: str) -> None:
        self._topics = topics
        self._group_id = group_id

    def worker(self, *, creates_topics: bool) -> tuple[Right, ...]:
        """Return what `nps worker` needs; `creates_topics` is NPS_CREATE_TOPICS and only matters until they exist."""
        topics = self._topics
        rights = [_topic(Operation.READ, name, "processes them; commits its place in them") for name in topics.inputs]
        rights += [_topic(Operation.WRITE, name, "publishes") for name in (*topics.dead_letters, *topics.events)]
        for name, why in (
            (topics.journeys, "its memory of customers"),
            (topics.segment_counts, "its counts, and those of the other workers"),
            (topics.case_counts, "the same of cases"),
            (topics.segment_scores, "publishes; reads what another worker published before"),
        ):
            rights += [_topic(Operation.READ, name, why), _topic(Operation.WRITE, name, why)]
        rights.append(Right(Operation.READ, Resource.GROUP, self._group_id, False, "shares the partitions"))
        rights.append(
            Right(
                Operation.WRITE,
                Resource.TRANSACTIONAL_ID,
                self.transactional_ids,
                True,
                "one transaction a commit; fences whoever held the partition before",
            )
        )
        if creates_topics:
            rights.append(
                Right(
                    Operation.CREATE, Resource.TOPIC, topics.prefix, True, "creates missing topics (NPS_CREATE_TOPICS)"
                )
            )
        return tuple(rights)

    def publisher(self, *, replays: bool = False) -> tuple[Right, ...]:
        """Return what a publisher of responses and erasures needs; `replays`: under the times of the answers."""
        responses = self._topics.responses
        rights = [_topic(Operation.WRITE, responses, "publishes")]
        if replays:
            why = "tells which old responses the topic would drop unread (nps publish --record-time responded-at)"
            rights.append(_topic(Operation.DESCRIBE_CONFIGS, responses, why))
        return tuple(rights)

    def crm(self, group_id: str) -> tuple[Right, ...]:
        """Return what a CRM needs; `group_id` is its own."""
        return (
            *(_topic(Operation.READ, name, "reads events") for name in self._topics.events),
            Right(Operation.READ, Resource.GROUP, group_id, False, "commits its place"),
            _topic(Operation.WRITE, self._topics.follow_ups, "reports follow-ups"),
        )

    def operator(self) -> tuple[Right, ...]:
        """Return what `nps doctor`, `nps topics` and lag tools need. They see no customer's data."""
        prefix = self._topics.prefix
        return (
            Right(Operation.DESCRIBE, Resource.TOPIC, prefix, True, "partitions, leaders, ends"),
            Right(Operation.DESCRIBE_CONFIGS, Resource.TOPIC, prefix, True, "cleanup and retention"),
            Right(Operation.DESCRIBE, Resource.GROUP, self._group_id, False, "members and lag"),
        )

    def dead_letters(self, *, replays: bool = False, follow_ups: bool = False) -> tuple[Right, ...]:
        """Return what `nps dead-letters list` needs, and with `replays` what `nps dead-letters replay` does; with
        `follow_ups` for those of follow-ups.
        """
        letters, topic = self._topics.dead_letters[follow_ups], self._topics.inputs[follow_ups]
        rights = [_topic(Operation.READ, letters, "reads the original records")]
        if replays:
            rights.append(_topic(Operation.WRITE, topic, "publishes them again"))
            rights.append(
                Right(Operation.READ, Resource.GROUP, f"{self._group_id}-dead-letter-replay", False, "keeps its place")
            )
        return tuple(rights)

    def webhooks(self, *, creates_topics: bool = False) -> tuple[Right, ...]:
        """Return what `nps webhooks run` needs, which reads the events and keeps what could not be delivered."""
        rights = [_topic(Operation.READ, name, "reads events") for name in self._topics.events]
        rights.append(_topic(Operation.WRITE, self._topics.webhook_dead_letter, "keeps what no endpoint took"))
        rights.append(Right(Operation.READ, Resource.GROUP, self.webhook_groups, True, "keeps each endpoint's place"))
        if creates_topics:
            name = self._topics.webhook_dead_letter
            rights.append(_topic(Operation.CREATE, name, "creates it where it is missing (NPS_CREATE_TOPICS)"))
        return tuple(rights)

    def webhooks_replay(self) -> tuple[Right, ...]:
        """Return what `nps webhooks replay` needs."""
        name = self._topics.webhook_dead_letter
        return (
            _topic(Operation.READ, name, "reads what no endpoint took"),
            _topic(Operation.WRITE, name, "keeps what an endpoint refuses again"),
            Right(Operation.READ, Resource.GROUP, self.webhook_groups, True, "keeps each endpoint's place"),
        )

    def intake(self) -> tuple[Right, ...]:
        """Return what `nps intake` needs."""
        return tuple(_topic(Operation.WRITE, door.topic(self._topics), "publishes what it is sent") for door in DOORS)

    @property
    def webhook_groups(self) -> str:
        """What the groups of all endpoints begin with."""
        return f"{self._group_id}-webhooks-"

    @property
    def transactional_ids(self) -> str:
        """What all the workers' transactional ids begin with."""
        return f"{self._group_id}-{self._topics.responses}-"


def _topic(operation: Operation, name: str, why: str) -> Right:
    return Right(operation, Resource.TOPIC, name, False, why)
