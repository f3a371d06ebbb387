"""What can be seen of a running processor from outside: its scores and metrics, and the events on their topics."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from schemas.events import PASSIVE_DETECTED, SCORE_CHANGED
from schemas.topics import Topics
from streams.cli import kafka
from streams.settings import Settings

ScoreKey = tuple[str, str, str]
"""Survey, segment, window."""

COUNTERS = {
    "nps_responses_total": "outcome",
    "nps_passive_detected_total": "trigger",
    "nps_score_changed_total": "change",
    "nps_passive_withdrawn_total": "cause",
    "nps_events_suppressed_total": "cause",
    "nps_dead_letters_total": "reason",
    "nps_follow_ups_total": "outcome",
}
"""The counters that are shown, each with its label."""

RECENT = 4
TIMEOUT_S = 5.0
MAX_RECORDS = 500


@dataclass
class Observed:
    """The processor as it was last seen."""

    scores: dict[ScoreKey, dict[str, Any]] = field(default_factory=dict)
    counters: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in COUNTERS})
    """By metric, then by label value."""
    overdue: int = 0
    """Events announced: nobody was in time."""
    conversions: list[dict[str, Any]] = field(default_factory=list)
    """Of the longest window, by action; all surveys."""
    lag_records: int = 0
    per_second: float = 0.0
    """Records processed between the last two looks."""
    events: Counter[str] = field(default_factory=Counter)
    """Read from the topics, by type."""
    event_ids: set[str] = field(default_factory=set)
    detected: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=RECENT))
    """Data of the newest, oldest first."""
    changed: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=RECENT))
    converted_from: Counter[int] = field(default_factory=Counter)
    """Conversions by the score before."""

    @property
    def processed(self) -> int:
        """Records with an outcome that is committed."""
        return self.counters["nps_responses_total"].total()

    @property
    def followed_up(self) -> int:
        """Follow-ups with an outcome that is committed."""
        return self.counters["nps_follow_ups_total"].total()

    def counted(self, window: str) -> int:
        """Responses in this window, all surveys together."""
        rows = self.scores.items()
        return sum(row["responses"] for (_, segment, name), row in rows if (segment, name) == ("all", window))


class Observer:
    """Keeps an `Observed` up to date."""

    def __init__(self, url: str) -> None:
        self.seen = Observed()
        self.on_event: list[Callable[[str, dict[str, Any]], None]] = []
        """Told of each event that is read: its type and data."""
        self._url = url
        self._looked_at = time.monotonic()

    async def look(self) -> bool:
        """Ask the worker for its scores and metrics; tells whether it answered both."""
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
                async with session.get(f"{self._url}/metrics", headers={"Accept": "text/plain"}) as response:
                    response.raise_for_status()
                    metrics = await response.text()
                async with session.get(f"{self._url}/v1/scores") as response:
                    response.raise_for_status()
                    scores = await response.json()
                query = {"segment": "all", "window": "90d", "by": "action"}
                async with session.get(f"{self._url}/v1/conversions", params=query) as response:
                    response.raise_for_status()
                    conversions = await response.json()
        except (aiohttp.ClientError, TimeoutError):
            return False
        self._read_metrics(metrics)
        self.seen.conversions = conversions["conversions"]
        self.seen.scores = {(row["survey_id"], row["segment"], row["window"]): row for row in scores["scores"]}
        return True

    def _read_metrics(self, text: str) -> None:
        counters: dict[str, Counter[str]] = {name: Counter() for name in COUNTERS}
        lag = 0.0
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in COUNTERS:
                    counters[sample.name][sample.labels[COUNTERS[sample.name]]] += int(sample.value)
                elif sample.name == "nps_follow_up_overdue_total":
                    self.seen.overdue = int(sample.value)
                elif sample.name == "nps_consumer_lag_records":
                    lag += sample.value
        before, now = self.seen.processed, time.monotonic()
        self.seen.counters = counters
        self.seen.lag_records = int(lag)
        self.seen.per_second = (self.seen.processed - before) / (now - self._looked_at)
        self._looked_at = now

    async def follow_events(self, settings: Settings) -> None:
        """Read the event topics from their beginning as a CRM does, until cancelled."""
        topics = Topics(settings.topic_prefix)
        partitions = await kafka.partitions_of(settings, topics.events)
        async with kafka.connected(settings, kafka.consumer(settings)) as client:
            client.assign(partitions)
            for partition in partitions:
                client.seek(partition, 0)
            while True:
                for records in (await client.getmany(timeout_ms=kafka.POLL_MS, max_records=MAX_RECORDS)).values():
                    for record in records:
                        self._read_event(record)
                    await asyncio.sleep(0)

    def _read_event(self, record: Any) -> None:
        event_type = kafka.header(record, "ce_type") or ""
        self.seen.events[event_type] += 1
        self.seen.event_ids.add(kafka.header(record, "ce_id") or "")
        data = json.loads(record.value)
        for told in self.on_event:
            told(event_type, data)
        if event_type == PASSIVE_DETECTED:
            self.seen.detected.append(data)
        elif event_type == SCORE_CHANGED:
            self.seen.changed.append(data)
            self.seen.converted_from[data["previous_score"]] += 1
