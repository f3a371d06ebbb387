"""How unevenly partitions are loaded, by simulation: murmur2 of customers' ids, as every publisher places them.

Three ways to share the same responses out over P partitions, each as the load of the fullest one over the mean:

* `even`: by customer, who answer once each: what murmur2 alone leaves.
* `heavy`: by customer, who answer as people and their machines do: most once or twice in a year, a few, who are a till
  or an integration that answers under one id, thousands of times (Pareto with shape 1.5, cut at 10,000).
* `by segment`: as it would be if counts were sent to a partition of their segment, in place of staying where the
  customer is. Each response is counted in `all` and three segments, and `all` is one key.

`python -m tests.bench.skew --json docs/performance/skew.json`. The load is counted in responses; the same seed has the
same figures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.engine.placement import partitions_of
from tests.bench.workload import COUNTRIES

PARTITIONS = (12, 24, 48, 96, 192, 384, 768, 1024)
PARETO_SHAPE = 1.5
MOST_RESPONSES = 10_000
SEGMENT_VALUES = (len(COUNTRIES), 10, 3)
"""Of the three segments of the benchmarks' responses: country, industry, plan."""

Loads = npt.NDArray[np.float64]


def responses_of(customers: int, random: np.random.Generator) -> Loads:
    """How often each customer answers in a year."""
    return np.minimum(np.floor(random.pareto(PARETO_SHAPE, customers)) + 1, MOST_RESPONSES)


def fullest(places: list[int], weights: Loads, partitions: int) -> float:
    """The load of the fullest partition over the mean."""
    loads = np.bincount(places, weights, partitions)
    return float(loads.max() / loads.mean())


def segments() -> tuple[list[bytes], Loads]:
    """Keys of counts and how many of 1,000 counts, in four segments for each response, go to each."""
    keys, weights = [b"all"], [1.0]
    for number, values in enumerate(SEGMENT_VALUES):
        keys += [b"segment%d=value%d" % (number, value) for value in range(values)]
        weights += [1 / values] * values
    return keys, np.array(weights) * 250


def simulate(customers: int, seed: int) -> dict[str, Any]:
    """Return the figures for each number of partitions."""
    random = np.random.default_rng(seed)
    ids = [b"c-%07d" % number for number in range(customers)]
    answered = responses_of(customers, random)
    keys, weights = segments()
    rows = {}
    for partitions in PARTITIONS:
        placed = partitions_of(ids, partitions)
        rows[str(partitions)] = {
            "even": round(fullest(placed, np.ones(customers), partitions), 3),
            "heavy": round(fullest(placed, answered, partitions), 3),
            "by segment": round(fullest(partitions_of(keys, partitions), weights, partitions), 3),
        }
    return {
        "benchmark": "skew",
        "seed": seed,
        "customers": customers,
        "responses": int(answered.sum()),
        "largest_customer_share": round(float(answered.max() / answered.sum()), 6),
        "partitions": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    found = simulate(options.customers, options.seed)
    print(
        f"{found['customers']:,} customers, {found['responses']:,} responses, the busiest customer"
        f" {100 * found['largest_customer_share']:.3f} % of them; load of the fullest partition over the mean:\n"
    )
    print("partitions  by customer, even  by customer, heavy  by segment")
    for partitions, row in found["partitions"].items():
        print(f"{partitions:>10}  {row['even']:>17.3f}  {row['heavy']:>18.3f}  {row['by segment']:>10.2f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
