"""Box plots over the test subjects of every row: how the scores of a method are spread around its mean."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from .plotted_row import PlottedRow
from .style import WIDTHS, line_styles, open_axes, style

ABREAST = 4  # sites side by side


def draw_boxplots(rows: Sequence[PlottedRow], columns: int, selection: str = "selected") -> Figure:
    """PSNR of the test subjects, each the mean over its tasks and the row's seeds.

    One column wide, all sites share one plot; two columns wide, each site has its own. Boxes span the quartiles, whiskers reach
    at most 1.5 times the interquartile range beyond them, and subjects further out are points.
    """
    scores = subject_scores(rows, selection)
    sites = sorted(set(scores["site"])) if columns == 2 else ["all sites"]
    across = min(len(sites), ABREAST)
    down = -(-len(sites) // across)
    with style():
        size = (WIDTHS[columns], down * (0.17 * len(rows) + 0.35) + 0.3)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(down, across, squeeze=False, sharey=True)
        palette = {row.label: look["color"] for row, look in zip(rows, line_styles(rows), strict=True)}
        for panel, site in zip(panels.flat, sites, strict=False):
            own = scores if columns == 1 else scores[scores["site"] == site]
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "vert: bool was deprecated")  # seaborn 0.13 passes it to matplotlib
                sns.boxplot(
                    own, x="psnr", y="row", hue="row", order=list(palette), hue_order=list(palette), palette=palette,
                    saturation=1, linewidth=0.7, linecolor="black", fliersize=1.5, width=0.65, legend=False, ax=panel,
                    boxprops={"alpha": 0.65}, medianprops={"linewidth": 1.2},
                )  # fmt: skip
            panel.set(title=site if columns == 2 else "", xlabel="test PSNR, dB", ylabel="")
            open_axes(panel, grid="x")
        for panel in panels.flat[len(sites) :]:
            panel.set_axis_off()
    return figure


def subject_scores(rows: Sequence[PlottedRow], selection: str) -> pd.DataFrame:
    """row, site, subject and psnr (dB), the mean over the subject's tasks and the row's seeds."""
    found = [
        (row.label, site, subject, value)
        for row in rows
        for run in row.runs
        for (site, _, subject), value in run.values(selection, ["psnr"])["psnr"].items()
    ]
    table = pd.DataFrame(found, columns=["row", "site", "subject", "psnr"])
    return table.groupby(["row", "site", "subject"])["psnr"].mean().reset_index()
