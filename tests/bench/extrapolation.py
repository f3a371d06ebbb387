"""The table of docs/scaling.md: what more load needs, by arithmetic from measured figures.

`python -m tests.bench.extrapolation` prints it. What was measured is read from docs/performance, the rest
is named here.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).parents[2] / "docs/performance"
US = 1e-6

COMMIT_CPU_US = 3_000
"""Of a partition's commit, whatever is in it (decision 75)."""
RESPONSE_BYTES, EVENT_BYTES = 332, 370
"""In the log, a response: itself, and its share of the events (docs/operations.md#sizing)."""
RESPONSE_DAYS, EVENT_DAYS = 400, 30
STATE_BYTES = 370
"""Of a journey on disk."""
COMPACTION = 1.25
"""Records of a changelog over those that are alive."""
EVENTS_A_RESPONSE = 0.41
BUSY = 0.6
"""Share of its core that a worker may be busy with at peak."""
ROWS_AT_MOST = 2 * (1 + 12 + 10 + 3) * 2
"""Rows of counts that a commit can change: two surveys, all and three segments, two days."""
SEGMENTS_A_RESPONSE = 4
RESPONSES_A_YEAR = 2.56
"""Of a customer, as `tests.bench.skew` draws them."""
PARTITION_RATE = 25_000
"""Responses/s that one partition can take: a whole worker."""


@dataclass(frozen=True)
class Scale:
    """A load, and what is chosen for it."""

    times: int
    partitions: int
    commit_s: float

    @property
    def peak(self) -> float:
        """Responses/s at the busiest time."""
        return 1_000.0 * self.times

    @property
    def journeys(self) -> float:
        return 1e7 * self.times


SCALES = (Scale(1, 12, 0.1), Scale(10, 12, 0.1), Scale(100, 48, 0.1), Scale(100, 48, 1), Scale(1000, 192, 1))


def measured(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIGURES / f"{name}.json").read_text("utf-8"))
    return found


class Need:
    """What a scale needs."""

    def __init__(self, scale: Scale) -> None:
        cpu, restore = measured("cpu"), measured("restore")
        self.scale = scale
        peak, partitions = scale.peak, scale.partitions
        self.deciding = peak * max(run["cpu_us"] for run in cpu["spread"]) * US
        """Cores, of all workers."""
        commits = partitions * min(1 / scale.commit_s, peak / partitions)
        self.committing = commits * COMMIT_CPU_US * US
        rows = min(SEGMENTS_A_RESPONSE * peak / commits, ROWS_AT_MOST)
        self.following = commits * rows * max(restore["cpu_us"]) * US
        """Cores, of each worker: it takes in the counts of all partitions."""
        left = BUSY - self.following
        self.workers = max(3, math.ceil((self.deciding + self.committing) / left) + 1)
        self.fullest = peak / partitions * measured("skew")["partitions"][str(partitions)]["heavy"]
        self.state_gb = scale.journeys * STATE_BYTES / self.workers / 1e9
        self.restore_s = scale.journeys * COMPACTION / self.workers / min(restore["records_per_s"])
        self.mean = scale.journeys * RESPONSES_A_YEAR / (365 * 86_400)
        daily = self.mean * 86_400
        self.log_gb = daily * (RESPONSE_BYTES * RESPONSE_DAYS + EVENT_BYTES * EVENT_DAYS) / 1e9
        self.log_gb += 2 * scale.journeys * STATE_BYTES / 1e9
        changelogs = max(run["changelog_bytes"] for run in cpu["spread"])
        self.written_mb = peak * (RESPONSE_BYTES + EVENT_BYTES + changelogs) / 1e6
        self.broker = peak * max(run["broker_cpu_us"] for shape in ("live", "spread") for run in cpu[shape]) * US


def table() -> str:
    """Markdown."""
    needs = [Need(scale) for scale in SCALES]
    rows = {
        "customers (million) · responses/s, mean": [f"{n.scale.journeys / 1e6:,.0f} · {n.mean:,.1f}" for n in needs],
        "responses/s at peak": [f"{n.scale.peak:,.0f}" for n in needs],
        "partitions · commit interval": [f"{n.scale.partitions} · {n.scale.commit_s:g} s" for n in needs],
        "cores to decide · to commit": [f"{n.deciding:.2f} · {n.committing:.2f}" for n in needs],
        "of each worker's core, to follow the others' counts": [f"{n.following:.2f}" for n in needs],
        "workers, one to spare": [f"{n.workers}" for n in needs],
        "fullest partition, responses/s": [f"{n.fullest:,.0f}" for n in needs],
        "state a worker": [f"{n.state_gb:,.1f} GB" for n in needs],
        "restore of a worker from an empty disk": [f"{n.restore_s / 60:,.1f} min" for n in needs],
        "Kafka's disk, one copy": [f"{n.log_gb:,.0f} GB" for n in needs],
        "written to Kafka at peak, one copy": [f"{n.written_mb:,.0f} MB/s" for n in needs],
        "brokers' cores at peak": [f"{n.broker:.1f}" for n in needs],
        "events/s at peak": [f"{EVENTS_A_RESPONSE * n.scale.peak:,.0f}" for n in needs],
    }
    head = ["", *("today" if scale.times == 1 else f"{scale.times:,} times" for scale in SCALES)]
    lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * len(SCALES)}"]
    return "\n".join(lines + [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()])


def skew_table() -> str:
    """Markdown, of what `tests.bench.skew` found."""
    lines = [
        "| partitions | by customer, who answer once | by customer, heavy tail | by segment |",
        "|--:|--:|--:|--:|",
    ]
    for partitions, row in measured("skew")["partitions"].items():
        lines.append(f"| {partitions} | {row['even']:.3f} | {row['heavy']:.3f} | {row['by segment']:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
    print()
    print(skew_table())
