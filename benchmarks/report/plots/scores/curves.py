"""Validation curves of a table: means over seeds, with bands from the lowest to the highest seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from ....stats.validation_curve import CurveOverSeeds, ValidationCurve
from ..legend import legend_below, row_handles
from ..plotted_row import PlottedRow
from ..reference_lines import draw_reference_lines, line_handles
from ..small_multiples import MANY, draw_small_multiples
from ..style import HEIGHT, WIDTHS, byte_unit, line_styles, open_axes, style

YLABEL = "validation PSNR, dB"


def draw_curves(rows: Sequence[PlottedRow], lines: dict[str, float], columns: int) -> Figure:
    """PSNR, the mean over site-tasks, by round; two columns wide also by bytes sent and by minutes of training, unless there are
    so many rows that each has a panel. `lines` are the scores of reference lines, on the test subjects.

    A line covers the rounds in which all seeds of its row have a value.
    """
    curves = [
        CurveOverSeeds.of([ValidationCurve.of(run.curve_table, run.tasks, run.images_shipped) for run in row.runs])
        for row in rows
    ]
    with style():
        return (_one_each if len(rows) >= MANY else _together)(rows, curves, lines, columns)


def _together(
    rows: Sequence[PlottedRow], curves: Sequence[CurveOverSeeds], lines: dict[str, float], columns: int
) -> Figure:
    """All rows in one panel for each horizontal axis."""
    unit, size = byte_unit(max((own.traffic[-1] for own in curves if len(own.traffic)), default=0.0))
    across = {
        "round": [own.rounds for own in curves],
        f"{unit} sent by all sites": [own.traffic / size for own in curves],
        "minutes of training, all sites": [own.seconds / 60 for own in curves],
    }
    shown = list(across.items())[: 3 if columns == 2 else 1]
    figure = Figure(figsize=(WIDTHS[columns], HEIGHT), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for panel, (name, x) in zip(panels, shown, strict=True):
        for own, at, look in zip(curves, x, line_styles(rows), strict=True):
            panel.plot(at, own.mean, linewidth=1.2, markersize=3, markevery=max(1, len(at) // 6), **look)
            panel.fill_between(at, own.low, own.high, color=look["color"], alpha=0.15, linewidth=0)
        panel.set(xlabel=name)
        open_axes(panel)
    drawn = draw_reference_lines(panels, lines)
    set_ticks(panels[0], (round for own in curves for round in own.rounds))
    panels[0].set(ylabel=YLABEL)
    legend_below(figure, [*row_handles(rows), *line_handles(lines, drawn)])
    return figure


def _one_each(
    rows: Sequence[PlottedRow], curves: Sequence[CurveOverSeeds], lines: dict[str, float], columns: int
) -> Figure:
    """By round, a panel for each row."""
    looks = list(line_styles(rows))

    def draw(panel: Axes, number: int, faint: bool) -> None:
        own, colour = curves[number], looks[number]["color"]
        if faint:
            panel.plot(own.rounds, own.mean, color="0.85", linewidth=0.6, zorder=1)
        else:
            panel.fill_between(own.rounds, own.low, own.high, color=colour, alpha=0.25, linewidth=0, zorder=2)
            panel.plot(own.rounds, own.mean, color=colour, linewidth=1.4, zorder=3)

    figure, panels = draw_small_multiples(rows, columns, "round", draw)
    drawn = draw_reference_lines(panels, lines)
    set_ticks(panels[0], (round for own in curves for round in own.rounds))
    figure.supylabel(YLABEL, fontsize=8)
    legend_below(figure, line_handles(lines, drawn))
    return figure


def ticks_at(values: Iterable[float], most: int = 8) -> list[float]:
    """Some of the values, at most `most`: all if they are few, else those at round numbers, else
    every second, third or so, counted from the last."""
    known = sorted(set(values))
    if len(known) <= most:
        return known
    round_numbers = set(MaxNLocator(most - 1, steps=[1, 2, 5, 10], integer=True).tick_values(known[0], known[-1]))
    if len(found := [value for value in known if value in round_numbers]) >= most // 2:
        return found
    return known[:: -math.ceil(len(known) / most)][::-1]


def set_ticks(axes: Axes, values: Iterable[float]) -> None:
    """Ticks of the horizontal axis at `ticks_at(values)` and nowhere else."""
    axes.xaxis.set_major_locator(FixedLocator(ticks_at(values)))
    axes.xaxis.set_minor_locator(NullLocator())
