"""The registry of topics against a cluster: what is missing, and what differs enough to matter."""

from __future__ import annotations

from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import Topics, TopicSpec
from streams.cli import kafka
from streams.cli.kafka import Topic
from streams.settings import Settings

DECISIVE = frozenset({"cleanup.policy"})
"""Configuration that must be as the registry says; the rest is the operator's to choose."""


class TopicState(NamedTuple):
    """A topic of the registry, and what the cluster has of it."""

    spec: TopicSpec
    wanted_partitions: int
    found: Topic | None
    configuration: dict[str, str]
    """In force, of the names that the registry sets."""

    @property
    def differences(self) -> dict[str, str]:
        """Configuration that is not the registry's: name → value in force."""
        return {name: value for name, value in self.configuration.items() if value != self.spec.config[name]}

    @property
    def problem(self) -> str | None:
        """What keeps a worker from working with this topic, in a few words."""
        if self.found is None:
            return "missing"
        if self.found.partitions != self.wanted_partitions:
            return f"{self.found.partitions} partitions instead of {self.wanted_partitions}"
        if self.found.without_leader:
            return f"{self.found.without_leader} partitions without leader"
        wrong = [f"{name} is {value}" for name, value in self.differences.items() if name in DECISIVE]
        return ", ".join(wrong) or None

    @property
    def status(self) -> str:
        """For people: the problem, else what is configured otherwise, else ok."""
        if self.problem is not None:
            return self.problem
        other = ", ".join(f"{name}={value}" for name, value in sorted(self.differences.items()))
        return f"ok ({other})" if other else "ok"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "topic": self.spec.name,
            "key": self.spec.key,
            "value": self.spec.value,
            "exists": self.found is not None,
            "partitions": self.found.partitions if self.found else None,
            "wanted_partitions": self.wanted_partitions,
            "replicas": self.found.replicas if self.found else None,
            "configuration": self.configuration,
            "wanted_configuration": self.spec.config,
            "problem": self.problem,
        }


async def topic_states(
    settings: Settings, client: AIOKafkaAdminClient, *, of_webhooks: bool = False, configured: bool = True
) -> list[TopicState]:
    """Every topic that workers need, and those of webhooks if asked for; unless `configured`, without looking at their
    configuration, for which a right of its own is needed.

    The responses topic, where it exists, says how many partitions the others need.
    """
    topics = Topics(settings.topic_prefix)
    specs = (*topics.all(), *topics.of_webhooks()) if of_webhooks else topics.all()
    existing = await kafka.topics(client)
    count = existing[topics.responses].partitions if topics.responses in existing else settings.partitions
    known = [spec.name for spec in specs if spec.name in existing]
    configurations = await kafka.topic_configurations(client, known) if configured else {}
    return [
        TopicState(
            spec,
            spec.partitions(count),
            existing.get(spec.name),
            {name: value for name, value in configurations.get(spec.name, {}).items() if name in spec.config},
        )
        for spec in specs
    ]
