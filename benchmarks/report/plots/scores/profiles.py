"""Performance profiles: in which share of runs and site-tasks a row's score is above a threshold."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ....stats.profiles import share_above
from ....tables.table import Table
from ..labels import with_unit
from ..legend import legend_below
from ..plotted_row import plotted_rows
from ..reference_lines import draw_reference_lines, line_handles, line_scores
from ..small_multiples import draw_small_multiples
from ..style import line_styles, style

POINTS = 200  # thresholds from the lowest to the highest score


def draw_profiles(table: Table, columns: int) -> Figure:
    """A panel for each row that has scores: its profile, with the 95 % interval at each threshold, which takes two seeds."""
    metric = table.metric
    found = [
        (plotted, row.matrix)
        for plotted, row in zip(plotted_rows(table), table.rows, strict=True)
        if row.matrix is not None
    ]
    rows = [plotted for plotted, _ in found]
    runs = [matrix.design.site_task_means(matrix.values) for _, matrix in found]
    ends = min(own.min() for own in runs), max(own.max() for own in runs)
    taus = np.linspace(*ends, POINTS)
    bands = [share_above(own, taus) for own in runs]
    looks, lines = list(line_styles(rows)), line_scores(table)

    def draw(panel: Axes, number: int, faint: bool) -> None:
        share, low, high = bands[number]
        if faint:
            panel.plot(taus * metric.sign, share, color="0.85", linewidth=0.6, zorder=1)
        else:
            panel.fill_between(
                taus * metric.sign, low, high, color=looks[number]["color"], alpha=0.25, linewidth=0, zorder=2
            )
            panel.plot(taus * metric.sign, share, color=looks[number]["color"], linewidth=1.3, zorder=3)

    with style():
        label = with_unit(f"threshold of test {metric.heading}", metric)
        figure, panels = draw_small_multiples(rows, columns, label, draw)
        drawn = draw_reference_lines(panels, lines, along="x")
        panels[0].set(ylim=(-0.03, 1.05), yticks=[0, 0.5, 1])
        figure.supylabel(f"share of runs and site-tasks {'above' if metric.sign > 0 else 'below'} it", fontsize=8)
        legend_below(figure, line_handles(lines, drawn))
    return figure
