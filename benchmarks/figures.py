"""The figures of a report: what they have in common, and the validation curves; montage.py has the images.

They are made without pyplot and without a reader's own matplotlib settings: the same runs give the same bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .table import Finished

Gallery = Mapping[str, Mapping[str, np.ndarray]]  # "site/task" -> source, target and prediction, uint8 [n, H, W]

# Okabe and Ito's palette for colour-blind readers, without its yellow, which is too pale for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
MARKERS = ("", "o", "s", "^", "D", "v", "P")  # when the colours are used up
DASHES = ((), (4, 1.5), (1, 1), (5, 1, 1, 1), (3, 1, 1, 1, 1, 1))  # rows of the same method
DPI = 175
SITES_A_LINE = 4


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of a table, as figures show it."""

    label: str  # tells it from the other rows
    runs: tuple[Finished, ...]  # by seed
    gallery: Gallery  # of the first run; empty if that diverged

    @property
    def method(self) -> str:
        """Its name, without options: what gives the colour."""
        return str(self.runs[0].record.identity["method"]["name"])

    @property
    def diverged(self) -> int:
        return sum(run.record.status == "diverged" for run in self.runs)


def read_gallery(folder: Path) -> Gallery:
    """The images that a run left; empty where it left none."""
    path, found = folder / "gallery.npz", dict[str, dict[str, np.ndarray]]()
    if path.exists():
        with np.load(path) as arrays:
            for name in arrays.files:
                place, _, kind = name.rpartition("/")
                found.setdefault(place, {})[kind] = arrays[name]
    return found


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's and seaborn's defaults and nobody's own; what was set before holds again afterwards."""
    own = {"figure.dpi": DPI, "savefig.dpi": DPI, "axes.titlesize": 9, "legend.fontsize": 8.5, "axes.labelsize": 9}
    with matplotlib.style.context(["default", sns.axes_style("ticks"), sns.plotting_context("paper"), own]):
        yield


def to_png(figure: Figure) -> bytes:
    """The figure as PNG, without a date or version in it."""
    out = io.BytesIO()
    with style():
        figure.savefig(out, format="png", facecolor="white", metadata={"Software": None})
    return out.getvalue()


def curves(entries: Sequence[Entry]) -> Figure:
    """Validation PSNR by round: the mean over site-tasks above, every site below.

    Thick lines are means over seeds, as far as all seeds have a value, with a dot at each seed's selected round; thin ones
    are single seeds where there are several. A cross ends the line of a seed that diverged.
    """
    series = [[(run, validation(run)) for run in entry.runs] for entry in entries]
    sites = sorted(entries[0].runs[0].record.identity["scenario"]["tasks"])
    across = min(len(sites), SITES_A_LINE)
    heights = [max(3.6, 0.2 * len(entries))] + [2.1] * (math.ceil(len(sites) / across) if len(sites) > 1 else 0)
    with style():
        figure = Figure(figsize=(10, sum(heights)), layout="constrained")
        above, *below = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).flat
        looks = list(styles(entries))
        main = above.subplots()
        main.set(title="mean over site-tasks", xlabel="round", ylabel="validation PSNR, dB")
        for seeds, look in zip(series, looks, strict=True):
            draw(main, [(run, over_sites(found, run)) for run, found in seeds], look, seeds=True)
        for number, site in enumerate(sites if below else ()):
            axes = below[number // across].add_subplot(1, across, number % across + 1)
            axes.set(title=site, xlabel="round", ylabel="" if number % across else "PSNR, dB")
            for seeds, look in zip(series, looks, strict=True):
                own = [(run, found[site].dropna()) for run, found in seeds if site in found]
                draw(axes, own, {**look, "linewidth": 1.1, "markersize": 2.5}, seeds=False)
        for axes in figure.axes:
            axes.grid(alpha=0.3)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        sns.despine(figure)
        handles = [Line2D([], [], label=legend(entry), **look) for entry, look in zip(entries, looks, strict=True)]
        above.legend(handles=handles, loc="outside right upper", frameon=False, handlelength=3)
    return figure


def validation(run: Finished) -> pd.DataFrame:
    """Validation PSNR, a row a validated round and a column a site, or group of sites that train as one."""
    return pd.DataFrame(run.curve).pivot(index="round", columns="site", values="val_psnr").dropna(how="all")


def over_sites(series: pd.DataFrame, run: Finished) -> pd.Series:
    """The mean over site-tasks, in rounds in which every site was validated."""
    tasks = run.record.identity["scenario"]["tasks"]
    weights = np.array([len(tasks.get(site, [site])) for site in series])
    return (series * (weights / weights.sum())).sum(axis=1, skipna=False).dropna()


def draw(axes: Axes, lines: Sequence[tuple[Finished, pd.Series]], look: Mapping[str, Any], seeds: bool) -> None:
    """The mean of a row's runs; with `seeds` also each of them and its selected round. Nothing for no line."""
    mean = pd.concat([line for _, line in lines], axis=1).mean(axis=1, skipna=False).dropna() if lines else pd.Series()
    axes.plot(mean.index, mean, **look)
    for run, line in lines:
        if seeds and len(lines) > 1:
            axes.plot(line.index, line, color=look["color"], linewidth=0.5, alpha=0.6)
        if seeds and (at := run.record.selected_round) in mean.index:
            axes.plot(at, mean[at], "o", color=look["color"], markersize=6, markeredgecolor="white", zorder=3)
        if run.record.status == "diverged" and len(line):
            axes.plot(line.index[-1], line.iloc[-1], "x", color=look["color"], markersize=7 if seeds else 5, zorder=3)


def styles(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """One colour a method, by name and not by place in the table; dashes tell apart the rows of a method."""
    methods = sorted({entry.method for entry in entries})
    seen = dict.fromkeys(methods, 0)
    for entry in entries:
        index, variant = methods.index(entry.method), seen[entry.method]
        seen[entry.method] += 1
        yield {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index // len(COLOURS) % len(MARKERS)],
            "markersize": 4,
            "dashes": DASHES[variant % len(DASHES)] or (None, None),
            "linewidth": 1.8,
        }


def legend(entry: Entry) -> str:
    outcome = f"{entry.diverged} of {len(entry.runs)} diverged" if len(entry.runs) > 1 else "diverged"
    return f"{entry.label} ({outcome})" if entry.diverged else entry.label
