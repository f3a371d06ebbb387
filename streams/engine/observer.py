"""What the engine tells the rooms above it: committed counts (scoreboard) and what happened (metrics).

Everything is called in the event loop's thread, only for what is committed, and must return quickly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class UnitReport:
    """One committed unit of work of one partition. Counts are of records unless said."""

    partition: int
    records: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    detected: Counter[str] = field(default_factory=Counter)
    """Events by trigger."""
    found_answers: Counter[tuple[object, object]] = field(default_factory=Counter)
    """Those that found somebody new, not still passive, by the answer's score, 7 or 8, and its reason, None where it
    gives none."""
    changed: Counter[str] = field(default_factory=Counter)
    """Events by change."""
    converted: Counter[object] = field(default_factory=Counter)
    """Of these, passive to promoter: by the score before, 7 or 8."""
    withdrawn: Counter[str] = field(default_factory=Counter)
    """Events by cause."""
    suppressed: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    """By reason."""
    follow_ups: int = 0
    """Records of that input, which `records` does not count."""
    first_follow_up_ms: int = 0
    """Record time of the first of these."""
    follow_up_outcomes: Counter[str] = field(default_factory=Counter)
    overdue: Counter[str] = field(default_factory=Counter)
    """Events: nobody was in time; under one label."""
    contact_s: list[float] = field(default_factory=list)
    """From a case's opening to its first contact, of each that had its first."""
    deleted: Counter[str] = field(default_factory=Counter)
    """Passed over: gone before they were processed, by input, `responses` or `follow_ups`; counted by their offsets."""
    misplaced: int = 0
    overflowed: int = 0
    """Diversions to `__other__`."""
    record_times_ms: list[int] = field(default_factory=list)
    """Record time of each record, for the end-to-end latency."""
    processing_s: float = 0.0
    """Wall time spent deciding, all records together."""
    commit_s: float = 0.0
    """From the begin of the transaction to its commit's acknowledgement."""
    committed_at_ms: int = 0


@dataclass(slots=True, frozen=True)
class PartitionStatus:
    """A partition that this worker owns, as it is now."""

    partition: int
    ready: bool
    """Restored and processing."""
    lag_records: int
    """Of responses, as `lag_seconds`."""
    lag_seconds: float
    restored_records: int
    restore_total: int
    """Changelog records to restore, as known at the start of the restore; offsets, to be exact."""
    state_bytes: int
    """RocksDB files and memtables."""
    follow_ups_lag_records: int = 0
    follow_ups_lag_seconds: float = 0.0


class EngineStatus(Protocol):
    """The engine as it is now. To be asked in the event loop's thread."""

    @property
    def joined(self) -> bool:
        """Is this worker a member of the group with an assignment (which may be empty)?"""

    def partitions(self) -> list[PartitionStatus]:
        """Return the status of each owned partition."""


class EngineObserver(Protocol):
    """Implemented by the metrics."""

    def unit_committed(self, report: UnitReport) -> None:
        """A unit was committed."""

    def commit_failed(self, partition: int, result: str) -> None:
        """A transaction ended otherwise; `result` is `aborted` or `fenced`."""

    def partition_gone(self, partition: int) -> None:
        """This worker no longer owns the partition: its series must disappear."""


class CountsListener(Protocol):
    """Implemented by the scoreboard, once of responses and once of cases. Keys and values are as stored in the
    changelog of segment counts, or of case counts.
    """

    def partition_opening(self, partition: int) -> None:
        """This worker now owns the partition: drop what was known of it, its rows follow."""

    def partition_rows(self, partition: int, rows: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Absolute committed values, the latest wins; None: the day was dropped."""

    def partition_ready(self, partition: int) -> None:
        """Every committed row of the partition has been given."""

    def partition_closed(self, partition: int, next_offset: int | None) -> None:
        """No longer owned. The rows given so far are those below `next_offset` of the changelog (None: unknown)."""
