"""Coverage-guided fuzzing of all that reads, for a short while; `python -m tests.fuzz.guided` goes on for longer."""

from __future__ import annotations

import os
import platform
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.guided_targets import TARGETS, Mutator, seeds, try_one
from tests.fuzz.packed import Packed, pack, unpack

SECONDS, SEED = 12, 1
HAS_ATHERIS = find_spec("atheris") is not None
IN_CI = os.environ.get("CI") == "true" and sys.version_info[:2] == (3, 11) and platform.machine() == "x86_64"


@pytest.mark.slow
@pytest.mark.skipif(not HAS_ATHERIS and not IN_CI, reason="atheris has no wheel for this Python and machine")
def test_coverage_leads_to_no_failure() -> None:
    """A failure prints the input in base64, which `python -m tests.fuzz.guided --input` tries alone."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", "--seconds", str(SECONDS), "--seed", str(SEED)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=150,
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 failed" in ended.stdout


def test_every_target_takes_its_seeds_and_mutations_of_them() -> None:
    """Where there is no atheris, too. The seed is 1."""
    rng = random.Random(SEED)
    mutator = Mutator(SEED)
    for data in rng.sample(list(seeds(SEED)), 300):
        try_one(data)
        changed = mutator(data, 1 << 20, rng.getrandbits(32), lambda same, _: same[::-1])
        assert mutator(data, 10, rng.getrandbits(32), lambda same, size: same[:size]) is not None
        try_one(changed)
    assert {unpack(data).target for data in seeds(SEED)} == set(range(len(TARGETS)))


parts = st.lists(st.none() | st.binary(max_size=300), max_size=5).map(tuple)


@given(st.integers(0, 255), st.integers(-(2**63), 2**63 - 1), parts)
def test_an_input_is_taken_apart_as_it_was_put_together(target: int, number: int, parts: tuple[bytes | None]) -> None:
    assert unpack(pack(target, number, parts)) == Packed(target, number, parts)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_input(data: bytes) -> None:
    assert isinstance(unpack(data), Packed)
