"""Does Kafka let us do what a worker does? Asked before anything is begun, so that one sentence names all that lacks.

A broker tells what its caller may do with a topic (since Kafka 2.3). Of groups and transactional ids it is enough to
ask for the coordinator, which is told to those alone who may describe them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import CoordinationType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from schemas.access import Operation, Resource, Right
from streams.engine.metadata import described

_CODES: Final = {Operation.READ: 3, Operation.WRITE: 4, Operation.CREATE: 5}
"""Kafka's AclOperation; what may be done comes as bits at these places."""
_NOT_TOLD: Final = -(2**31)
_DESCRIBED: Final = {Resource.GROUP: CoordinationType.GROUP, Resource.TRANSACTIONAL_ID: CoordinationType.TRANSACTION}

_NOUNS: Final = {
    TopicAuthorizationFailedError: "topic",
    GroupAuthorizationFailedError: "group",
    TransactionalIdAuthorizationFailed: "transactional id",
    ClusterAuthorizationFailedError: "cluster",
}
REFUSALS: Final = tuple(_NOUNS)
"""Kafka's errors for what its ACLs do not allow."""


class NotAuthorized(Exception):
    """Kafka's ACLs do not allow what a worker does; the message says what."""


async def check_access(admin: AIOKafkaAdminClient, rights: Iterable[Right]) -> None:
    """Hold rights against what the broker says that we may do; what is said of a prefix, as Create, is not looked at.

    Raises:
        NotAuthorized: naming every right that is missing.
    """
    rights = tuple(rights)
    missing = [right for right in rights if right.resource in _DESCRIBED and not await _may_describe(admin, right)]
    topics = [right for right in rights if right.resource is Resource.TOPIC and not right.prefixed]
    allowed = await _operations(admin, {right.name for right in topics})
    missing += [right for right in topics if not allowed[right.name] >> _CODES[right.operation] & 1]
    if missing:
        listed = ", ".join(f"{right.operation} {right.resource} {right.name}" for right in missing)
        raise NotAuthorized(f"this Kafka user lacks rights: {listed} (docs/security.md lists all that are needed)")


async def _operations(admin: AIOKafkaAdminClient, topics: set[str]) -> dict[str, int]:
    """Return what may be done with each topic, as bits; all of them where the broker does not tell."""
    allowed = {}
    for topic in await described(admin, topics):  # those that do not exist, too
        if topic.error_code == TopicAuthorizationFailedError.errno:
            allowed[topic.name] = 0
        else:
            allowed[topic.name] = ~0 if topic.operations == _NOT_TOLD else topic.operations
    return allowed


async def _may_describe(admin: AIOKafkaAdminClient, right: Right) -> bool:
    key = f"{right.name}0" if right.prefixed else right.name
    client: Any = admin._client
    try:
        await client.coordinator_lookup(_DESCRIBED[right.resource], key)
    except REFUSALS:
        return False
    except KafkaError:  # no coordinator yet, as after a broker's start: not what is asked here
        return True
    return True


def refusal_in(error: BaseException | None) -> str | None:
    """Return what Kafka's ACLs do not allow, when that is what an error (or what caused it) says; else None."""
    while error is not None:
        for kind, noun in _NOUNS.items():
            if isinstance(error, kind):
                # aiokafka does not always pass on which.
                what = f"{noun} {', '.join(names)}" if (names := _names(error)) else f"a {noun}"
                return f"this Kafka user lacks a right on {what} (see docs/security.md)"
        error = error.__cause__ or error.__context__
    return None


def _names(error: BaseException) -> list[str]:
    """The names in an error of aiokafka, which puts them there one by one or as a set."""
    names: list[str] = []
    for argument in error.args:
        names += sorted(map(str, argument)) if isinstance(argument, set | frozenset | list | tuple) else [str(argument)]
    return names
