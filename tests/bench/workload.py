"""The benchmark's responses: seeded, 200,000 customers, two surveys, three segments (unless told), in two shapes.

`live`: answered at most 3 hours before the record time. `spread`: answered at random within 90 days before it, so that
little of what is counted falls into the same rows.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from tests.support.corpus import Produced
from tests.support.oracle_reading import partition_of

CUSTOMERS = 200_000
SHAPES = {"live": 3 / 24, "spread": 90.0}
"""Shape → days over which the answers lie."""
RECORD_TIME_SPAN_MS = 60_000
COUNTRIES = ("NO", "SE", "DK", "FI", "NL", "BE", "DE", "FR", "GB", "PL", "ES", "US")
INDUSTRIES = ("retail", "bank", "energy", "telecom", "health", "public", "travel", "media", "software", "logistics")
PLANS = ("free", "basic", "pro", "enterprise")
LANGUAGES = ("nb", "nl", "en")
WORDS = ("price", "support", "delay", "good", "invoice", "app", "login", "fast", "slow", "team", "helpful", "waiting")


PASSIVES_A_FOLLOW_UP = 3
FOLLOWED_UP_AFTER_MS = 20_000
"""Of record time: by then the answer is committed, also where a backlog makes large units."""
UNAMBIGUOUS_MS = 1_500
"""Nobody is followed up who answers again so shortly after: inputs are ordered to a second only."""
ACTIONS = ("personal_follow_up", "tailored_offer", "incentive", "follow_up_question")


def follow_ups(records: Sequence[Produced]) -> list[Produced]:
    """Return contacts, one for three passive responses, each a while after its response and in order of time."""
    answers = [msgspec.json.decode(record.value or b"") for record in records]
    answered_ms: dict[tuple[str, str], list[int]] = {}
    for record, answer in zip(records, answers, strict=True):
        answered_ms.setdefault((answer["customer_id"], answer["survey_id"]), []).append(record.timestamp_ms)
    passives, made = 0, []
    for record, answer in zip(records, answers, strict=True):
        if answer["score"] not in (7, 8):
            continue
        at_ms = record.timestamp_ms + FOLLOWED_UP_AFTER_MS
        again_ms = answered_ms[answer["customer_id"], answer["survey_id"]]
        passives += 1
        if passives < PASSIVES_A_FOLLOW_UP or any(at_ms <= other <= at_ms + UNAMBIGUOUS_MS for other in again_ms):
            continue
        passives -= PASSIVES_A_FOLLOW_UP
        value = {
            "follow_up_id": f"f-{len(made)}",
            "customer_id": answer["customer_id"],
            "survey_id": answer["survey_id"],
            "status": "contacted",
            "action": ACTIONS[len(made) % len(ACTIONS)],
            "reason": ("value_for_price", None)[len(made) % 2],
            "occurred_at": datetime.fromtimestamp(record.timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        }
        made.append(Produced(record.partition, record.key, msgspec.json.encode(value), at_ms))
    return made


def responses(
    shape: str,
    count: int,
    partitions: int,
    now_ms: int,
    seed: int = 20,
    customers: int = CUSTOMERS,
    segments: int = 3,
) -> Iterator[Produced]:
    """Yield `count` valid responses of about 330 bytes; 35 % are passive, 45 % promoters.

    With more than three segments the further ones have 10 values each; with fewer, the last are left out.
    """
    rng = random.Random(seed)
    pick = rng.random
    partition_by_customer = [-1] * customers
    spread_ms = SHAPES[shape] * 86_400_000
    for number in range(count):
        customer = int(pick() * customers)
        key = b"c-%d" % customer
        partition = partition_by_customer[customer]
        if partition < 0:
            partition = partition_by_customer[customer] = partition_of(key, partitions)
        record_time_ms = now_ms - RECORD_TIME_SPAN_MS + RECORD_TIME_SPAN_MS * number // count
        answered = datetime.fromtimestamp((record_time_ms - int(pick() * spread_ms)) / 1000, UTC)
        draw = pick()
        score = (7 if pick() < 0.45 else 8) if draw < 0.35 else 9 + int(pick() * 2) if draw < 0.8 else int(pick() * 7)
        comment = " ".join(WORDS[int(pick() * len(WORDS))] for _ in range(4 + int(pick() * 9)))
        names = [
            f'"country":"{COUNTRIES[int(pick() * 12)]}"',
            f'"industry":"{INDUSTRIES[int(pick() * 10)]}"',
            f'"plan":"{PLANS[int(pick() * 4)]}"',
            *[f'"s{further}":"{int(pick() * 10)}"' for further in range(3, segments)],
        ][:segments]
        value = (
            f'{{"response_id":"{rng.getrandbits(64):016x}-{number:019d}","customer_id":"c-{customer}",'
            f'"survey_id":"{"relationship" if pick() < 0.7 else "onboarding"}","score":{score},'
            f'"responded_at":"{answered.isoformat(timespec="milliseconds")}","revision":0,'
            f'"segments":{{{",".join(names)}}},"comment":"{comment}","language":"{LANGUAGES[int(pick() * 3)]}"}}'
        )
        yield Produced(partition, key, value.encode(), record_time_ms)
