"""The alert NpsScoreDropped is no noise alarm: how often it would fire in years of a programme that does not change."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WEEK = 168
YEAR = 52 * WEEK
SHARES = (0.2, 0.4, 0.4)
"""Detractors, passives, promoters: an NPS of 20."""


def thresholds() -> dict[str, int]:
    """Of the alert as it is deployed: z and change in points below which, responses of each week, hours of `for` and of
    `keep_firing_for`.
    """
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules/alerts.yml").read_text())
    (rule,) = [rule for group in rules["groups"] for rule in group["rules"] if rule.get("alert") == "NpsScoreDropped"]
    change, z = re.findall(r"< (-\d+)", rule["expr"])
    (responses,) = set(re.findall(r">= (\d+)", rule["expr"]))
    return {
        "change_below": int(change),
        "z_below": int(z),
        "responses": int(responses),
        "held": int(rule["for"][:-1]),
        "kept": int(rule["keep_firing_for"][:-1]),
    }


def alarms(
    weekly: float,
    hours: int,
    seed: int,
    *,
    z_below: float,
    change_below: float,
    responses: int,
    held: int,
    kept: int,
    drop: float = 0,
) -> np.ndarray:
    """Hours at which the alert begins to fire, evaluated each hour. From half the time on the NPS is `drop` lower."""
    dice = np.random.default_rng(seed)
    shares = np.tile(SHARES, (hours, 1))
    shares[hours // 2 :] += (drop / 200, 0, -drop / 200)
    arriving = dice.poisson(weekly / WEEK, hours)
    counts = np.cumsum([(0, 0, 0), *dice.multinomial(arriving, shares)], axis=0)
    windows = counts[WEEK:] - counts[:-WEEK]
    n, score = windows.sum(axis=1), windows[:, 2] - windows[:, 0]
    m = n + 3
    mean_square = ((windows[:, 0] + windows[:, 2] + 1.5) / m - (score / m) ** 2) / m
    with np.errstate(invalid="ignore", divide="ignore"):
        nps = 100 * score / n
        difference = nps[WEEK:] - nps[:-WEEK]
        z = difference / (100 * np.sqrt(mean_square[WEEK:] + mean_square[:-WEEK]))
    found = (z < z_below) & (difference < change_below) & (n[WEEK:] >= responses) & (n[:-WEEK] >= responses)
    long_enough = np.convolve(found, np.ones(held + 1, dtype=int))[: len(found)] == held + 1
    firing = np.convolve(long_enough, np.ones(kept + 1, dtype=int))[: len(found)] > 0
    return np.flatnonzero(np.diff(firing.astype(int), prepend=0) == 1) + 2 * WEEK


@pytest.mark.parametrize("weekly", [150, 1_000, 20_000])
def test_a_programme_that_does_not_change_fires_less_than_once_in_ten_years(weekly: int) -> None:
    years, seed = 100, 20_261_126
    per_year = {}
    for name, rule in (("deployed", thresholds()), ("z < -3", {**thresholds(), "z_below": -3, "change_below": 0})):
        per_year[name] = len(alarms(weekly, years * YEAR, seed, **rule)) / years
    print(f"{weekly} responses a week: {per_year} alarms a year, seed {seed}")
    assert per_year["deployed"] < 0.1
    assert per_year["z < -3"] > 0.5, "or this simulation would find no noise at all"


@pytest.mark.parametrize(("weekly", "drop"), [(150, 60), (1_000, 25), (20_000, 5)])
def test_a_drop_that_matters_is_told_within_a_week(weekly: int, drop: int) -> None:
    told = 0
    for seed in range(50):
        found = alarms(weekly, 8 * WEEK, seed, **thresholds(), drop=drop)
        told += any(4 * WEEK <= hour <= 5 * WEEK for hour in found)
    print(f"{weekly} responses a week, {drop} points lower: told in {told} of 50")
    assert told >= 45
