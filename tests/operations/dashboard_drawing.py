"""Draws a dashboard with matplotlib: its layout, its panels' titles, units and thresholds, and Prometheus' answers."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from PIL import Image

from tests.support.dashboards import Json, PanelQuery, queries
from tests.support.prometheus_server import Series

GRID_COLUMNS = 24
WIDTH_IN, ROW_IN, CAPTION_IN = 16.0, 0.3, 0.45
DPI = 100
COLOURS = 192
"""Of the picture's palette: a third of the bytes, and nobody sees it."""

NAMED = {
    "green": "#3B9A5C",
    "dark-green": "#1F6B3A",
    "yellow": "#D6A21E",
    "orange": "#DD7A1F",
    "red": "#C4473A",
    "dark-red": "#93291F",
    "blue": "#2F6FAF",
    "text": "#444B55",
}
OTHERS = ("#2F6FAF", "#DD7A1F", "#3B9A5C", "#8B5FBF", "#C4473A", "#6E7781")
INK, FAINT, PAPER, PANEL = "#24292F", "#8A929C", "#EEF0F3", "#FFFFFF"

mpl.use("agg")
mpl.rcParams.update(
    {
        "font.family": "DejaVu Sans",
        "font.size": 8.5,
        "text.color": INK,
        "axes.edgecolor": "#C9CED6",
        "axes.labelcolor": FAINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#E6E9ED",
        "xtick.color": FAINT,
        "ytick.color": FAINT,
    }
)


class Answer(NamedTuple):
    """What a query of a panel found; `legend` has its labels not yet in place."""

    legend: str
    series: list[Series]

    def named(self) -> list[tuple[str, Series]]:
        """Each series with the name that Grafana gives it."""
        found = []
        for series in self.series:
            name = self.legend
            for label, value in series.labels.items():
                name = name.replace(f"{{{{{label}}}}}", value)
            found.append((name, series))
        return found


Answers = Mapping[str, Sequence[Answer]]
"""Panel's title → its queries' answers."""


def answers_to(dashboard: Json, ask: Callable[[PanelQuery], list[Series]]) -> Answers:
    """Ask every query of every panel."""
    answers: dict[str, list[Answer]] = {}
    for query in queries(dashboard):
        answers.setdefault(query.panel, []).append(Answer(query.legend, ask(query)))
    return answers


class Look(NamedTuple):
    """How values of a panel, or of one of its columns, are shown."""

    unit: str
    decimals: int | None
    steps: list[Json]

    @classmethod
    def of(cls, panel: Json, name: str | None = None) -> Look:
        """The panel's, with what it overrides for one series."""
        defaults = dict(panel["fieldConfig"]["defaults"])
        for override in panel["fieldConfig"]["overrides"]:
            if override["matcher"]["options"] == name:
                defaults.update({each["id"]: each["value"] for each in override["properties"]})
        return cls(defaults["unit"], defaults.get("decimals"), defaults["thresholds"]["steps"])

    def text(self, value: float) -> str:
        """With its unit."""
        if math.isnan(value):
            return ""
        if self.unit == "percentunit":
            return f"{100 * value:.{self.decimals or 0}f} %"
        decimals = self.decimals if self.decimals is not None else (0 if value == int(value) or abs(value) >= 10 else 1)
        number = (
            f"{value:,.{decimals}f}".replace("-0", "0") if round(value, decimals) == 0 else f"{value:,.{decimals}f}"
        )
        return number.replace("-", "\N{MINUS SIGN}") + _suffix(self.unit)

    def colour(self, value: float) -> str:
        """Of the highest threshold that the value reaches."""
        reached = [step for step in self.steps if step["value"] is None or value >= step["value"]]
        return NAMED[reached[-1]["color"]]


def _from_zero(answers: Answers) -> Answers:
    """The same with instants in seconds since the first."""
    every = [series for of_panel in answers.values() for answer in of_panel for series in answer.series]
    began_s = min(at_s for series in every for at_s, _ in series.samples)
    return {
        title: [
            Answer(
                legend,
                [Series(each.labels, [(at_s - began_s, value) for at_s, value in each.samples]) for each in series],
            )
            for legend, series in of_panel
        ]
        for title, of_panel in answers.items()
    }


