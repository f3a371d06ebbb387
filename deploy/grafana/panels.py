"""Kinds of panels, each with all that a reader of it needs: title, description, unit, thresholds, words for no data.

Sizes are in Grafana's grid: 24 columns, rows of 30 pixels. Panels stand in the order in which they are added, a line of
them is as high as its highest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, NotRequired, TypeAlias, TypedDict, TypeVar, Unpack

from grafana_foundation_sdk.builders import barchart, bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

TAG: Final = "nps"

GREEN: Final = "green"
YELLOW: Final = "yellow"
ORANGE: Final = "orange"
RED: Final = "red"
BLUE: Final = "blue"


Steps: TypeAlias = Sequence[tuple[float | None, str]]
"""Thresholds: (from this value on, colour), ascending; the first from None, which is below everything."""

NONE_IS_WRONG_STEPS: Final[Steps] = ((None, RED), (1, GREEN))
ANY_IS_WRONG_STEPS: Final[Steps] = ((None, GREEN), (1, RED))
RARE_STEPS: Final[Steps] = ((None, GREEN), (1 / 3600, ORANGE))
"""Of what should not happen, per second: from 1 an hour."""
SOME_STEPS: Final[Steps] = ((None, "text"), (1, GREEN))
ARRIVING_STEPS: Final[Steps] = ((None, "text"), (1 / 60, GREEN))
"""Per second: from 1 a minute."""


class Query(NamedTuple):
    """PromQL, and what its series are called (`{{label}}` is replaced)."""

    promql: str
    legend: str


class About(TypedDict):
    """What every panel has."""

    title: str
    description: str
    unit: str
    """Grafana's name of it: `s`, `bytes`, `percentunit` (0 to 1), `none`, `suffix: …`."""
    steps: Steps
    no_value: str
    """Shown where there is no data."""
    width: int
    height: int
    decimals: NotRequired[int]


AnyPanel: TypeAlias = Builder[models.Panel]
Panel = TypeVar("Panel", stat.Panel, timeseries.Panel, bargauge.Panel, barchart.Panel, table.Panel)


def _about(panel: Panel, about: About) -> Panel:
    panel.title(about["title"]).description(about["description"]).datasource(DATASOURCE)
    panel.span(about["width"]).height(about["height"]).unit(about["unit"]).no_value(about["no_value"])
    steps = [models.Threshold(value, colour) for value, colour in about["steps"]]
    panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    if "decimals" in about:
        panel.decimals(about["decimals"])
    return panel


def _coloured_by(mode: models.FieldColorModeId) -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(mode)


def _query(place: int, query: Query) -> prometheus.Dataquery:
    asked = prometheus.Dataquery().ref_id(chr(ord("A") + place)).expr(query.promql).legend_format(query.legend)
    return asked.datasource(DATASOURCE)


def number(*queries: Query, **about: Unpack[About]) -> stat.Panel:
    """One figure for each series, as it is now."""
    panel = _about(stat.Panel(), about).color_scheme(_coloured_by(models.FieldColorModeId.THRESHOLDS))
    for place, query in enumerate(queries):
        panel.with_target(_query(place, query).instant())
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.graph_mode(common_models.BigValueGraphMode.NONE).color_mode(common_models.BigValueColorMode.VALUE)
    return panel.text_mode(common_models.BigValueTextMode.AUTO).orientation(common_models.VizOrientation.AUTO)


def gauges(*queries: Query, **about: Unpack[About]) -> bargauge.Panel:
    """One horizontal bar for each series, as it is now."""
    panel = _about(bargauge.Panel(), about).color_scheme(_coloured_by(models.FieldColorModeId.THRESHOLDS))
    for place, query in enumerate(queries):
        panel.with_target(_query(place, query).instant())
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.display_mode(common_models.BarGaugeDisplayMode.BASIC).value_mode(common_models.BarGaugeValueMode.TEXT)
    return panel.orientation(common_models.VizOrientation.HORIZONTAL)


def lines(
    *queries: Query,
    stacked: common_models.StackingMode = common_models.StackingMode.NONE,
    limits: bool = False,
    colours: Mapping[str, str] | None = None,
    **about: Unpack[About],
) -> timeseries.Panel:
    """Curves over time; `limits` draws the thresholds as dashed lines, `colours` are those of series by name."""
    panel = _about(timeseries.Panel(), about).color_scheme(
        _coloured_by(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME)
    )
    for place, query in enumerate(queries):
        panel.with_target(_query(place, query).range())
    filled = stacked is not common_models.StackingMode.NONE
    panel.stacking(common.StackingConfig().mode(stacked).group("A")).fill_opacity(60 if filled else 8).line_width(1)
    panel.show_points(common_models.VisibilityMode.NEVER)
    style = common_models.GraphTresholdsStyleMode.DASHED if limits else common_models.GraphTresholdsStyleMode.OFF
    panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(style))
    legend = common.VizLegendOptions().show_legend(True).placement(common_models.LegendPlacement.BOTTOM)
    panel.legend(legend.display_mode(common_models.LegendDisplayMode.LIST).calcs(["lastNotNull"]))
    panel.tooltip(
        common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI).sort(common_models.SortOrder.DESCENDING)
    )
    for name, colour in (colours or {}).items():
        panel.override_by_name(name, [fixed(colour)])
    return panel


