"""Boxes over the test subjects of every row: how a method does beyond its mean."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from .style import WIDTHS, Entry, style, styles

ABREAST = 4  # sites side by side


def boxplots(entries: Sequence[Entry], columns: int, selection: str = "selected") -> Figure:
    """PSNR of the subjects, each the mean over its tasks and the row's seeds; two columns wide a panel a site.

    Boxes span the quartiles, whiskers reach 1.5 times as far, points lie beyond.
    """
    scores = subjects(entries, selection)
    sites = sorted(set(scores["site"])) if columns == 2 else ["all sites"]
    across = min(len(sites), ABREAST)
    down = -(-len(sites) // across)
    with style():
        size = (WIDTHS[columns], down * (0.17 * len(entries) + 0.35) + 0.3)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(down, across, squeeze=False, sharey=True)
        palette = {entry.label: look["color"] for entry, look in zip(entries, styles(entries), strict=True)}
        for panel, site in zip(panels.flat, sites, strict=False):
            own = scores if columns == 1 else scores[scores["site"] == site]
            with warnings.catch_warnings():
                warnings.filterwarnings(
                    "ignore", "vert: bool was deprecated"
                )  # seaborn 0.13 still says it to matplotlib
                sns.boxplot(
                    own, x="psnr", y="row", hue="row", order=list(palette), hue_order=list(palette), palette=palette,
                    saturation=1, linewidth=0.7, linecolor="black", fliersize=1.5, width=0.65, legend=False, ax=panel,
                    boxprops={"alpha": 0.65}, medianprops={"linewidth": 1.2},
                )  # fmt: skip
            panel.set(title=site if columns == 2 else "", xlabel="test PSNR, dB", ylabel="")
            panel.grid(axis="x", alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
        for panel in panels.flat[len(sites) :]:
            panel.set_axis_off()
    return figure


def subjects(entries: Sequence[Entry], selection: str) -> pd.DataFrame:
    """row, site, subject and psnr: the mean over the subject's tasks and the row's seeds, dB."""
    rows = [
        (entry.label, site, subject, value)
        for entry in entries
        for run in entry.runs
        for (site, _, subject), value in run.values(selection, ["psnr"])["psnr"].items()
    ]
    table = pd.DataFrame(rows, columns=["row", "site", "subject", "psnr"])
    return table.groupby(["row", "site", "subject"])["psnr"].mean().reset_index()
