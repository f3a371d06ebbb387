"""The pure path does not grow unseen: its instructions of Python are within 15 % of those that are written down."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench.instructions import RESPONSES, count

WRITTEN_DOWN = {
    ("live", (3, 11)): 1200.6,
    ("spread", (3, 11)): 1426.6,
    ("live", (3, 13)): 926.7,
    ("spread", (3, 13)): 1074.0,
}
"""Instructions a response, by shape and version of Python, from `python -m tests.bench.instructions`."""


@pytest.mark.parametrize("shape", ["live", "spread"])
def test_a_response_takes_the_instructions_that_were_written_down(shape: str, tmp_path: Path) -> None:
    version = sys.version_info[:2]
    if (shape, version) not in WRITTEN_DOWN:
        pytest.skip(f"nothing is written down for Python {version[0]}.{version[1]}")
    expected = WRITTEN_DOWN[shape, version]
    found = count(shape, tmp_path).total() / RESPONSES
    assert abs(found / expected - 1) <= 0.15, (
        f"{found:.0f} a response, and not {expected:.0f}: if that is meant, write it down"
    )
