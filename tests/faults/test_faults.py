"""A short campaign of faults in every run of the suite; `make faults` is the long one."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path

import pytest

from schemas.events import FOLLOW_UP_OVERDUE
from tests.faults.faults_kinds import KINDS
from tests.faults.faults_plan import DECK, Fault, Plan, schedule
from tests.faults.faults_run import run, summary_lines

MINUTES = 1.5
RATE = 300.0
"""Responses a second: two cores have to do the broker's, the publishers', the workers' and the oracle's work."""


def dealt(seed: int, count: int) -> list[Fault]:
    return list(islice(schedule(Plan(seed, MINUTES)), count))


def test_a_schedule_is_its_seeds_and_leaves_no_kind_out() -> None:
    assert set(DECK) == set(KINDS)
    assert dealt(1, 60) == dealt(1, 60)
    assert [fault.kind for fault in dealt(1, 8)] != [fault.kind for fault in dealt(2, 8)]
    for seed in range(5):
        assert {fault.kind for fault in dealt(seed, len(DECK))} == set(DECK)


def test_kinds_that_are_not_possible_change_nothing_else() -> None:
    plan = Plan(3, MINUTES)
    possible = set(DECK) - {"disk_full"}
    there = [fault for fault in islice(schedule(plan), 48) if fault.kind in possible]
    without = list(islice(schedule(plan, possible), len(there)))
    assert [(fault.kind, fault.parameters) for fault in without] == [(fault.kind, fault.parameters) for fault in there]


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_campaign_of_faults_equals_the_oracle(needs_broker: None, tmp_path: Path) -> None:
    seed = time.time_ns() // 1000 % 1_000_000
    plan = Plan(seed, MINUTES, rate=RATE, static=seed % 2 == 0)
    print(f"seed {seed}, {'static' if plan.static else 'dynamic'} members")
    summary = run(plan, tmp_path, print)
    print("\n".join(summary_lines(summary)))
    assert len(summary.befallen) >= 2
    assert summary.checked.outcomes.total() == summary.published
    assert summary.checked.dead_letters.total() > 0
    assert summary.checked.follow_ups["matched"] > 0
    assert summary.checked.events[FOLLOW_UP_OVERDUE] > 0
