"""What counters and histograms did, in PromQL: per second, in the time range on display, quantiles."""

from __future__ import annotations

from deploy.grafana.panels import Query


def rate(metric: str, selector: str, by: str) -> str:
    """Per second, summed over everything else."""
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def per_hour(metric: str, selector: str, by: str) -> str:
    """The same per hour, of what is rare."""
    return f"3600 * {rate(metric, selector, by)}"


def increase(metric: str, selector: str, by: str) -> str:
    """How much it grew in the time range, summed over everything else."""
    return f"sum by ({by}) (increase({metric}{{{selector}}}[$__range]))"


def quantiles(histogram: str, selector: str, *shares: float, by: str | None = None) -> list[Query]:
    """What so large a share (0 to 1) of the measured times did not exceed; `by` is a label that is told apart."""
    buckets = rate(f"{histogram}_bucket", selector, "le" if by is None else f"{by}, le")
    whose = "" if by is None else f" of {{{{{by}}}}}"
    return [Query(f"histogram_quantile({share}, {buckets})", f"p{100 * share:g}{whose}") for share in shares]
