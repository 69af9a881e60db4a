"""Validation curves of a table: means over seeds, with bands from the lowest to the highest seed."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...stats.validation_curve import CurveOverSeeds, ValidationCurve
from .plotted_row import PlottedRow
from .style import HEIGHT, WIDTHS, byte_unit, legend_below, legend_height, line_styles, open_axes, style


def draw_curves(rows: Sequence[PlottedRow], columns: int) -> Figure:
    """PSNR, the mean over site-tasks, by round; two columns wide also by bytes sent and by minutes of training.

    A line covers the rounds in which all seeds of its row have a value.
    """
    curves = [
        CurveOverSeeds.of([ValidationCurve.of(run.curve_table, run.tasks, run.images_shipped) for run in row.runs])
        for row in rows
    ]
    unit, size = byte_unit(max((own.traffic[-1] for own in curves if len(own.traffic)), default=0.0))
    axes = {
        "round": [own.rounds for own in curves],
        f"{unit} sent by all sites": [own.traffic / size for own in curves],
        "minutes of training, all sites": [own.seconds / 60 for own in curves],
    }
    shown = list(axes.items())[: 3 if columns == 2 else 1]
    with style():
        figure = Figure(figsize=(WIDTHS[columns], HEIGHT + legend_height(rows, columns)), layout="constrained")
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for panel, (name, across) in zip(panels, shown, strict=True):
            for own, x, look in zip(curves, across, line_styles(rows), strict=True):
                every = max(1, len(x) // 6)
                panel.plot(x, own.mean, linewidth=1.2, markersize=3, markevery=every, **look)
                panel.fill_between(x, own.low, own.high, color=look["color"], alpha=0.15, linewidth=0)
            panel.set(xlabel=name)
            open_axes(panel)
        panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[0].set(ylabel="validation PSNR, dB")
        legend_below(figure, rows, columns)
    return figure
