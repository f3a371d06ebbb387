"""What `nps doctor` asks of Kafka: the broker, the topics, the group, and the newest records."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import TopicAuthorizationFailedError, for_code
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.structs import ConsumerRecord

from schemas.response import MAX_AHEAD_US
from schemas.topics import Topics
from streams.cli import kafka
from streams.cli.console import plural
from streams.cli.doctor import Finding, Verdict
from streams.cli.topic_check import topic_states
from streams.engine.access import refusal_in
from streams.engine.placement import partitions_of
from streams.engine.transaction import OffsetNote
from streams.settings import Settings

PRODUCE_API = 0
VERSION_OF_PRODUCE = {13: "4.1", 12: "4.0", 11: "3.8", 10: "3.7", 9: "2.8"}
"""Highest version of the produce request → the first release that has it. Kafka tells its own version to nobody."""
LATENCY_SAMPLES = 5
SLOW_MS = 100.0
SAMPLED_RECORDS = 200
"""Of each partition, the newest."""
SAMPLED_IN_ALL = 5_000
CLOCK_TOLERANCE_MS = 2_000

FINE_STATES = frozenset({"Stable"})
MOVING_STATES = frozenset({"PreparingRebalance", "CompletingRebalance"})


async def broker(admin: AIOKafkaAdminClient) -> list[Finding]:
    """Reachable, or we would not be here: how quick and how new."""
    latencies_ms = []
    for _ in range(LATENCY_SAMPLES):
        began = time.perf_counter()
        cluster = await admin.describe_cluster()
        latencies_ms.append((time.perf_counter() - began) * 1000)
    latency_ms = sorted(latencies_ms)[LATENCY_SAMPLES // 2]
    found = f"{plural(len(cluster['brokers']), 'broker')}, answering in {latency_ms:.1f} ms"
    slow = latency_ms > SLOW_MS
    newest = await _newest_produce(admin)
    release = next((name for version, name in VERSION_OF_PRODUCE.items() if newest >= version), None)
    return [
        Finding(
            "broker",
            Verdict.WARN if slow else Verdict.OK,
            found,
            "run workers nearer to Kafka: every commit takes several such answers" if slow else "",
        ),
        Finding("version", Verdict.OK, f"Kafka {release} or newer")
        if release
        else Finding("version", Verdict.WARN, "Kafka older than 2.8", "upgrade the brokers: tested is 4.1"),
    ]


async def _newest_produce(admin: AIOKafkaAdminClient) -> int:
    # The admin client has no call for what it knows of the broker's protocol: ask in its own words.
    client = admin._client
    response = await client.send(client.get_random_node(), ApiVersionRequest())
    return next((highest for api, _, highest in response.api_versions if api == PRODUCE_API), 0)


async def topics(settings: Settings, admin: AIOKafkaAdminClient) -> list[Finding]:
    """All there, with the partitions and the cleanup that they need."""
    findings = []
    try:
        states = await topic_states(settings, admin)
    except TopicAuthorizationFailedError as error:  # a worker does without
        states = await topic_states(settings, admin, configured=False)
        found = f"their configuration was not looked at: {refusal_in(error)}"
        findings.append(Finding("topics", Verdict.WARN, found, "look as a user with the operator's rights"))
    missing = [state.spec.name for state in states if state.found is None]
    if missing:
        verdict = Verdict.WARN if settings.create_topics else Verdict.FAIL
        advice = "a worker creates them at its start, or nps topics --create"
        if not settings.create_topics:
            advice = "create them with nps topics --create, or set NPS_CREATE_TOPICS=true"
        findings.append(Finding("topics", verdict, f"missing: {', '.join(missing)}", advice))
    findings += [
        Finding("topics", Verdict.FAIL, f"{state.spec.name}: {state.problem}", _cure(state.problem))
        for state in states
        if state.found is not None and state.problem is not None
    ]
    if all(state.problem is None for state in states):
        partitions = states[0].wanted_partitions
        findings.append(Finding("topics", Verdict.OK, f"all {len(states)}, {plural(partitions, 'partition')} each"))
    brokers = len((await admin.describe_cluster())["brokers"])
    lone = [state.spec.name for state in states if state.found and state.found.replicas == 1]
    if brokers > 1 and lone:
        findings.append(
            Finding(
                "replicas",
                Verdict.WARN,
                f"{plural(len(lone), 'topic')} of one replica on {brokers} brokers",
                "raise their replication: one lost disk loses responses",
            )
        )
    return findings


def _cure(problem: str) -> str:
    if "leader" in problem:
        return "bring the broker that holds it back"
    if "cleanup.policy" in problem:
        return "set it as the registry says (nps topics --json), or state is deleted or kept for ever"
    return "recreate that topic with the number that the responses have; a worker refuses to start until then"


async def group(settings: Settings, admin: AIOKafkaAdminClient) -> list[Finding]:
    """Members, and how far behind they are."""
    responses = Topics(settings.topic_prefix).responses
    if responses not in await kafka.topics(admin):
        return []
    (described,) = [
        group
        for answer in await kafka.with_coordinator(lambda: admin.describe_consumer_groups([settings.group_id]))
        for group in answer.to_object()["groups"]
    ]
    if described["error_code"]:
        raise for_code(described["error_code"])(settings.group_id)
    state, members = described["state"], len(described["members"])
    if members == 0:
        finding = Finding("group", Verdict.WARN, f"no worker is in group {settings.group_id}", "start one: nps worker")
    elif state in MOVING_STATES:
        finding = Finding("group", Verdict.WARN, f"{plural(members, 'worker')}, rebalancing", "look again in a moment")
    elif state in FINE_STATES:
        finding = Finding("group", Verdict.OK, f"{plural(members, 'worker')} in group {settings.group_id}")
    else:
        finding = Finding("group", Verdict.FAIL, f"group {settings.group_id} is {state}", "restart its workers")
    return [finding, *await _lags(settings, admin, members)]


async def _lags(settings: Settings, admin: AIOKafkaAdminClient, members: int) -> list[Finding]:
    """Of each input that is there."""
    existing = await kafka.topics(admin)
    responses, follow_ups = Topics(settings.topic_prefix).inputs
    partitions = await kafka.partitions_of(settings, [topic for topic in (responses, follow_ups) if topic in existing])
    async with kafka.connected(settings, kafka.consumer(settings)) as client:
        client.assign(partitions)
        beginnings, ends = await kafka.starts_and_ends(client, partitions)
    committed = await kafka.with_coordinator(
        lambda: admin.list_consumer_group_offsets(settings.group_id, partitions=partitions)
    )
    places: dict[str, dict[int, _Place]] = {}
    for at in partitions:
        offset = committed[at].offset if at in committed and committed[at].offset >= 0 else None
        noted = committed.get(TopicPartition(responses, at.partition))
        if offset is None and at.topic == follow_ups and noted is not None:  # forgotten by the broker, as may be
            offset = OffsetNote.decode(noted.metadata).follow_ups_offset
        places.setdefault(at.topic, {})[at.partition] = _Place(beginnings[at], ends[at], offset)
    checks = {responses: "lag", follow_ups: "follow-up lag"}
    return [finding for topic, found in places.items() for finding in _lag(checks[topic], topic, found, members)]


class _Place(NamedTuple):
    """Where a partition begins and ends, and where the group stands in it, if anywhere."""

    beginning: int
    end: int
    committed: int | None


def _lag(check: str, topic: str, places: Mapping[int, _Place], members: int) -> Iterator[Finding]:
    """Of one input; `places` by partition."""
    lost = {
        number: place.beginning - place.committed
        for number, place in places.items()
        if place.committed is not None and place.committed < place.beginning
    }
    if lost:
        where = ", ".join(f"partition {number}: {count:,}" for number, count in lost.items())
        yield Finding(
            check,
            Verdict.FAIL,
            f"records of {topic} were deleted before a worker read them ({where})",
            "raise retention.ms of that topic and publish them again",
        )
    behind = {number: place.end - max(place.committed or 0, place.beginning) for number, place in places.items()}
    total = sum(behind.values())
    found = f"{plural(total, 'record')} behind"
    if total:
        each = [f"{number}: {count:,}" for number, count in behind.items() if count]
        found += f" (by partition {', '.join(each)})"
    verdict = Verdict.WARN if total and members == 0 else Verdict.OK
    yield Finding(check, verdict, found, "start workers: nps worker" if verdict is Verdict.WARN else "")


async def records(settings: Settings, admin: AIOKafkaAdminClient) -> list[Finding]:
    """The newest records: are they on the partition of their key, and are the clocks right?"""
    topics = Topics(settings.topic_prefix)
    existing = await kafka.topics(admin)
    if topics.responses not in existing:
        return []
    findings, responses, events = [], None, []
    try:
        responses = await _tail(settings, topics.responses)
    except TopicAuthorizationFailedError:  # who runs this need not see what customers said
        findings.append(Finding("records", Verdict.INFO, "responses not looked at: this user may not read them"))
    try:
        for name in topics.events:
            if name in existing:
                events += await _tail(settings, name)
    except TopicAuthorizationFailedError:  # a worker writes them, and need not
        findings.append(Finding("records", Verdict.INFO, "events not looked at: this user may not read them"))
    if responses is not None:
        findings += _partitioning(responses, existing[topics.responses].partitions)
    if responses is not None or events:
        findings += _clocks(responses or [], events, time.time_ns() // 1_000_000)
    return findings


async def _tail(settings: Settings, topic: str) -> list[ConsumerRecord]:
    partitions = await kafka.partitions_of(settings, [topic])
    each = max(1, min(SAMPLED_RECORDS, SAMPLED_IN_ALL // len(partitions)))
    async with kafka.connected(settings, kafka.consumer(settings)) as client:
        client.assign(partitions)
        beginnings, ends = await kafka.starts_and_ends(client, partitions)
        starts: dict[TopicPartition, int] = {tp: max(beginnings[tp], ends[tp] - each) for tp in partitions}
        return [record async for batch in kafka.read_between(client, starts, ends) for record in batch]


def _partitioning(responses: list[ConsumerRecord], partitions: int) -> Iterator[Finding]:
    keyed = [record for record in responses if record.key is not None]
    if not keyed:
        yield Finding("partitioner", Verdict.INFO, "no records to look at")
        return
    due = partitions_of([record.key for record in keyed], partitions)
    misplaced = [record for record, partition in zip(keyed, due, strict=True) if record.partition != partition]
    if not misplaced:
        yield Finding(
            "partitioner", Verdict.OK, f"the newest {plural(len(keyed), 'record')} are where their keys belong"
        )
        return
    newest = max(misplaced, key=lambda record: record.timestamp)
    yield Finding(
        "partitioner",
        Verdict.FAIL,
        f"{len(misplaced):,} of the newest {plural(len(keyed), 'record')} are not on their key's partition"
        f" (the newest at {newest.topic}-{newest.partition} @ {newest.offset})",
        "set the publishers' partitioner to murmur2 (librdkafka: partitioner=murmur2_random): journeys split otherwise",
    )


def _clocks(responses: list[ConsumerRecord], events: list[ConsumerRecord], now_ms: int) -> Iterator[Finding]:
    """Record times ahead of this machine's clock: the publishers' (they set it), and the brokers' (of events)."""
    if not responses and not events:
        yield Finding("clock", Verdict.INFO, "no records to compare this machine's clock with")
        return
    ahead = Verdict.OK
    for who, sample, tolerance_ms, advice in (
        ("a publisher", responses, MAX_AHEAD_US // 1000, "set the publishers' clocks (or this one) by NTP"),
        ("a broker", events, CLOCK_TOLERANCE_MS, "set the brokers' clocks (or this one) by NTP"),
    ):
        ahead_ms = max((record.timestamp for record in sample), default=0) - now_ms
        if ahead_ms > tolerance_ms:
            ahead = Verdict.WARN
            yield Finding("clock", ahead, f"{who}'s clock is {ahead_ms / 1000:,.0f} s ahead of this machine's", advice)
    if ahead is Verdict.OK:
        yield Finding("clock", Verdict.OK, "no newest record is ahead of this machine's clock")


Check = Callable[[Settings, AIOKafkaAdminClient], Awaitable[list[Finding]]]

CHECKS: tuple[tuple[str, Check], ...] = (("topics", topics), ("group", group), ("records", records))
