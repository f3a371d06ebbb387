"""Records of journeys that are restored, and the index of due cases that is made of them."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest
from aiokafka.structs import TopicPartition

from schemas.keys import journey_key
from streams.engine import changelog_records
from streams.engine.changelog_records import JourneyRows
from streams.engine.due import DUE_PREFIX, due_entry
from streams.engine.formats import JOURNEY
from streams.engine.records import Record
from streams.engine.store import Checkpoint, Store
from streams.rules.case import Case
from streams.rules.journey import Answer, Journey

AT = TopicPartition("journeys", 0)
KEYS = [journey_key("customer", f"c-{number}", "s") for number in range(20)]


def some_journey(rng: random.Random) -> Journey | None:
    """Erased; without a case; with one that is due then or then; with one that is not due any more."""
    kind = rng.randrange(5)
    if kind == 0:
        return None
    case = Case(7, 0, rng.choice((10, 20)), "r", 0, ("e",), "r", {}, "unknown")
    if kind == 1:
        case.overdue = True
    return Journey([Answer("r", 0, 7, 0, {}, None)], None, None if kind == 2 else case)


@pytest.mark.parametrize("remembered_max", [0, 3, 300_000])
@pytest.mark.parametrize("tail", [False, True])
def test_the_index_is_that_of_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembered_max: int, tail: bool
) -> None:
    monkeypatch.setattr(changelog_records, "DUE_REMEMBERED_MAX", remembered_max)
    for seed in range(20):
        rng = random.Random(seed)
        journeys: dict[bytes, Journey | None] = {}
        with closing(Store(tmp_path / f"store-{seed}")) as store:
            reader = JourneyRows(store, empty=True)
            for batch in range(8):
                if tail and batch == 4:  # the worker was restarted
                    reader = JourneyRows(store, empty=False)
                records = []
                for offset in range(rng.randrange(12)):
                    key, journey = rng.choice(KEYS), some_journey(rng)
                    journeys[key] = journey
                    value = None if journey is None else JOURNEY.encode(journey)
                    records.append(Record(AT.topic, 0, offset, 0, key, value, ()))
                store.write(reader.of(AT, records), Checkpoint(batch, 0, 0))
                expected = {entry for key, each in journeys.items() if (entry := due_entry(each, key)) is not None}
                assert {key for key, _ in store.scan(DUE_PREFIX)} == expected, f"seed {seed}, batch {batch}"
