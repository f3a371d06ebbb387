"""A short campaign of every run of the suite; `make soak` is the long one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults.campaign import Plan, run, summary_lines


@pytest.mark.kafka
@pytest.mark.slow
def test_a_short_campaign_equals_the_oracle(needs_broker: None, tmp_path: Path) -> None:
    plan = Plan(responses=6_000, partitions=4, workers=2, kills=1, seed=time.time_ns() % 1_000_000, rate=2_000)
    summary = run(plan, tmp_path, print)
    print("\n".join(summary_lines(summary)))
    assert summary.kills == plan.kills
    assert summary.checked.outcomes.total() == plan.responses
    assert summary.checked.dead_letters.total() > 0
