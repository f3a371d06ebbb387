"""Draws docs/performance/*.svg from the JSON that the benchmarks wrote: `python -m tests.bench.plots`."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

DIRECTORY = Path("docs/performance")
mpl.use("svg")
mpl.rcParams.update({"svg.hashsalt": "nps", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def _read(name: str) -> dict[str, Any] | None:
    path = DIRECTORY / f"{name}.json"
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return found


def _save(name: str) -> None:
    plt.tight_layout()
    plt.savefig(DIRECTORY / f"{name}.svg", metadata={"Date": None})
    plt.close()


def stages(found: dict[str, Any]) -> None:
    """Stacked: where a response's CPU goes."""
    shapes = [shape for shape in ("live", "spread") if shape in found["us"]]
    names = [name for name in found["us"][shapes[0]] if not name.startswith("(")]
    plt.figure(figsize=(7, 2.2))
    left = [0.0] * len(shapes)
    for name in names:
        widths = [found["us"][shape][name] for shape in shapes]
        plt.barh(shapes, widths, left=left, label=name)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    plt.xlabel("µs of CPU a response")
    plt.legend(ncols=5, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    _save("stages")


def latency(found: dict[str, Any]) -> None:
    """Percentiles by rate."""
    rates = list(found["rates"])
    plt.figure(figsize=(5, 2.4))
    for name, marker in (("p50_ms", "o"), ("p95_ms", "s"), ("p99_ms", "^")):
        values = [found["rates"][rate][name] for rate in rates]
        plt.plot([f"{int(rate):,}" for rate in rates], values, marker=marker, label=name[:3])
    plt.ylim(bottom=0)
    plt.xlabel("responses a second")
    plt.ylabel("ms, record time to subscriber")
    plt.legend()
    _save("latency")


def scale(found: dict[str, Any]) -> None:
    """CPU a response against the first of each block."""
    blocks = [block for block in ("customers", "segments", "partitions", "workers") if block in found]
    _, axes = plt.subplots(1, len(blocks), figsize=(2.2 * len(blocks), 2.2), sharey=True, squeeze=False)
    for axis, block in zip(axes[0], blocks, strict=True):
        costs = {name: statistics.median(run["cpu_us"] for run in runs) for name, runs in found[block].items()}
        first = next(iter(costs.values()))
        axis.bar([name.split()[0] for name in costs], [cost / first for cost in costs.values()])
        axis.set_xlabel(block)
    axes[0][0].set_ylabel("CPU a response, the first = 1")
    _save("scale")


def peers(found: dict[str, Any]) -> None:
    """Responses per CPU second, by peer and shape."""
    shapes = [shape for shape in ("live", "spread") if shape in found]
    _, axes = plt.subplots(1, len(shapes), figsize=(3.6 * len(shapes), 2.4), squeeze=False)
    for axis, shape in zip(axes[0], shapes, strict=True):
        costs_us = {name: statistics.median(run["cpu_us"] for run in runs) for name, runs in found[shape].items()}
        axis.barh(list(costs_us)[::-1], [1e6 / cost for cost in costs_us.values()][::-1])
        axis.set_xlabel(f"responses per CPU second, {shape}")
    _save("peers")


def main() -> None:
    for draw in (stages, latency, scale, peers):
        if (found := _read(draw.__name__)) is not None:
            draw(found)


if __name__ == "__main__":
    main()
