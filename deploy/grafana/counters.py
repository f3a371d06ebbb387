"""What counters and histograms did, in PromQL: per second, in the time range on display, quantiles."""

from __future__ import annotations


def rate(metric: str, selector: str, by: str) -> str:
    """Per second, summed over everything else."""
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def per_hour(metric: str, selector: str, by: str) -> str:
    """The same per hour, of what is rare."""
    return f"3600 * {rate(metric, selector, by)}"


def increase(metric: str, selector: str, by: str) -> str:
    """How much it grew in the time range, summed over everything else."""
    return f"sum by ({by}) (increase({metric}{{{selector}}}[$__range]))"


def quantile(of: float, histogram: str, selector: str, by: str = "le") -> str:
    """What a share of the measured times (0 to 1) did not exceed; `by` has `le`, and what is told apart."""
    return f"histogram_quantile({of}, {rate(f'{histogram}_bucket', selector, by)})"
