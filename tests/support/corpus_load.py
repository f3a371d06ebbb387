"""The `load` profile: many customers, mostly valid responses, the usual few repeats, edits, stragglers and rubbish."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.oracle_reading import partition_of

CUSTOMERS = 200_000
STEP_MS = 5  # record times are this far apart: 200 responses a second
SURVEYS = ("relational", "relational", "relational", "after-purchase", "support")
COUNTRIES = ("NO", "NO", "SE", "DK", "DE", "NL", "GB", "US")
INDUSTRIES = ("bank", "retail", "telecom", "energy", "public")
TIERS = ("basic", "plus", "premium")
SCORES = (0, 2, 4, 5, 6, 7, 7, 7, 7, 8, 8, 8, 8, 8, 9, 9, 10)  # most are passive
CSATS = ("null", "null", "3", "4", "5")
REASONS = ("null", '"expectations_met"', '"indifferent"', '"no_major_problems"', '"value_for_price"')
RECENT = 4096

Loaded = tuple[int, bytes | None, bytes | None, int, tuple[()]]


def load(seed: int, count: int, now_ms: int, partitions: int) -> Iterator[Loaded]:
    """Yield (partition, key, value, record time, headers).

    Of 1,000: about 20 anonymous, 40 delivered twice, 30 amended, 5 broken, 1 erasure. Nine in ten are answered within
    two minutes of their record time, the rest arrive up to 90 days late.
    """
    rng = random.Random(seed)
    pick = rng.random
    partition_by_customer = [-1] * CUSTOMERS
    recent: list[tuple[Any, ...]] = []
    minutes: dict[int, str] = {}
    start_ms = now_ms - (count + 1) * STEP_MS
    for number in range(count):
        timestamp_ms = start_ms + number * STEP_MS
        customer = int(pick() * CUSTOMERS)
        partition = partition_by_customer[customer]
        key = b"customer-%06d" % customer
        if partition < 0:
            partition = partition_by_customer[customer] = partition_of(key, partitions)
        kind = pick()
        if kind < 0.001:
            yield partition, key, None, timestamp_ms, ()
            continue
        if kind < 0.006:
            yield partition, key, _broken(kind, customer), timestamp_ms, ()
            continue
        if kind < 0.076 and len(recent) == RECENT:
            at = int(pick() * RECENT)
            partition, key, fields, revision, _ = recent[at]
            if kind < 0.036:
                revision += 1
                fields = (*fields[:-5], SCORES[int(pick() * len(SCORES))], *fields[-4:])
                recent[at] = (partition, key, fields, revision, timestamp_ms)
            yield partition, key, _value(fields, revision), timestamp_ms, ()
            continue
        age_ms = pick() * 120_000 if pick() < 0.9 else pick() ** 3 * 90 * 86_400_000
        minute, rest_ms = divmod(int(timestamp_ms - age_ms), 60_000)
        if minute not in minutes:
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
            minutes[minute] = moment.strftime("%Y-%m-%dT%H:%M:")
        response_id = f"r-{seed}-{number}"
        subject = f'"customer-{customer:06d}"'
        if kind < 0.096:
            subject = "null"
            key = response_id.encode()
            partition = partition_of(key, partitions)
        fields = (
            response_id,
            subject,
            SURVEYS[int(pick() * 5)],
            f"{minutes[minute]}{rest_ms // 1000:02d}.{rest_ms % 1000:03d}Z",
            SCORES[int(pick() * len(SCORES))],
            CSATS[int(pick() * 5)],
            COUNTRIES[customer % 8],
            INDUSTRIES[customer % 5],
            TIERS[customer % 3],
        )
        fields = (*fields[:4], REASONS[int(pick() * 5)], *fields[4:])
        produced = (partition, key, fields, 0, timestamp_ms)
        if len(recent) < RECENT:
            recent.append(produced)
        elif kind > 0.5:
            recent[number % RECENT] = produced
        yield partition, key, _value(fields, 0), timestamp_ms, ()


def _value(fields: tuple[Any, ...], revision: int) -> bytes:
    response_id, subject, survey, responded_at, reason, score, csat, country, industry, tier = fields
    return (
        f'{{"response_id":"{response_id}","customer_id":{subject},"survey_id":"{survey}","score":{score},'
        f'"responded_at":"{responded_at}","revision":{revision},"csat":{csat},"reason":{reason},"language":"en",'
        f'"segments":{{"country":"{country}","industry":"{industry}","tier":"{tier}"}}}}'
    ).encode()


def _broken(kind: float, customer: int) -> bytes:
    if kind < 0.003:
        return b'{"response_id":"r-broken","customer_id":"customer-%06d"' % customer
    return b'{"response_id":"r-broken","customer_id":"customer-%06d","survey_id":"relational","score":11}' % customer
