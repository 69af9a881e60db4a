"""Site by site: how well the model of each site does at every site, one map a method, all on one colour scale."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from ...leaderboard.cross_site import cross_site_means, homes
from ...tables.table import Table
from .plotted_row import row_labels
from .style import WIDTHS, style, wrap_label

SCALE = "cividis"  # looks even to colour-blind readers, and runs from dark to bright when printed in grey
ABREAST = {1: 2, 2: 4}  # maps side by side
LEFT, HEAD, FOOT = 0.62, 0.5, 1.2  # inches beside, above and below the maps


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
    side = (WIDTHS[columns] - LEFT) / across
    unit = metric.unit and f",{metric.unit}"
    with style():
        figure = Figure(figsize=(WIDTHS[columns], down * (side + HEAD) + FOOT), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False)
        for number, (panel, (label, own)) in enumerate(zip(panels.flat, maps.items(), strict=False)):
            leftmost, lowest = number % across == 0, number + across >= len(maps)
            sns.heatmap(
                own, ax=panel, cmap=SCALE, vmin=np.nanmin(values), vmax=np.nanmax(values), cbar=False, square=True,
                annot=len(sites) <= 6, fmt=f".{min(metric.digits, 1) if metric.sign > 0 else metric.digits}f",
                annot_kws={"fontsize": 6}, xticklabels=sites if lowest else False, yticklabels=sites if leftmost else False,
                linewidths=0.5,
            )  # fmt: skip
            panel.set_title(wrap_label(label, side), fontsize=7)
            panel.set(xlabel="scored at" if lowest else "", ylabel="model of" if leftmost else "")
            panel.tick_params(length=0)
        for panel in panels.flat[len(maps) :]:
            panel.set_axis_off()
        bar = figure.colorbar(panels[0, 0].collections[0], ax=panels, orientation="horizontal", shrink=0.5, aspect=40)
        bar.set_label(f"test {metric.heading}{unit}")
    return figure
