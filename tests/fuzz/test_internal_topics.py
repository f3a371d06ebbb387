"""Any bytes in a changelog stop the worker in a sentence that says where, or everything that follows works on them."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.keys import counts_key, journey_key
from schemas.topics import Topics
from streams.engine.changelog_records import JourneyRows, count_rows
from streams.engine.formats import COUNTS, JOURNEY, REMEMBERED, Corrupt, Unreadable
from streams.engine.store import Store
from streams.rules.case import Case, KeptFollowUp
from streams.rules.journey import Answer, Journey, Remembered
from tests.fuzz.internal import ABSURD, changelogs_of
from tests.fuzz.mutations import NOW_MS, Mutations
from tests.fuzz.targets import changelogs
from tests.simulation.disk import MemoryDisks
from tests.support.oracle_reading import Record

TOPICS = Topics()
JOURNEYS = TopicPartition(TOPICS.journeys, 3)
COUNTS_AT = TopicPartition(TOPICS.segment_counts, 3)
ANSWER = Answer("r", 0, 7, NOW_MS * 1000, {"country": "NO"}, None, True)
C = journey_key("customer", "c", "s")
R = journey_key("response", "r", "s")
ROW = counts_key("s", "all", 20_000)
MUTATIONS = Mutations(7)


def record(at: TopicPartition, key: bytes | None, value: bytes | None) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord(at.topic, at.partition, 17, 0, 0, key, value, None, -1, -1, ())


def journey(**changes: object) -> bytes:
    return JOURNEY.encode(Journey([msgspec.structs.replace(ANSWER, **changes)]))


CASE = Case(7, NOW_MS * 1000, None, "r", 0, ("e",), "r", {"country": "NO"}, "unknown", True)
BAD_CASES: tuple[dict[str, object], ...] = (
    *({"score": score} for score in (6, 9)),
    *({"opened_at": at} for at in (-(2**60), 2**60)),
    *({"reason": reason} for reason in ("", "bored", None)),
    *({"action": action} for action in ("", "call", None)),
    *({"detections": detections} for detections in ((), ("e",) * 9)),
    {"first_revision": -1},
    {"due_at": 2**60},
    {"follow_ups": (KeptFollowUp("f", 0, "opened", "other", None, 0),) * 33},
    {"follow_ups": (KeptFollowUp("f", 0, "closed", "other", None, 0),)},  # type: ignore[arg-type]
)


def with_case(**changes: object) -> bytes:
    return JOURNEY.encode(Journey([ANSWER], None, msgspec.structs.replace(CASE, **changes)))


def packed(value: object) -> bytes:
    return b"\x02" + msgspec.msgpack.encode(value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, journey()) for key in (None, b"", b"\xff", b"c", b'["customer","c"]', b'["customer", "c", "s"]', ROW)),
        *(
            (C, value)
            for value in (b"", b"\x00", b"\x03" + journey()[1:], journey()[:-1], journey() + b"\x00", b"\x01")
        ),
        *((C, journey(score=score)) for score in (-1, 11)),
        *((C, journey(revision=revision)) for revision in (-1, 2**53)),
        *((C, journey(csat=csat)) for csat in (0, 6)),
        *((C, journey(responded_at=at)) for at in (-(2**60), 2**60)),
        (C, packed([[]])),
        (C, JOURNEY.encode(Journey([ANSWER] * 33))),
        (C, b"\x02\x95" + journey()[2:] + b"\x91" * 99_999),
        *((C, journey(marks=marks)) for marks in (-1, 4)),
        *((C, with_case(**changes)) for changes in BAD_CASES),
        (C, JOURNEY.encode(Journey([ANSWER, msgspec.structs.replace(ANSWER, responded_at=0)]))),
        (C, REMEMBERED.encode(Remembered(ANSWER, NOW_MS))),
        (R, journey()),
        (R, b""),
    ],
)
def test_a_journey_that_no_release_wrote_stops_clearly(key: bytes | None, value: bytes) -> None:
    store = MemoryDisks(random.Random(0)).open(Path("partition"))
    with pytest.raises(Unreadable, match=r"^nps\.internal\.journeys \[3\] offset 17: \S.*") as caught:
        JourneyRows(store, empty=True).of(JOURNEYS, [record(JOURNEYS, key, value)])
    assert str(caught.value)[-1:] != "c" or "customer" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            (key, packed({}))
            for key in (None, b"", b"\xff", C, b'["s","all","2024-02-30"]', b'["s", "all","2024-10-04"]')
        ),
        *(
            (counts_key(survey, segment, 20_000), packed({}))
            for survey, segment in (("", "all"), ("s" * 129, "all"), ("s\n", "all"), ("s", ""), ("s", "x" * 9_000))
        ),
        *((ROW, value) for value in (b"", b"\x00", b"\x03\x80", packed({1: 1})[:-1], b"\x01", b"\x01\x81\xcc\x90\x01")),
        *((ROW, packed({cell: 1})) for cell in (-1, 168, 2**40, "1", None)),
        *((ROW, packed({1: count})) for count in (-1, 2**32, 2**53, 2**64 - 1, 1.5, True, None, "1")),
        *((ROW, packed(value)) for value in ([], None, 1, "x")),
    ],
)
def test_counts_that_no_release_wrote_stop_clearly(key: bytes | None, value: bytes) -> None:
    with pytest.raises(Unreadable, match=r"^nps\.internal\.segment-counts \[3\] offset 17: \S.*"):
        count_rows(COUNTS_AT, [record(COUNTS_AT, key, value)], COUNTS)


def test_what_a_release_writes_is_taken_and_a_null_deletes_whatever_it_names() -> None:
    store = MemoryDisks(random.Random(0)).open(Path("partition"))
    for key, value in (
        (C, journey()),
        (R, REMEMBERED.encode(Remembered(ANSWER, NOW_MS))),
        (b"garbage", None),
        (C, None),
    ):
        assert (b"j" + key, value) in JourneyRows(store, empty=True).of(JOURNEYS, [record(JOURNEYS, key, value)])
    taken = [record(COUNTS_AT, ROW, COUNTS.encode({1: 1})), record(COUNTS_AT, ROW, None)]
    assert count_rows(COUNTS_AT, [*taken, record(COUNTS_AT, b"garbage", None)], COUNTS) == [
        (r.key, r.value) for r in taken
    ]


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False))
def test_mutations_are_refused_or_harmless(rng: random.Random) -> None:
    changelogs(*changelogs_of(rng, MUTATIONS))


bytes_of_a_value = st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: b"\x02" + rest)
leaves = st.sampled_from(ABSURD) | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=13) | st.dictionaries(st.text(max_size=5) | st.integers(-9, 200), inner),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from((C, R)), bytes_of_a_value | trees.map(packed), bytes_of_a_value | trees.map(packed))
def test_any_stored_value_is_refused_or_harmless(key: bytes, state: bytes, counts: bytes) -> None:
    response = b'{"response_id":"r","customer_id":"c","survey_id":"s","score":9,"responded_at":"2026-11-22T20:00:00Z"}'
    changelogs(
        [Record(0, 100, key, state, 0)],
        [Record(0, 100, ROW, counts, 0)],
        [Record(0, 0, b"c", response, NOW_MS), Record(0, 1, b"c", None, NOW_MS), Record(0, 2, b"r", None, NOW_MS)],
    )


def test_what_the_store_holds_is_never_echoed(tmp_path: Path) -> None:
    """A sentence names the place and the rule, not the customer."""
    secret = journey_key("customer", "secret-customer", "s")
    with closing(Store(tmp_path / "store")) as store, pytest.raises(Unreadable) as caught:
        JourneyRows(store, empty=True).of(JOURNEYS, [record(JOURNEYS, secret, b"\x02\x91secret")])
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, Corrupt)
