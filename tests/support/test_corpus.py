"""A `tables` corpus of 3,000 records really steps on every row; the same seed always gives the same log."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.corpus import as_logs, corpus
from tests.support.oracle import OracleConfig, run

NOW_MS = 1_793_534_400_000
TRANSITIONS = {
    *("passive_to_promoter", "passive_to_detractor"),
    *("detractor_to_promoter", "promoter_to_detractor"),
}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_tables_reach_everything(seed: int) -> None:
    config = OracleConfig(partitions=4, transitions=frozenset(TRANSITIONS), crosses=(("country", "industry"),))
    oracles = run(as_logs(corpus(seed, 3000, NOW_MS), 4), config).values()

    def seen(name: str) -> set[str]:
        return {found for oracle in oracles for found, count in getattr(oracle, name).items() if count >= 3}

    assert seen("outcomes") == {"accepted", "late", "too_old", "duplicate", "amended", "erased", "dead_letter"}
    assert seen("reasons") == {"too_large", "invalid_json", "invalid_response", "key_mismatch", "from_future"}
    assert seen("suppressed") == {"stale", "cooldown"}
    labels = Counter(dict.fromkeys(TRANSITIONS, 0))
    for oracle in oracles:
        for (_, label), count in oracle.labels.items():
            labels[label] += count
    assert {label for label, count in labels.items() if count >= 5} == TRANSITIONS | {
        *("first_response", "from_detractor", "from_promoter", "still_passive", "corrected", "erased")
    }
    assert sum(oracle.misplaced for oracle in oracles) > 20
    journeys = [journey for oracle in oracles for surveys in oracle.customers.values() for journey in surveys.values()]
    assert sum(len(journey.history) == 32 for journey in journeys) >= 5
    assert sum(journey.detection is not None for journey in journeys) >= 10
    fields = {letter.field for oracle in oracles for letter in oracle.dead_letters}
    assert fields >= {"response_id", "survey_id", "score", "responded_at", "segments", "language", "customer_since"}


@pytest.mark.parametrize("profile", ["tables", "load"])
def test_a_seed_gives_one_log(profile: str) -> None:
    first = list(corpus(7, 500, NOW_MS, profile))
    assert first == list(corpus(7, 500, NOW_MS, profile))
    assert first != list(corpus(8, 500, NOW_MS, profile))
    assert len(first) == 500
    assert max(record.timestamp_ms for record in first) < NOW_MS
