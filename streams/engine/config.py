"""What the engine is told at start. It reads no settings and no environment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from streams.engine.decider import DecidingConfig

CrashPoint = Literal["before_transaction", "in_transaction", "before_commit", "after_commit", "after_store"]
"""Moments of a commit at which tests let the process die: nothing begun; begun, nothing sent; everything sent, not
committed; committed, the store behind; committed and stored."""


def _wall_clock() -> int:
    return time.time_ns() // 1000


def _no_probe(point: str) -> None:
    """Production: nothing happens at a crash point."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Times carry their unit in the name."""

    kafka: dict[str, Any]
    """Arguments of every aiokafka client: bootstrap servers, security."""
    group_id: str
    deciding: DecidingConfig
    state_dir: Path
    counts_retention_us: int
    commit_interval_ms: int
    transaction_timeout_ms: int
    session_timeout_ms: int
    compression_type: str = "none"
    """Of events and dead letters, as Kafka's producers name it."""
    group_instance_id: str | None = None
    """Of a static member of the group: one that stops keeps its partitions until its session has passed."""
    now_us: Callable[[], int] = field(default=_wall_clock)
    """The wall clock, µs since the epoch: tells which cases are overdue, and nothing else."""
    probe: Callable[[str], None] = field(default=_no_probe)
    """Called with the name of each crash point that is passed."""
