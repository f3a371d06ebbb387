"""Bytes in, one target tried: what the guided fuzzer calls, the inputs that it begins with, and its mutations."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Sequence

from schemas.keys import journey_key, score_key
from streams.engine.formats import JOURNEY
from streams.engine.transaction import OffsetNote
from streams.rules.journey import Answer, Journey
from tests.fuzz import targets
from tests.fuzz.internal import changelogs_of
from tests.fuzz.mutations import NOW_MS, Mutations
from tests.fuzz.packed import Packed, pack, unpack
from tests.support.oracle_reading import Record

ORACLE_EVERY = 2
"""One value in so many is read by the oracle too."""
RECORDS_OF_A_LOG_MAX = 12
SEEDS_OF_RECORDS, SEEDS_OF_LOGS, SEEDS_OF_CHANGELOGS = 600, 100, 150
AFTERWARDS = [
    Record(0, 0, b"customer-1", b'{"response_id":"r1","customer_id":"customer-1",%s' % rest, NOW_MS)
    for rest in (
        b'"survey_id":"relational","score":9,"responded_at":"2026-11-22T20:59:00Z","revision":9}',
        b'"survey_id":"after-purchase","score":7,"responded_at":"2026-11-22T20:59:00Z"}',
    )
] + [Record(0, 0, b"customer-1", None, NOW_MS), Record(0, 0, b"r1", None, NOW_MS)]
"""Decided on whatever state was taken."""
DEEP_JSON, DEEP_MSGPACK = b"[" * 2_000, b"\x91" * 2_000

Parts = Sequence[bytes | None]


def _record(number: int, parts: Parts) -> str:
    key, value = (*parts, None, None)[:2]
    if value is None:
        return targets.read_erasure(key)
    record = Record(0, 0, key, value, number)
    digest = zlib.crc32(value)
    return targets.read(record) if digest % ORACLE_EVERY else targets.read_as_the_oracle(record)


def _log(number: int, parts: Parts) -> str:
    pairs = list(zip(parts[::2], parts[1::2], strict=False))[:RECORDS_OF_A_LOG_MAX]
    log = [Record(0, 0, key, value, number + place * 1_000) for place, (key, value) in enumerate(pairs)]
    log = [record for record in log if -(1 << 63) <= record.timestamp_ms < 1 << 63]
    if log:
        targets.decide(log, number & 0xFF)
    return "equal"


def _journeys(number: int, parts: Parts) -> str:
    return targets.changelogs(_rows(parts), [], AFTERWARDS)


def _counts(number: int, parts: Parts) -> str:
    return targets.changelogs([], _rows(parts), AFTERWARDS)


def _scores(number: int, parts: Parts) -> str:
    rows = [(key, value) for key, value in zip(parts[::2], parts[1::2], strict=False) if key is not None]
    return targets.scores(rows) if rows else "nothing"


def _note(number: int, parts: Parts) -> str:
    return targets.offset_note((parts[0] or b"").decode(errors="surrogateescape") if parts else "")


def _headers(number: int, parts: Parts) -> str:
    key, value, *headers = (*parts, None, None) if len(parts) < 2 else parts
    named = [(name or b"", held) for name, held in zip(headers[::2], headers[1::2], strict=False)]
    return targets.header_names(key, value, named)


def _rows(parts: Parts) -> list[Record]:
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return [Record(0, 100 + offset, key, value, 0) for offset, (key, value) in enumerate(pairs)]


TARGETS: tuple[Callable[[int, Parts], str], ...] = (_record, _log, _journeys, _counts, _scores, _note, _headers)


def try_one(data: bytes) -> str:
    """Returns what came of it; raises AssertionError or whatever went wrong."""
    target, number, parts = unpack(data)
    return TARGETS[target % len(TARGETS)](number, parts)


def _of(target: Callable[[int, Parts], str], number: int, *parts: bytes | None) -> bytes:
    return pack(TARGETS.index(target), number, parts)


def seeds(seed: int) -> Iterator[bytes]:
    """What to begin with, made from the `tables` corpus and from what a release stores."""
    rng = random.Random(seed)
    mutations = Mutations(seed)
    for number in range(SEEDS_OF_RECORDS):
        record = mutations.seed(number)
        yield _of(_record, record.timestamp_ms, record.key, record.value)
    for number in range(SEEDS_OF_LOGS):
        log = [mutations.seed(number * 5 + place) for place in range(5)]
        yield _of(_log, log[-1].timestamp_ms, *(part for record in log for part in (record.key, record.value)))
    for _ in range(SEEDS_OF_CHANGELOGS):
        journeys, counts, _ = changelogs_of(rng, mutations)
        yield _of(_journeys, 0, *(part for record in journeys for part in (record.key, record.value)))
        yield _of(_counts, 0, *(part for record in counts for part in (record.key, record.value)))
    for survey, segment, window in (("relational", "all", "1d"), ("gone", "country=NO", "90d"), ("s", "all", "7d")):
        yield _of(_scores, 0, score_key(survey, segment, window), b'{"survey_id":"s","responses":3}')
    yield _of(_scores, 0, score_key("s", "all", "1d"), b'{"a":' + DEEP_JSON)
    yield _of(_note, 0, OffsetNote(NOW_MS).encode().encode())
    yield _of(_note, 0, b'{"a":' + DEEP_JSON)
    stored = JOURNEY.encode(Journey([Answer("r1", 0, 7, NOW_MS * 1000, {}, None)]))
    yield _of(_journeys, 0, journey_key("customer", "customer-1", "s"), b"\x01\x93" + stored[2:] + DEEP_MSGPACK)
    yield _of(_headers, 0, b"key", b"value", b"name", b"value", b"\xff", None, b"", b"")


class Mutator:
    """Half of the mutations: those that know how an input is made up. The others are libFuzzer's."""

    def __init__(self, seed: int) -> None:
        self._mutations = Mutations(seed)

    def __call__(self, data: bytes, max_size: int, seed: int, mutate: Callable[[bytes, int], bytes]) -> bytes:
        """Return another input of at most `max_size` bytes; the same for the same `seed`."""
        rng = random.Random(seed)
        if rng.random() < 0.5:
            return mutate(data, max_size)
        self._mutations.begin_anew(seed)
        changed = self._changed(unpack(data), rng, mutate)
        packed = pack(*changed)
        return packed if len(packed) <= max_size else mutate(data, max_size)

    def _changed(self, packed: Packed, rng: random.Random, mutate: Callable[[bytes, int], bytes]) -> Packed:
        parts = list(packed.parts)
        how = rng.randrange(6)
        at = rng.randrange(len(parts)) if parts else 0
        part = parts[at] if parts else None
        if how == 0 or not parts:
            record = self._mutations.record()
            parts[at : at + 2] = [record.key, record.value]
        elif how == 1:
            parts[at] = None if part is not None else b""
        elif how == 2:
            parts.insert(at, parts[rng.randrange(len(parts))])
        elif how == 3 and len(parts) > 1:
            del parts[at]
        elif part is not None:
            parts[at] = self._mutations.mutated(part) if how == 4 else mutate(part, len(part) + 64)
        return packed._replace(parts=tuple(parts))
