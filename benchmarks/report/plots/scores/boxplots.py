"""Box plots over the test subjects of every row: how the scores of a method are spread around its mean."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ....stats.scores import Floats, Scores
from ....tables.table import Table
from ..labels import with_unit
from ..legend import legend_below
from ..named_rows import panels_with_named_rows
from ..plotted_row import plotted_rows
from ..reference_lines import draw_reference_lines, line_handles, line_scores
from ..style import line_styles, style

ABREAST = 4  # sites side by side; with more, all sites share a panel


def draw_boxplots(table: Table, columns: int) -> Figure:
    """The scores of the test subjects, each the mean over its tasks and the row's seeds.

    One column wide, all sites share one plot; two columns wide, each site has its own, if they fit. Boxes span the quartiles,
    whiskers reach at most 1.5 times the interquartile range beyond them, and subjects further out are points.
    """
    found = zip(plotted_rows(table), table.rows, strict=True)
    shown = [(plotted, row.matrix) for plotted, row in found if row.matrix is not None]
    rows, sites = [plotted for plotted, _ in shown], shown[0][1].design.sites
    own_panels = columns == 2 and len(sites) <= ABREAST
    metric = table.metric
    with style():
        titles = [with_unit(f"test {metric.heading}", metric)] * (len(sites) if own_panels else 1)
        figure, panels = panels_with_named_rows([row.title for row in rows], columns, titles)
        drawn: set[str] = set()
        for panel, site in zip(panels, sites if own_panels else [""], strict=True):
            boxes = panel.boxplot(
                [metric.sign * subject_scores(scores, site) for _, scores in shown], orientation="horizontal",
                positions=range(len(rows)), widths=0.65, patch_artist=True, manage_ticks=False,
                flierprops={"marker": "o", "markersize": 1.5, "markerfacecolor": "black"},
                medianprops={"linewidth": 1.2, "color": "black"}, boxprops={"linewidth": 0.7},
                whiskerprops={"linewidth": 0.7}, capprops={"linewidth": 0.7},
            )  # fmt: skip
            for box, look in zip(boxes["boxes"], line_styles(rows), strict=True):
                box.set(facecolor=look["color"], alpha=0.65)
            panel.set_title(site)
            drawn |= draw_reference_lines([panel], line_scores(table, site=site), along="x")
            panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
        legend_below(figure, line_handles(line_scores(table), drawn))
    return figure


def subject_scores(scores: Scores, site: str = "") -> Floats:
    """The mean over tasks and seeds of every subject of a site, or of all sites; higher is better."""
    design = scores.design
    own = [site in ("", at) for at, _ in design.subjects]
    return np.asarray(design.subject_means(scores.values).mean(0)[own])
