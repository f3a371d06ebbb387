"""Before anything else: is the broker there, and are the topics as they must be?"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from schemas.topics import Topics, TopicSpec
from streams.engine.metadata import DescribedTopic, described
from streams.engine.refusals import refusal

logger = logging.getLogger(__name__)

WAITING_LOG_INTERVAL_S = 5.0
RETRY_INTERVAL_S = 1.0
ATTEMPT_TIMEOUT_S = 5.0
"""A broker that takes the connection and then says nothing is given up on after this."""
CREATED_TIMEOUT_S = 30.0


class RefusedToStart(Exception):
    """The worker can't start; the message says what disagrees and what to do."""


class TopicsChanged(Exception):
    """Topics were deleted, or given partitions, under a running worker; the message says which and what to do."""


async def reach_broker(kafka: dict[str, Any], wait_s: float) -> AIOKafkaAdminClient:
    """Return a started admin client, retrying for `wait_s` seconds where waiting can help. Raises RefusedToStart."""
    began = next_log = time.monotonic()
    client_log = logging.getLogger("aiokafka")
    client_level = client_log.level
    while True:
        admin = AIOKafkaAdminClient(**kafka)
        client_log.setLevel(logging.CRITICAL)  # the client would report every attempt, several times
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                await admin.start()
            return admin
        except (KafkaError, OSError) as error:
            await admin.close()
            refused = await refusal(kafka)
            if refused is not None and refused.final:
                raise RefusedToStart(refused.sentence) from error
            waited_s = time.monotonic() - began
            if waited_s >= wait_s:
                raise RefusedToStart(
                    refused.sentence
                    if refused is not None
                    else f"no Kafka broker answers at {kafka['bootstrap_servers']} (tried for {waited_s:.0f} s): "
                    "check NPS_BOOTSTRAP_SERVERS and NPS_SECURITY_PROTOCOL, or start one with `nps broker start`"
                ) from error
            if time.monotonic() >= next_log:
                next_log += WAITING_LOG_INTERVAL_S
                why = f": {refused.sentence}" if refused is not None else ""
                logger.warning("waiting for a Kafka broker at %s%s", kafka["bootstrap_servers"], why)
        finally:
            client_log.setLevel(client_level)
        await asyncio.sleep(min(RETRY_INTERVAL_S, max(wait_s - waited_s, 0)))


async def ensure_topics(
    admin: AIOKafkaAdminClient, topics: Topics, partitions: int, replication_factor: int, create: bool
) -> int:
    """Create what is missing, check what is there, return the number of partitions. Raises RefusedToStart.

    The responses topic decides the number of partitions where it exists, `partitions` where it is created.
    """
    found = _counts(await described(admin, (spec.name for spec in topics.all())))
    count = found.get(topics.responses, partitions)
    missing = [spec for spec in topics.all() if spec.name not in found]
    if missing and not create:
        raise RefusedToStart(
            f"these topics do not exist: {', '.join(spec.name for spec in missing)}: "
            "create them with `nps topics --create`, or set NPS_CREATE_TOPICS=true"
        )
    wrong = _wrong_counts(found, topics, count)
    if wrong:
        raise RefusedToStart(
            f"partition counts disagree: {wrong} ({topics.responses} has {count}): "
            "recreate those topics with that number, or choose another NPS_TOPIC_PREFIX"
        )
    if missing:
        await _create(
            admin,
            [NewTopic(s.name, s.partitions(count), replication_factor, topic_configs=s.config) for s in missing],
        )
        logger.info("created topics: %s", ", ".join(spec.name for spec in missing))
        await _until_visible(admin, [spec.name for spec in topics.all()])
        # Another worker may have been quicker, with another number of partitions: what is there now decides.
        return await ensure_topics(admin, topics, partitions, replication_factor, create=False)
    return count


async def require_topics(admin: AIOKafkaAdminClient, names: Iterable[str]) -> int:
    """Return the number of partitions of topics that others create, the first one's. Raises RefusedToStart."""
    names = list(names)
    found = _counts(await described(admin, names))
    missing = [name for name in names if name not in found]
    if missing:
        raise RefusedToStart(
            f"these topics do not exist, or this Kafka user may not see them: {', '.join(missing)}: "
            "start a worker, or create them with `nps topics --create`"
        )
    return found[names[0]]


async def ensure_topic(
    admin: AIOKafkaAdminClient, spec: TopicSpec, partitions: int, replication_factor: int, create: bool
) -> None:
    """Have a topic that no worker needs; `partitions` is the others' number. Raises RefusedToStart."""
    if spec.name in _counts(await described(admin, [spec.name])):
        return
    if not create:
        await require_topics(admin, [spec.name])
    await _create(
        admin, [NewTopic(spec.name, spec.partitions(partitions), replication_factor, topic_configs=spec.config)]
    )
    logger.info("created topic %s", spec.name)
    await _until_visible(admin, [spec.name])


async def changed_topics(admin: AIOKafkaAdminClient, topics: Topics, partitions: int) -> str | None:
    """Return what is not as it was when the worker started with so many partitions, in one sentence; None: nothing.

    Raises KafkaError or OSError when the broker can't be asked.
    """
    found = await described(admin, (spec.name for spec in topics.all()))
    gone = [topic.name for topic in found if topic.error_code == UnknownTopicOrPartitionError.errno]
    if gone:
        return (
            f"topics that this worker uses are gone: {', '.join(gone)}: stop every worker and find out who deleted "
            "them. What a changelog remembered is lost with it; a worker that starts creates what is missing"
        )
    wrong = _wrong_counts(_counts(found), topics, partitions)
    return partitions_changed(wrong) if wrong else None


def partitions_changed(what: str) -> str:
    """Say so in a sentence, with what to do."""
    return (
        f"the number of partitions was changed under this worker: {what}. Customers are now on other partitions than "
        "their histories: stop every worker, and move to topics of another NPS_TOPIC_PREFIX with that number"
    )


def _wrong_counts(found: dict[str, int], topics: Topics, count: int) -> str:
    return "; ".join(
        f"{spec.name} has {found[spec.name]} partitions and needs {spec.partitions(count)}"
        for spec in topics.all()
        if spec.name in found and found[spec.name] != spec.partitions(count)
    )


def _counts(found: Iterable[DescribedTopic]) -> dict[str, int]:
    """Return the number of partitions of each topic that is there."""
    return {topic.name: topic.partitions for topic in found if not topic.error_code}


async def _create(admin: AIOKafkaAdminClient, new: list[NewTopic]) -> None:
    response = await admin.create_topics(new)
    for error in response.topic_errors:
        name, code, message = error[0], error[1], error[2] if len(error) > 2 else ""
        kind = for_code(code)
        if kind in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            raise RefusedToStart(
                f"this Kafka user may not create the topic {name}: grant it Create on topics of this prefix, or have"
                " them created (`nps topics --create`) by one who may"
            )
        if code and kind is not TopicAlreadyExistsError:  # another worker was quicker: fine
            raise RefusedToStart(f"the topic {name} can't be created: {message or kind.__name__}")


async def _until_visible(admin: AIOKafkaAdminClient, names: Iterable[str]) -> None:
    """Wait until the broker's metadata has these topics, with leaders."""
    names = list(names)
    deadline = time.monotonic() + CREATED_TIMEOUT_S
    while time.monotonic() < deadline:
        found = await described(admin, names)
        if all(not topic.error_code and topic.led == topic.partitions for topic in found):
            return
        await asyncio.sleep(0.1)
    raise RefusedToStart(f"the topics were created but have no leaders after {CREATED_TIMEOUT_S:.0f} s")
