"""Validation curves of a table for a paper: means over seeds, with bands from the lowest to the highest seed."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...tables.validation_curves import Series, Validation
from .style import WIDTHS, Entry, in_bytes, legend, legend_height, style, styles


def curves(entries: Sequence[Entry], columns: int) -> Figure:
    """PSNR, the mean over site-tasks, by round; two columns wide also by bytes and by seconds.

    A line goes as far as all seeds of its row have a value.
    """
    found = [Series.of([Validation.of(run) for run in entry.runs]) for entry in entries]
    unit, size = in_bytes(max((own.traffic[-1] for own in found if len(own.traffic)), default=0.0))
    axes = {"round": [own.rounds for own in found], f"{unit} sent by all sites": [own.traffic / size for own in found]}
    axes |= {"minutes of training, all sites": [own.seconds / 60 for own in found]}
    shown = list(axes.items())[: 3 if columns == 2 else 1]
    with style():
        figure = Figure(figsize=(WIDTHS[columns], 2.3 + legend_height(entries, columns)), layout="constrained")
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for panel, (name, across) in zip(panels, shown, strict=True):
            for own, x, look in zip(found, across, styles(entries), strict=True):
                every = max(1, len(x) // 6)
                panel.plot(x, own.mean, linewidth=1.2, markersize=3, markevery=every, **look)
                panel.fill_between(x, own.low, own.high, color=look["color"], alpha=0.15, linewidth=0)
            panel.set(xlabel=name)
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[0].set(ylabel="validation PSNR, dB")
        legend(figure, entries, columns)
    return figure
