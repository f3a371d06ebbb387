"""What workers are fed: two partitions' logs of responses, and of follow-ups."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tests.support.corpus import Produced, as_logs, corpus
from tests.support.follow_ups import some_follow_ups
from tests.support.oracle import OracleConfig, PartitionOracle
from tests.support.oracle_reading import Record, partition_of, time_text

PARTITIONS = 2
NOW_MS = 1_795_381_200_000
"""2026-11-22 21:00 UTC, when every world begins."""
DAY_MS = 86_400_000
CROSSES = (("country", "tier"),)
TRANSITIONS = frozenset({"passive_to_promoter", "passive_to_detractor", "detractor_to_promoter"})


@dataclass(frozen=True)
class Case:
    logs: dict[int, list[Record]]
    follow_ups: dict[int, list[Record]]
    """What the CRM sends, in time or not: names are of all that the logs lead to."""
    config: OracleConfig
    segment_limit: int


@lru_cache(maxsize=16)
def case_of(seed: int, *, short: bool = False) -> Case:
    rng = random.Random(f"case {seed}")
    count = rng.choice((3, 6, 10) if short else (12, 24, 40, 60))
    if rng.random() < 0.4:
        produced = corpus(rng.randrange(1 << 30), count, NOW_MS, "tables", PARTITIONS)
    else:
        produced = _few_people(rng, count)
    logs = as_logs(produced, PARTITIONS)
    limit = rng.choice((2, 4, 10_000))
    config = OracleConfig(partitions=PARTITIONS, crosses=CROSSES, transitions=TRANSITIONS, segment_limit=limit)
    sent: list[Produced] = []
    for partition, log in logs.items():
        oracle = PartitionOracle(partition, config)
        for record in log:
            oracle.process(record)
        # Some in between the responses, as far as record times tell.
        for at_ms in (rng.choice(log).timestamp_ms if log else NOW_MS, NOW_MS):
            sent += some_follow_ups(rng, oracle, rng.choice((0, 1, 3) if short else (0, 2, 6, 10)), at_ms, PARTITIONS)
    return Case(logs, as_logs(sent, PARTITIONS), config, limit)


def _few_people(rng: random.Random, count: int) -> Iterator[Produced]:
    """Everything meets everything: three customers, three anonymous responses, four ids, over most of a year."""
    newest_ms = rng.randint(NOW_MS - 300 * DAY_MS, NOW_MS)
    for _ in range(count):
        newest_ms += rng.choice((0, 1, 1000, 60_000, 3_600_000, DAY_MS, 20 * DAY_MS, 60 * DAY_MS))
        newest_ms = min(newest_ms, NOW_MS)
        time_ms = newest_ms - rng.choice((0, 0, 0, 1, 60_000, DAY_MS))
        customer = rng.choice(("ann", "bob", "cy"))
        response_id = rng.choice(("r0", "r1", "r2", "r3"))
        anonymous = rng.random() < 0.25
        key = (response_id if anonymous else customer).encode()
        kind = rng.random()
        if kind < 0.1:
            value: bytes | None = None
        elif kind < 0.14:
            value = rng.choice((b"", b"{}", b"\xff", b"[]"))
        else:
            names = rng.sample(("country", "tier", "plan"), rng.randint(0, 3))
            document = {
                "response_id": response_id,
                "customer_id": None if anonymous else customer,
                "survey_id": rng.choice(("one", "one", "two")),
                "score": rng.choice((3, 7, 7, 8, 8, 9, 10)),
                "responded_at": time_text((time_ms - rng.choice((0, 1000, 3_600_000, 2 * DAY_MS))) * 1000),
                "revision": rng.randint(0, 3),
                "segments": {name: rng.choice("abc") for name in names},
                "csat": rng.choice((None, 1, 5)),
            }
            value = json.dumps(document).encode()
        yield Produced(partition_of(key, PARTITIONS), key, value, time_ms)