def draw(dashboard: Json, answers: Answers, variables: Mapping[str, str], caption: str, output: Path) -> None:
    """Draw all rows and panels where the dashboard has them."""
    answers = _from_zero(answers)
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]) * ROW_IN + CAPTION_IN
    figure = plt.figure(figsize=(WIDTH_IN, height), facecolor=PAPER)
    figure.text(0.008, 1 - 0.26 / height, dashboard["title"], fontsize=13, weight="bold")
    figure.text(0.992, 1 - 0.25 / height, caption, fontsize=8.5, color=FAINT, ha="right")
    for panel in dashboard["panels"]:
        box, title = panel["gridPos"], panel["title"]
        for name, value in variables.items():
            title = title.replace(f"${name}", value)
        left, width = box["x"] / GRID_COLUMNS, box["w"] / GRID_COLUMNS
        top = 1 - (CAPTION_IN + box["y"] * ROW_IN) / height
        tall = box["h"] * ROW_IN / height
        if panel["type"] == "row":
            figure.text(0.008, top - tall * 0.65, title, fontsize=10, color="#57606A", weight="bold")
            continue
        gap = 0.05
        frame = (left + gap / WIDTH_IN, top - tall + gap / height, width - 2 * gap / WIDTH_IN, tall - 2 * gap / height)
        figure.add_artist(Rectangle(frame[:2], *frame[2:], facecolor=PANEL, edgecolor="#D5DAE0", lw=0.8, zorder=-1))
        figure.text(left + 0.14 / WIDTH_IN, top - 0.24 / height, title, fontsize=9, weight="bold")
        inner = [left + 0.14 / WIDTH_IN, top - tall + 0.14 / height, width - 0.28 / WIDTH_IN, tall - 0.5 / height]
        KINDS[panel["type"]](figure, inner, panel, answers[panel["title"]])
    picture = io.BytesIO()
    figure.savefig(picture, dpi=DPI, facecolor=PAPER)
    plt.close(figure)
    few_colours = Image.open(picture).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few_colours.save(output, optimize=True)


def _axes(
    figure: Figure,
    box: list[float],
    left_in: float = 0.0,
    bottom_in: float = 0.0,
    top_in: float = 0.0,
    right_in: float = 0.0,
) -> Axes:
    """Axes within a panel, with room for labels, in inches."""
    height = figure.get_figheight()
    return figure.add_axes(
        (
            box[0] + left_in / WIDTH_IN,
            box[1] + bottom_in / height,
            box[2] - (left_in + right_in) / WIDTH_IN,
            box[3] - (bottom_in + top_in) / height,
        )
    )


def _bare(axes: Axes) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _all_named(answers: Iterable[Answer]) -> list[tuple[str, Series]]:
    return [each for answer in answers for each in answer.named()]


def _numbers(figure: Figure, box: list[float], panel: Json, answers: Sequence[Answer]) -> None:
    axes, look, named = _axes(figure, box), Look.of(panel), sorted(_all_named(answers), key=lambda each: each[0])
    _bare(axes)
    for place, (name, series) in enumerate(named):
        middle = (place + 0.5) / len(named)
        colour = look.colour(series.value)
        several = len(named) > 1
        axes.text(
            middle, 0.6, look.text(series.value), fontsize=22, color=colour, ha="center", va="center", weight="bold"
        )
        if several:
            axes.text(middle, 0.15, name, fontsize=8.5, color=FAINT, ha="center", va="center")


