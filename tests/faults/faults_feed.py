"""The input of a campaign: a steady load, into whose log bursts can be thrown at any moment.

All of it is published by one thread, so that the order of each partition's log is the feed's, through retries too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any

from tests.support.corpus import Produced, corpus
from tests.support.oracle_reading import MAX_VALUE_BYTES, partition_of
from tests.support.pacing import paced

Burst = Callable[[int], Iterator[Produced]]
"""The clock of record times (milliseconds) → what to publish."""

DAY_MS = 86_400_000
POISON_RECORDS = 10_000
GIANT_RESPONSES = 40
IMPORTED_COMMENT = (
    "This went as it usually does, and there is nothing in particular that I would change about it. " * 36
)
"""3,456 characters."""


class Feed:
    """Iterable once: load at a rate, and bursts in between, until stopped."""

    def __init__(self, seed: int, count: int, now_ms: int, partitions: int, rate: float) -> None:
        """`count` bounds the load."""
        self._load = corpus(seed, count, now_ms, "load", partitions)
        self._rate = rate
        self._bursts: SimpleQueue[Burst] = SimpleQueue()
        self._stopped = False

    def throw_in(self, burst: Burst) -> None:
        self._bursts.put(burst)

    def stop(self) -> None:
        self._stopped = True

    def __iter__(self) -> Iterator[Produced]:
        for record in paced(self._load, self._rate):
            with suppress(Empty):
                yield from self._bursts.get_nowait()(record.timestamp_ms)
            if self._stopped:
                return
            yield record
        assert self._stopped, "the campaign took longer than its input"


def keys_of(partition: int, partitions: int, prefix: str) -> Iterator[str]:
    """Ids of customers that belong to a partition, without end."""
    number = 0
    while True:
        name = f"{prefix}-{number}"
        if partition_of(name.encode(), partitions) == partition:
            yield name
        number += 1


def poison(seed: int, partition: int, partitions: int) -> Burst:
    """Ten thousand bad records in a row."""

    def burst(now_ms: int) -> Iterator[Produced]:
        rng = random.Random(seed)
        key = next(keys_of(partition, partitions, f"poison-{seed}")).encode()
        for number in range(POISON_RECORDS):
            rubbish = (
                rng.randbytes(rng.randrange(200)),
                b'{"response_id": "p-%d", "score": ' % number,
                _json(_response("p", key.decode(), 11, now_ms)),
                _json(_response(f"p-{number}", "somebody else", 7, now_ms)),
                _json(_response(f"p-{number}", key.decode(), 7, now_ms + 3_600_000)),
                b" " * (MAX_VALUE_BYTES + 1) if number % 500 == 0 else b"",
            )
            yield Produced(partition, key, rng.choice(rubbish), now_ms, (("number", str(number).encode()),))

    return burst


def giant(seed: int, partition: int, partitions: int) -> Burst:
    """One customer with more responses than a history holds, each with as long a comment as can be: repeats of them,
    edits, and ones that come late.
    """

    def burst(now_ms: int) -> Iterator[Produced]:
        rng = random.Random(seed)
        customer = next(keys_of(partition, partitions, f"giant-{seed}"))
        moments = [now_ms - (GIANT_RESPONSES - number) * 3_600_000 for number in range(GIANT_RESPONSES)]
        if rng.random() < 0.5:
            rng.shuffle(moments)  # most are late, then
        revisions = dict.fromkeys(range(GIANT_RESPONSES), 0)
        for number in [*range(GIANT_RESPONSES), *(rng.randrange(GIANT_RESPONSES) for _ in range(GIANT_RESPONSES // 2))]:
            response = _response(f"g-{seed}-{number}", customer, rng.choice((3, 7, 7, 8, 8, 9)), moments[number])
            response["revision"] = revisions[number]
            revisions[number] += rng.randrange(2)
            response["comment"] = rng.choice(("\U0001f600", "\U0001f9ea")) * 4_000
            response["segments"] = {"country": "NO", "tier": rng.choice(("basic", "plus"))}
            value = _json(response)  # 12 bytes a character: escaped, as a pair of surrogates
            yield Produced(partition, customer.encode(), value.ljust(MAX_VALUE_BYTES), now_ms)

    return burst


def imported(seed: int, partition: int, partitions: int, count: int) -> Burst:
    """Passives with long comments: more state than a memtable holds, so that the disk is needed."""

    def burst(now_ms: int) -> Iterator[Produced]:
        customers = keys_of(partition, partitions, f"imported-{seed}")
        for number in range(count):
            customer = next(customers)
            response = _response(f"i-{seed}-{number}", customer, 7, now_ms - 60 * DAY_MS)
            response["comment"] = IMPORTED_COMMENT
            yield Produced(partition, customer.encode(), _json(response), now_ms)

    return burst


def _response(response_id: str, customer: str, score: int, responded_at_ms: int) -> dict[str, Any]:
    return {
        "response_id": response_id,
        "customer_id": customer,
        "survey_id": "relational",
        "score": score,
        "responded_at": datetime.fromtimestamp(responded_at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
    }


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()
