"""Scores, and the gain over training alone, by the number of training subjects."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ...tables.table import Table
from .plotted_row import plotted_rows
from .style import HEIGHT, WIDTHS, legend_below, legend_height, line_styles, open_axes, style

APART = 0.012  # of the axis, between the intervals of neighbouring rows


def draw_by_train_size(tables: Sequence[tuple[float, Table]], columns: int) -> Figure:
    """The mean score of every row that is in all tables; two columns wide also its gain over `local` with its 95 % interval.

    `tables` are pairs of a number of training subjects and the table with that many, fewest first; 0 is a newcomer before
    adaptation. The numbers are drawn at equal steps.
    """
    last = tables[-1][1]
    by_label = [
        {plotted.label: row for plotted, row in zip(plotted_rows(table), table.rows, strict=True)}
        for _, table in tables
    ]
    shown = [row for row in plotted_rows(last) if all(row.label in own for own in by_label)]
    metric, places = last.metric, range(len(tables))
    unit = metric.unit and f",{metric.unit}"
    with style():
        figure = Figure(figsize=(WIDTHS[columns], HEIGHT + legend_height(shown, columns)), layout="constrained")
        panels = figure.subplots(1, columns, squeeze=False)[0]
        for number, (plotted, look) in enumerate(zip(shown, line_styles(shown), strict=True)):
            own = [rows[plotted.label] for rows in by_label]
            scores = [(place, score.mean) for place in places if (score := own[place].scores.get(metric.column))]
            panels[0].plot(*zip(*scores, strict=True), linewidth=1.2, markersize=3, **look)
            gains = [
                (place, gain.comparison.difference, gain.comparison.margin)
                for place in places
                if (statistics := own[place].statistics) and (gain := statistics.gain)
            ]
            if columns == 2 and gains:
                at, middle, margin = zip(*gains, strict=True)
                aside = [place + APART * len(tables) * (number - (len(shown) - 1) / 2) for place in at]
                panels[1].errorbar(aside, middle, margin, linewidth=1.0, markersize=3, elinewidth=0.8, **look)
        for panel in panels:
            panel.xaxis.set_major_locator(FixedLocator(list(places)))
            panel.xaxis.set_minor_locator(NullLocator())
            panel.set_xticklabels(["none" if not count else f"{count:g}" for count, _ in tables])
            panel.set(xlabel="training subjects of a site")
            open_axes(panel)
        panels[0].set(ylabel=f"test {metric.heading}{unit}")
        if columns == 2:
            panels[1].axhline(0, color="black", linewidth=0.8)
            panels[1].set(ylabel=f"gain over training alone{unit}")
        legend_below(figure, shown, columns)
    return figure
