"""The metrics of a worker, on a registry of its own.

What happens is counted as the engine reports it (`EngineObserver`), once a unit of work and not once a record: the
histograms take a whole unit at a time. What is, is looked at when somebody asks: partitions, lag, windows. So a
partition that is lost takes its series with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Final, get_args

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    Counter,
)

from schemas.dead_letters import Reason
from schemas.fields import ReasonGiven
from streams.engine.observer import EngineStatus, UnitReport
from streams.exposition import encoder_for, tell_of_process
from streams.metrics.current import Current, View
from streams.metrics.instruments import BulkHistogram, LabelledCounter
from streams.rules import follow_ups
from streams.rules.category import CATEGORY_OF_SCORE, PASSIVE, SCORES
from streams.rules.transitions import CONFIGURABLE_CHANGES, TRIGGERS
from streams.scoreboard.board import Scoreboard
from streams.scoreboard.exposition import with_windows
from streams.scoreboard.snapshot import Snapshot

__all__ = ["BulkHistogram", "LabelledCounter", "Metrics"]

OUTCOMES: Final = ("accepted", "late", "too_old", "duplicate", "amended", "erased", "dead_letter")
FOLLOW_UP_OUTCOMES: Final = (*follow_ups.OUTCOMES, "dead_letter")
WITHDRAWN_CAUSES: Final = ("corrected", "erased")
SUPPRESSED_CAUSES: Final = ("cooldown", "stale")
INPUTS: Final = ("responses", "follow_ups")
COMMIT_RESULTS: Final = ("committed", "aborted", "fenced")
PASSIVE_SCORES: Final = tuple(score for score in SCORES if CATEGORY_OF_SCORE[score] == PASSIVE)

PROCESSING_BOUNDS_S: Final = (5e-6, 1e-5, 1.5e-5, 2e-5, 3e-5, 5e-5, 7.5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 0.1, 1)
END_TO_END_BOUNDS_S: Final = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1, 2, 5, 10, 30, 60, 120, 300),
)
CONTACT_BOUNDS_S: Final = tuple(3600.0 * hours for hours in (0.25, 1, 2, 4, 8, 12, 24, 36, 48, 72, 96, 168, 336, 720))
STALL_BOUNDS_S: Final = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 5)
COMMIT_BOUNDS_S: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)

SNAPSHOT_MAX_AGE_S: Final = 1.0
MOVES_MAX: Final = 5
"""While partitions move, both boards are counted again so often; what is told then may be of two moments."""


class Metrics:
    """All metrics of a worker. Implements `EngineObserver`."""

    def __init__(
        self,
        registry: CollectorRegistry,
        board: Scoreboard,
        cases: Scoreboard,
        version: str,
        state_dir: Path | None = None,
    ) -> None:
        """`board` has the responses; `cases` the cases, its last window being all that is kept. `state_dir` is on the
        disk whose space is told; None tells of none.
        """
        self._registry = registry
        self._board = board
        self._cases = cases
        self._engine: EngineStatus | None = None
        tell_of_process(registry)

        def labelled(name: str, documentation: str, labels: str, known: Iterable[object]) -> LabelledCounter:
            return LabelledCounter(registry, name, documentation, labels, known)

        self._responses = labelled(
            "nps_responses_total", "Records read from the responses, by what became of them.", "outcome", OUTCOMES
        )
        self._detected = labelled(
            "nps_passive_detected_total", "Events published: a passive customer was found.", "trigger", TRIGGERS
        )
        self._reasons = labelled(
            "nps_passive_detected_reasons_total",
            "Events published: a customer was found who was not passive before, by the answer's score and reason.",
            "score,reason",
            product(PASSIVE_SCORES, (*get_args(ReasonGiven), None)),
        )
        self._changed = labelled(
            "nps_score_changed_total",
            "Events published: a customer changed category, such as from passive to promoter.",
            "change",
            CONFIGURABLE_CHANGES,
        )
        self._converted = labelled(
            "nps_passive_converted_total",
            "Events published: a passive customer became a promoter, by the score before.",
            "score",
            PASSIVE_SCORES,
        )
        self._withdrawn = labelled(
            "nps_passive_withdrawn_total",
            "Events published: an earlier detection no longer holds.",
            "cause",
            WITHDRAWN_CAUSES,
        )
        self._suppressed = labelled(
            "nps_events_suppressed_total", "Events not published, by why.", "cause", SUPPRESSED_CAUSES
        )
        self._dead_letters = labelled(
            "nps_dead_letters_total",
            "Records of both inputs that are no valid ones, by what is wrong.",
            "reason",
            Reason,
        )
        self._commits = labelled(
            "nps_commits_total", "Transactions ended, by how they ended.", "result", COMMIT_RESULTS
        )
        self._misplaced = Counter(
            "nps_misplaced_records_total",
            "Records on another partition than the Java client's partitioner gives their key.",
            registry=registry,
        )
        self._deleted = labelled(
            "nps_deleted_unprocessed_records_total",
            "Records that Kafka deleted before they were processed, by their offsets.",
            "input",
            INPUTS,
        )
        self._overflowed = Counter(
            "nps_segments_overflowed_total",
            "Counts diverted to __other__ because the survey has as many segments as are allowed.",
            registry=registry,
        )
        self._processing = BulkHistogram(
            registry,
            "nps_processing_seconds",
            "Time to decide a record, as the mean of its unit of work.",
            PROCESSING_BOUNDS_S,
        )
        self._end_to_end = BulkHistogram(
            registry, "nps_end_to_end_seconds", "From a record's timestamp to its commit.", END_TO_END_BOUNDS_S
        )
        self._commit = BulkHistogram(
            registry,
            "nps_commit_seconds",
            "From the beginning of a transaction to its commit's acknowledgement.",
            COMMIT_BOUNDS_S,
        )
        self._stalls = BulkHistogram(
            registry,
            "nps_event_loop_stall_seconds",
            "How much too late the event loop woke one that looks every 10 ms.",
            STALL_BOUNDS_S,
        )
        self._holds = BulkHistogram(
            registry,
            "nps_event_loop_hold_seconds",
            "How much of that the process itself was at work; in the rest the machine ran others.",
            STALL_BOUNDS_S,
        )
        self._follow_ups = labelled(
            "nps_follow_ups_total",
            "Records read from the follow-ups, by what became of them.",
            "outcome",
            FOLLOW_UP_OUTCOMES,
        )
        self._overdue = Counter(
            "nps_follow_up_overdue_total", "Events published: nobody was in time.", registry=registry
        )
        self._contact = BulkHistogram(
            registry,
            "nps_follow_up_contact_seconds",
            "From the opening of a case to its first contact.",
            CONTACT_BOUNDS_S,
        )
        self._current = Current(registry, version, self._view(board.snapshot, cases.snapshot), state_dir)

    def attach(self, engine: EngineStatus) -> None:
        """Let scrapes ask this engine for its partitions."""
        self._engine = engine

    # From the engine

    def unit_committed(self, report: UnitReport) -> None:
        """Count a unit of work: 30 µs, and 0.1 µs a record."""
        self._commits.add({"committed": 1})
        self._commit.observe(report.commit_s)
        self._responses.add(report.outcomes)
        self._detected.add(report.detected)
        self._reasons.add(report.found_answers)
        self._changed.add(report.changed)
        self._converted.add(report.converted)
        self._withdrawn.add(report.withdrawn)
        self._suppressed.add(report.suppressed)
        self._dead_letters.add(report.dead_letters)
        self._follow_ups.add(report.follow_up_outcomes)
        if report.overdue:
            self._overdue.inc(report.overdue.total())
        if report.contact_s:
            self._contact.observe_many(report.contact_s)
        self._deleted.add(report.deleted)
        if report.misplaced:
            self._misplaced.inc(report.misplaced)
        if report.overflowed:
            self._overflowed.inc(report.overflowed)
        if report.records:
            self._processing.observe(report.processing_s / report.records, report.records)
        if report.record_times_ms:
            self._end_to_end.observe_many((report.committed_at_ms - np.array(report.record_times_ms)) / 1000)

    def commit_failed(self, partition: int, result: str) -> None:  # noqa: ARG002
        """Count a transaction that was not committed: `aborted` or `fenced`."""
        self._commits.add({result: 1})

    def partition_gone(self, partition: int) -> None:
        """Nothing to do: what has a partition's label is looked up at each scrape."""

    # From the event loop

    def event_loop_stalled(self, late_s: float, own_s: float) -> None:
        """Count a look at the event loop: by how much it was too late, and the part of that which was our own work."""
        self._stalls.observe(late_s)
        self._holds.observe(own_s)

    # For those who scrape

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its content type, as an Accept header prefers."""
        encode, content_type = encoder_for(accept)
        for _ in range(MOVES_MAX):  # a partition that moves between the two would be counted in one of them
            snapshot = await self._board.refresh(SNAPSHOT_MAX_AGE_S)
            cases = await self._cases.refresh(SNAPSHOT_MAX_AGE_S)
            if snapshot.own_partitions == cases.own_partitions:
                break
        self._current.view = self._view(snapshot, cases)
        return await asyncio.to_thread(lambda: with_windows(encode(self._registry), snapshot, cases)), content_type

    def _view(self, snapshot: Snapshot, cases: Snapshot) -> View:
        engine = self._engine
        statuses = engine.partitions() if engine is not None else []
        known = self._board.complete and self._cases.complete
        # As /readyz has it.
        ready = engine is not None and engine.joined and all(status.ready for status in statuses) and known
        return View(self._board.partitions, statuses, ready, self._board.complete, snapshot, cases)
