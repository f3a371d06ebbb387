"""Any bytes as key, value and headers of a response: a dead letter, an erasure, a response; never half of one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.many import run_many
from tests.fuzz.mutations import KEYS, NOW_MS, TIMES_MS, Mutations
from tests.fuzz.targets import decide, decided, read_as_the_oracle
from tests.support.oracle_reading import Record

INPUTS = 100_000
MUTATIONS = Mutations(99)

keys = st.none() | st.binary(max_size=40) | st.sampled_from(KEYS)
headers = st.lists(st.tuples(st.text(max_size=10), st.none() | st.binary(max_size=20)), max_size=4).map(tuple)
times_ms = st.sampled_from(TIMES_MS) | st.integers(-(2**63), 2**63 - 1) | st.just(NOW_MS)
anything = st.builds(Record, st.just(0), st.just(0), keys, st.none() | st.binary(max_size=300), times_ms, headers)
nearly_good = st.builds(
    lambda number, data, at, insert, header: _changed(number, data, at, insert)._replace(headers=header),
    *(st.integers(0, 10**6), st.binary(max_size=20), st.integers(0, 500), st.booleans(), headers),
)


def _changed(number: int, data: bytes, at: int, insert: bool) -> Record:
    record = MUTATIONS.seed(number)
    value = record.value or b""
    return record._replace(value=value[:at] + data + value[at if insert else at + len(data) :])


@settings(max_examples=400, deadline=None)
@given(anything | nearly_good)
def test_any_value_is_taken_or_refused_as_the_oracle_does(record: Record) -> None:
    if record.value is not None:
        read_as_the_oracle(record)


@settings(max_examples=60, deadline=None)
@given(st.lists(anything | nearly_good, min_size=1, max_size=30), st.integers(0, 1000))
def test_any_log_is_decided_as_the_oracle_does(log: list[Record], seed: int) -> None:
    decide(log, seed)


def test_many_mutations() -> None:
    """The same targets as in the long run, `python -m tests.fuzz`; the seed is 1."""
    failures = [failure for _, failed in run_many(INPUTS, 1) for failure in failed]
    assert not failures, "\n".join(failures[:2])


def test_a_record_time_beyond_all_years_is_written_as_the_last_one() -> None:
    value = b'{"response_id":"r","customer_id":"c","survey_id":"s","score":7,"responded_at":"9999-12-31T23:59:59Z"}'
    beyond = Record(0, 0, b"c", value, 253_402_300_800_000)  # the year 10000
    (event,) = decided([beyond], 0)["nps.passive-detected"]
    assert b'"detected_at":"9999-12-31T23:59:59.999999Z"' in (event.value or b"")
