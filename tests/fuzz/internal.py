"""Mutations of what is in the changelogs: keys and stored values as a release writes them, and nearly so."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from schemas.keys import counts_key, journey_key
from streams.engine.formats import COUNTS, JOURNEY, REMEMBERED
from streams.rules.journey import Answer, Detection, Journey, Remembered
from tests.fuzz.mutations import NOW_MS, Mutations
from tests.support.oracle_reading import Record

CUSTOMERS = ("customer-1", "kunde-ø", 'quote" and \\ backslash', "customer-0")
SURVEYS = ("relational", "after-purchase")
ABSURD: tuple[Any, ...] = (
    *(
        -1,
        0,
        11,
        143,
        144,
        255,
        2**31,
        2**53,
        2**63 - 1,
        -(2**63),
        2**64 - 1,
        1.5,
        True,
        None,
        "",
        "8",
        b"\xff",
        [],
        {},
    ),
    *([[]], {"a": "b"}, {1: 2}, [1, 2, 3], "x" * 300),
)


def changelogs_of(rng: random.Random, mutations: Mutations) -> tuple[list[Record], list[Record], list[Record]]:
    """One to three journeys, one to three counts, and responses of the same customers."""
    journeys = [_record(mutations, rng, offset, *_journey(rng)) for offset in range(rng.randint(1, 3))]
    counts = [_record(mutations, rng, offset, *_counts(rng)) for offset in range(rng.randint(1, 3))]
    return journeys, counts, [_response(rng, offset) for offset in range(4)]


def _record(mutations: Mutations, rng: random.Random, offset: int, key: bytes | None, value: bytes | None) -> Record:
    how = rng.random()
    if how < 0.04 and value is not None:
        value = mutations.mutated(value)
    elif how < 0.05:
        value = rng.choice((None, b"", b"\x00", b"\x01", b"\x02\x80", rng.randbytes(20)))
    elif how < 0.09 and key is not None:
        key = mutations.mutated(key)
    elif how < 0.1:
        key = rng.choice(
            (None, b"", b"\xff", b"[]", b'["customer","a"]', b'["customer", "a", "b"]', b'["a","b","2026-02-30"]')
        )
    return Record(0, 100 + offset, key, value, 0)


def _journey(rng: random.Random) -> tuple[bytes, bytes]:
    answers = sorted((_answer(rng) for _ in range(rng.randint(1, 4))), key=lambda a: (a.responded_at, a.response_id))
    if rng.random() < 0.3:
        state: Any = Remembered(answers[0], NOW_MS - rng.randrange(200) * 86_400_000)
        key, stored = journey_key("response", rng.choice(("r0", "r1")), rng.choice(SURVEYS)), REMEMBERED.encode(state)
    else:
        detection = Detection("event", answers[-1].responded_at) if rng.random() < 0.5 else None
        state = Journey(answers, detection)
        key, stored = journey_key("customer", rng.choice(CUSTOMERS), rng.choice(SURVEYS)), JOURNEY.encode(state)
    if rng.random() < 0.1:
        stored = stored[:1] + _absurd(rng, stored[1:])
    return key, stored


def _counts(rng: random.Random) -> tuple[bytes, bytes]:
    cells: dict[Any, Any] = {rng.randrange(144): rng.randint(1, 9) for _ in range(rng.randint(0, 5))}
    if rng.random() < 0.07:
        cells[rng.choice((144, -1, 2**40, "1", 1.0))] = 1
    if rng.random() < 0.07:
        cells[rng.randrange(144)] = rng.choice((-1, 2**53, 2**63, 1.5, "1", None, True))
    day = rng.choice((NOW_MS // 86_400_000 - rng.randrange(3), 0, -719_162, 2_932_896))
    segment = rng.choice(("all", "country=NO", "country=__other__", "x", "", "a+b"))
    return counts_key(rng.choice(SURVEYS), segment, day), COUNTS.encode({})[:1] + msgspec.msgpack.encode(cells)


def _absurd(rng: random.Random, payload: bytes) -> bytes:
    """The same tree with one leaf or branch replaced."""
    tree = msgspec.msgpack.decode(payload)
    place: Any = tree
    while True:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        below = place[key]
        if not isinstance(below, list | dict) or not below or rng.random() < 0.3:
            place[key] = rng.choice(ABSURD)
            return msgspec.msgpack.encode(tree)
        place = below


def _answer(rng: random.Random) -> Answer:
    return Answer(
        f"r{rng.randrange(4)}",
        rng.randrange(3),
        rng.randrange(11),
        NOW_MS * 1000 - rng.randrange(10**9),
        {"country": "NO"} if rng.random() < 0.5 else {},
        rng.choice((None, 1, 5)),
        rng.choice((True, False, ("country=__other__",))),
    )


def _response(rng: random.Random, offset: int) -> Record:
    customer = rng.choice(CUSTOMERS)
    if rng.random() < 0.3:
        return Record(0, offset, customer.encode(), None, NOW_MS)
    anonymous = rng.random() < 0.3
    document = {
        "response_id": f"r{rng.randrange(4)}",
        "customer_id": None if anonymous else customer,
        "survey_id": rng.choice(SURVEYS),
        "score": rng.randrange(11),
        "responded_at": "2026-11-22T20:59:00Z",
        "revision": rng.randrange(4),
        "segments": {"country": "NO"},
    }
    key = document["response_id"] if anonymous else customer
    return Record(0, offset, str(key).encode(), msgspec.json.encode(document), NOW_MS)
