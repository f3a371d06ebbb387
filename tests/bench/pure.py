"""The pure path as the benchmarks drive it: one partition's decider on a store, without Kafka."""

from __future__ import annotations

from typing import Final

from schemas.times import US_PER_DAY
from schemas.topics import Topics
from streams.engine.decider import Decider, DecidingConfig
from streams.engine.ledger import LedgerMemory
from streams.engine.store import Checkpoint, Store
from streams.engine.unit import Unit
from streams.rules.decisions import RulesConfig

RULES: Final = RulesConfig(30 * US_PER_DAY, 100 * US_PER_DAY, 400 * US_PER_DAY, frozenset({"passive_to_promoter"}))


def decider_on(store: Store) -> Decider:
    """The decider of the only partition."""
    return Decider(DecidingConfig(Topics(), 1, RULES, 10_000, (), "/nps"), 0, store, 0, LedgerMemory())


def write(store: Store, unit: Unit) -> None:
    """Write a closed unit as a partition does when it is committed."""
    rows: list[tuple[bytes, bytes | None]] = [(b"j" + key, value) for key, value in unit.states.items()]
    rows += [(b"c" + key, value) for key, value in unit.counts.items()]
    rows += [(b"k" + key, value) for key, value in unit.case_counts.items()]
    rows += unit.index_entries.items()
    store.write(rows, Checkpoint(0, 0, 0))