def _bars(figure: Figure, box: list[float], panel: Json, answers: Sequence[Answer]) -> None:
    axes, look, named = _axes(figure, box, left_in=0.6), Look.of(panel), sorted(_all_named(answers), reverse=True)
    for place, (_, series) in enumerate(named):
        axes.barh(place, series.value, color=look.colour(series.value), height=0.55)
        axes.text(series.value, place, f"  {look.text(series.value)}", va="center", fontsize=11, weight="bold")
    axes.set_yticks(range(len(named)), [name for name, _ in named])
    axes.set_xlim(0, 1.35 * max((series.value for _, series in named), default=1) or 1)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _curves(figure: Figure, box: list[float], panel: Json, answers: Sequence[Answer]) -> None:
    axes, look = _axes(figure, box, left_in=0.48, bottom_in=0.2, top_in=0.22, right_in=0.12), Look.of(panel)
    named = [(name, series) for name, series in _all_named(answers) if series.samples]
    curves = {
        name: ([at_s for at_s, _ in series.samples], [value for _, value in series.samples]) for name, series in named
    }
    fixed = _fixed_colours(panel)
    colours = {name: fixed.get(name, OTHERS[place % len(OTHERS)]) for place, name in enumerate(curves)}
    stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    if stacked:
        instants = sorted({at_s for times, _ in curves.values() for at_s in times})
        values = []
        for times, seen in curves.values():
            at = dict(zip(times, seen, strict=True))
            values.append([at.get(at_s, 0.0) for at_s in instants])
        axes.stackplot(instants, values, labels=list(curves), colors=[colours[name] for name in curves], alpha=0.85)
    else:
        band = {name: curves[name] for name in ("from", "to") if name in curves}
        if len(band) == 2:
            axes.fill_between(band["from"][0], band["from"][1], band["to"][1], color=colours["from"], alpha=0.25, lw=0)
        for name, (times, values_) in curves.items():
            if name not in band:
                axes.plot(times, values_, color=colours[name], lw=1.8, label=name)
    low, high = axes.get_ylim() if stacked else _limits([value for _, seen in curves.values() for value in seen])
    lowest, highest = (panel["fieldConfig"]["defaults"].get(name) for name in ("min", "max"))
    low, high = (low if lowest is None else lowest), (high if highest is None else highest)
    if panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "dashed":
        for step in look.steps[1:]:
            if low < step["value"] < high:
                axes.axhline(step["value"], color=NAMED[step["color"]], lw=1, ls=(0, (5, 4)))
    axes.set_ylim(low, high)
    axes.set_xlim(0, max(times[-1] for times, _ in curves.values()) or 1)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(look.unit, value)))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
    axes.xaxis.set_major_locator(MultipleLocator(30))
    axes.tick_params(length=0)
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        legend = {"loc": "lower left", "bbox_to_anchor": (-0.02, 0.985), "frameon": False, "fontsize": 7.5}
        axes.legend(
            handles, labels, ncols=len(labels), columnspacing=1.0, handlelength=1.0, handletextpad=0.4, **legend
        )


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Of the y axis, without the few extremes that the first responses make."""
    low, high = np.nanpercentile(values, (4, 96))
    return low - 0.2 * (high - low or 1), high + 0.2 * (high - low or 1)


def _tick(unit: str, value: float) -> str:
    """A short label of an axis."""
    if unit == "percentunit":
        return f"{100 * value:.0f} %"
    number = f"{value / 1000:g}k" if abs(value) >= 1_000 else f"{value:g}"
    return number.replace("-", "\N{MINUS SIGN}") + _suffix(unit)


def _suffix(unit: str) -> str:
    return "" if unit in ("none", "short") else unit.removeprefix("suffix:")


def _fixed_colours(panel: Json) -> dict[str, str]:
    return {
        override["matcher"]["options"]: each["value"]["fixedColor"]
        for override in panel["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "color"
    }


def _stacked_bars(figure: Figure, box: list[float], panel: Json, answers: Sequence[Answer]) -> None:
    axes = _axes(figure, box, left_in=1.25, bottom_in=0.15, top_in=0.22)
    row, column = panel["options"]["xField"].split("\\")
    cells = {(each.labels[row], each.labels[column]): each.value for each in answers[0].series}
    rows = sorted({name for name, _ in cells}, key=lambda name: sum(v for (of, _), v in cells.items() if of == name))
    left = dict.fromkeys(rows, 0.0)
    for name in sorted({part for _, part in cells}):
        widths = [cells.get((of, name), 0.0) for of in rows]
        axes.barh(rows, widths, left=list(left.values()), color=_fixed_colours(panel)[name], label=name, height=0.65)
        left = {of: start + width for (of, start), width in zip(left.items(), widths, strict=True)}
    axes.grid(visible=False, axis="y")
    axes.tick_params(length=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.985), ncols=2, frameon=False, fontsize=7.5, handlelength=1.0)


def _table(figure: Figure, box: list[float], panel: Json, answers: Sequence[Answer]) -> None:
    transformations = {each["id"]: each["options"] for each in panel["transformations"]}
    if "groupingToMatrix" in transformations:
        _matrix(figure, box, panel, answers[0], transformations)
    else:
        order = transformations["organize"]["indexByName"]
        _columns(figure, box, panel, answers, key=min(order, key=order.__getitem__))


def _matrix(figure: Figure, box: list[float], panel: Json, answer: Answer, transformations: Json) -> None:
    axes, look = _axes(figure, box), Look.of(panel)
    row, column = (transformations["groupingToMatrix"][name] for name in ("rowField", "columnField"))
    order = transformations["organize"]["indexByName"]
    cells = {(each.labels[row], each.labels[column]): each.value for each in answer.series}
    rows = sorted({name for name, _ in cells})
    columns = sorted({name for _, name in cells}, key=lambda name: order.get(name, math.inf))
    _bare(axes)
    tall, first = 1 / (len(rows) + 1), 0.3
    wide = (1 - first) / len(columns)
    for place, name in enumerate(columns):
        axes.text(
            first + (place + 0.5) * wide, 1 - tall / 2, name, ha="center", va="center", color=FAINT, weight="bold"
        )
    for line, of in enumerate(rows, start=1):
        axes.text(0, 1 - (line + 0.5) * tall, of, va="center")
        for place, name in enumerate(columns):
            if (of, name) in cells:
                value = cells[of, name]
                corner = (first + place * wide, 1 - (line + 1) * tall)
                axes.add_patch(Rectangle(corner, wide * 0.98, tall * 0.94, color=look.colour(value), lw=0))
                centre = (corner[0] + wide / 2, corner[1] + tall / 2)
                axes.text(*centre, look.text(value), ha="center", va="center", color="white", weight="bold")


def _columns(figure: Figure, box: list[float], panel: Json, answers: Sequence[Answer], key: str) -> None:
    axes = _axes(figure, box)
    table: dict[str, dict[str, float]] = {}
    for answer in answers:
        for series in answer.series:
            table.setdefault(series.labels[key], {})[answer.legend] = series.value
    by = panel["options"]["sortBy"][0]["displayName"]
    names = [answer.legend for answer in answers]
    _bare(axes)
    tall, first = 1 / (len(table) + 1), 0.27
    wide = (1 - first) / len(names)
    coloured = {
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "custom.cellOptions"
    }
    for place, name in enumerate(names, start=1):
        axes.text(first + place * wide, 1 - tall / 2, name, ha="right", va="center", color=FAINT, weight="bold")
    for line, (of, values) in enumerate(sorted(table.items(), key=lambda each: -each[1][by]), start=1):
        middle = 1 - (line + 0.5) * tall
        axes.plot([0, 1], [middle + tall / 2] * 2, color="#E6E9ED", lw=0.8)
        axes.text(0, middle, of, va="center")
        for place, name in enumerate(names, start=1):
            if name in values:
                look = Look.of(panel, name)
                colour = look.colour(values[name]) if name in coloured else INK
                weight = "bold" if name in coloured else "normal"
                axes.text(
                    first + place * wide,
                    middle,
                    look.text(values[name]),
                    ha="right",
                    va="center",
                    color=colour,
                    weight=weight,
                )


Drawer = Callable[[Figure, list[float], Any, Sequence[Answer]], None]
KINDS: dict[str, Drawer] = {
    "stat": _numbers,
    "bargauge": _bars,
    "timeseries": _curves,
    "barchart": _stacked_bars,
    "table": _table,
}