def heat_map(
    query: Query, *, row: str, column: str, columns_first: Sequence[str], **about: Unpack[About]
) -> table.Panel:
    """A cell for each pair of labels, coloured by the thresholds. `columns_first` are in this order, others follow."""
    panel = _about(table.Panel(), about).color_scheme(_coloured_by(models.FieldColorModeId.THRESHOLDS))
    panel.with_target(_query(0, query).instant().format(PromQueryFormat.TABLE)).show_header(True)
    panel.with_transformation(_matrix(row, column))
    order = {name: place for place, name in enumerate([f"{row}\\{column}", *columns_first])}
    organized = {"excludeByName": {}, "indexByName": order, "renameByName": {f"{row}\\{column}": row}}
    panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=organized))
    cell = option("custom.cellOptions", {"type": "color-background", "mode": "basic"})
    panel.override_by_field_type("number", [cell, option("custom.align", "center")])
    return panel


def columns(
    queries: Mapping[str, str],
    *,
    key: str,
    sorted_by: str,
    looks: Mapping[str, Sequence[models.DynamicConfigValue]],
    **about: Unpack[About],
) -> table.Panel:
    """A table: a row for each value of the label `key`, a column for each query (name → PromQL), greatest first."""
    panel = _about(table.Panel(), about).color_scheme(_coloured_by(models.FieldColorModeId.THRESHOLDS))
    for place, (name, promql) in enumerate(queries.items()):
        panel.with_target(_query(place, Query(promql, name)).instant().format(PromQueryFormat.TABLE))
    names = {f"Value #{chr(ord('A') + place)}": name for place, name in enumerate(queries)}
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    order = {name: place for place, name in enumerate([key, *names])}
    organized = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=organized))
    panel.show_header(True).sort_by([common.TableSortByFieldState().display_name(sorted_by).desc(True)])
    for name, look in looks.items():
        panel.override_by_name(name, list(look))
    return panel


def stacked_bars(
    query: Query, *, row: str, column: str, colours: Mapping[str, str], **about: Unpack[About]
) -> barchart.Panel:
    """A horizontal bar for each value of the label `row`, made of a part for each value of the label `column`."""
    panel = _about(barchart.Panel(), about).color_scheme(_coloured_by(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    panel.with_target(_query(0, query).instant().format(PromQueryFormat.TABLE))
    panel.with_transformation(_matrix(row, column)).x_field(f"{row}\\{column}")
    panel.orientation(common_models.VizOrientation.HORIZONTAL).stacking(common_models.StackingMode.NORMAL)
    panel.show_value(common_models.VisibilityMode.AUTO).group_width(0.8).fill_opacity(80)
    legend = common.VizLegendOptions().show_legend(True).placement(common_models.LegendPlacement.BOTTOM)
    panel.legend(legend.display_mode(common_models.LegendDisplayMode.LIST).calcs([]))
    panel.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    for name, colour in colours.items():
        panel.override_by_name(name, [fixed(colour)])
    return panel


def _matrix(row: str, column: str) -> models.DataTransformerConfig:
    """Turn series with two labels into a table of one by the other; its first column has both names."""
    options = {"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "null"}
    return models.DataTransformerConfig(id_val="groupingToMatrix", options=options)


def option(name: str, value: object) -> models.DynamicConfigValue:
    """An option of a field, to override it for one series or column."""
    return models.DynamicConfigValue(name, value)


def thresholds(steps: Steps) -> models.DynamicConfigValue:
    """Thresholds of one series or column."""
    listed = [{"value": value, "color": colour} for value, colour in steps]
    return option("thresholds", {"mode": "absolute", "steps": listed})


def coloured_text() -> models.DynamicConfigValue:
    """A column whose thresholds colour its figures."""
    return option("custom.cellOptions", {"type": "color-text"})


def column_look(steps: Steps, unit: str, decimals: int = 0) -> list[models.DynamicConfigValue]:
    """A column with a unit and thresholds of its own."""
    return [option("unit", unit), option("decimals", decimals), thresholds(steps), coloured_text()]


def mapped(texts: Mapping[str, str]) -> models.ValueMap:
    """Words in place of values."""
    return models.ValueMap({value: models.ValueMappingResult(text=text) for value, text in texts.items()})


def fixed(colour: str) -> models.DynamicConfigValue:
    """The one colour of a series."""
    return option("color", {"mode": "fixed", "fixedColor": colour})


def new_dashboard(uid: str, title: str, description: str) -> dashboard.Dashboard:
    """A dashboard that leads to the others."""
    others = dashboard.DashboardLink("NPS dashboards").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    built = dashboard.Dashboard(title).uid(uid).description(description).tags([TAG])
    built.link(others.as_dropdown(False).keep_time(True).include_vars(False))
    return built.tooltip(models.DashboardCursorSync.CROSSHAIR)


def add_row(built: dashboard.Dashboard, title: str, panels: Iterable[AnyPanel], *, repeat: str | None = None) -> None:
    """Add a row with its panels; `repeat` names a variable for each of whose values it is shown."""
    row = dashboard.Row(title)
    built.with_row(row if repeat is None else row.repeat(repeat))
    for panel in panels:
        built.with_panel(panel)


def as_json(built: models.Dashboard) -> str:
    """The text that Grafana reads, rows and panels numbered in their order."""
    for place, panel in enumerate(built.panels or (), start=1):
        panel.id_val = place
    text: dict[str, Any] = json.loads(json.dumps(built, cls=JSONEncoder))
    return json.dumps(text, indent=2, ensure_ascii=False) + "\n"
