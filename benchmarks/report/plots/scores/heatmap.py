"""Site by site: how well the model of each site does at every site, one map a method, all on one colour scale."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from ....leaderboard.cross_site import cross_site_means, homes
from ....tables.table import Table
from ..labels import LETTER, with_unit, wrap_label
from ..plotted_row import row_labels
from ..reference_lines import DASHES, line_scores
from ..style import WIDTHS, style

SCALE = "cividis"  # looks even to colour-blind readers, and runs from dark to bright when printed in grey
ABREAST = {1: 2, 2: 4}  # maps side by side
HEAD, FOOT = 0.32, 0.75  # inches: the title of a map, the colour bar
MARGIN = 0.25  # inches, of the word beside and above the maps


def draw_heatmap(table: Table, columns: int) -> Figure:
    """A map's row is the site whose model it is, its column the site at which it is scored. Rows with a hole have no map."""
    sites, metric = homes(table), table.metric
    scores = {
        label: cross_site_means(row, table, sites)
        for label, row in zip(row_labels(table), table.rows, strict=True)
        if not row.missing
    }
    maps = {
        label: np.array([[own.get((home, site), np.nan) for site in sites] for home in sites])
        for label, own in scores.items()
    }
    values = np.concatenate([own.ravel() for own in maps.values()])
    across = min(len(maps), ABREAST[columns])
    down = -(-len(maps) // across)
    names = LETTER * max(map(len, sites)) + 0.05
    side = (WIDTHS[columns] - MARGIN - names) / across
    upright = names > side / len(sites)  # a name is wider than a cell
    with style():
        height = down * (side + HEAD) + MARGIN + (names if upright else 0.15) + FOOT
        figure = Figure(figsize=(WIDTHS[columns], height), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        for number, (panel, (label, own)) in enumerate(zip(panels.flat, maps.items(), strict=False)):
            sns.heatmap(
                own, ax=panel, cmap=SCALE, vmin=np.nanmin(values), vmax=np.nanmax(values), cbar=False, square=True,
                annot=len(sites) <= 6, fmt=f".{min(metric.digits, 1) if metric.sign > 0 else metric.digits}f",
                annot_kws={"fontsize": 6}, xticklabels=sites, yticklabels=sites, linewidths=0.5,
            )  # fmt: skip
            panel.set_title(wrap_label(label, side), fontsize=7, pad=3)
            panel.tick_params(
                length=0, bottom=False, labelbottom=False, labeltop=number < across, labelleft=number % across == 0
            )
            panel.tick_params(axis="x", rotation=90 if upright else 0)
            panel.tick_params(axis="y", rotation=0)
        for panel in panels.flat[len(maps) :]:
            panel.set_axis_off()
        figure.supylabel("model of", fontsize=8)
        figure.suptitle("scored at", fontsize=8)
        bar = figure.colorbar(panels[0, 0].collections[0], ax=panels, orientation="horizontal", shrink=0.5, aspect=40)
        bar.set_label(with_unit(f"test {metric.heading}", metric))
        for name, score in line_scores(table).items():
            if np.nanmin(values) <= score <= np.nanmax(values):
                bar.ax.axvline(score, color="white", linewidth=1, dashes=DASHES[name])
                bar.ax.annotate(
                    name, (score, 1), (0, 1), ("data", "axes fraction"), "offset points", ha="center", fontsize=6
                )
    return figure
