"""Quality against communication: which rows no other row beats with as few bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ....tables.table import Table
from ..labels import with_unit, wrap_label
from ..legend import legend_below
from ..plotted_row import plotted_rows
from ..reference_lines import GREY, draw_reference_lines, line_handles, line_scores
from ..style import HEIGHT, WIDTHS, byte_unit, line_styles, open_axes, style
from .placing import SIZE, Point, place_names

FREE = {
    1: 0.3,
    2: 0.14,
}  # of the width of a figure one or two columns wide, at the right for the names of reference lines

NAME = {1: 1.0, 2: 1.6}  # inches, the width of a line of a name


def pareto_front(points: Sequence[tuple[float, float]], sign: int = 1) -> list[tuple[float, float]]:
    """The points (bytes, score) that no other point beats, by bytes: none has as few bytes and as good a score and is better in
    one of them. `sign` is -1 where a lower score is better."""
    front: list[tuple[float, float]] = []
    for sent, score in sorted(set(points), key=lambda point: (point[0], -sign * point[1])):
        if not front or sign * score > sign * front[-1][1]:
            front.append((sent, score))
    return front


def draw_pareto(table: Table, columns: int) -> Figure:
    """A marker with a name for each row that has a score, its 95 % interval, and steps along the Pareto front.

    The axis of bytes is logarithmic; rows that send nothing are drawn at its left end, above a tick named 0.
    """
    metric = table.metric
    found = zip(plotted_rows(table), table.rows, strict=True)
    shown = [(plotted, row) for plotted, row in found if metric.column in row.scores]
    totals = [row.cost("bytes_up") + row.cost("bytes_down") for _, row in shown]
    unit, size = byte_unit(max(totals))
    sent = [total / size for total in totals if total]
    least, most = (min(sent), max(sent)) if sent else (0.5, 2.0)
    any_silent = len(sent) < len(shown)
    zero = least / 3  # the place of rows that send nothing: a logarithmic axis has no 0
    with style():
        height = HEIGHT + 0.06 * len(shown) * (2 if columns == 1 else 1)
        figure = Figure(figsize=(WIDTHS[columns], height), layout="constrained")
        panel = figure.subplots()
        points = []
        for total, (plotted, row), look in zip(totals, shown, line_styles([own for own, _ in shown]), strict=True):
            score, margin = row.scores[metric.column].mean, (row.statistics and row.statistics.margin) or 0.0
            at, name = total / size or zero, wrap_label(plotted.title, NAME[columns])
            look |= {"linestyle": "", "dashes": (None, None)}
            panel.errorbar(at, score, margin or None, markersize=5, elinewidth=0.8, zorder=3, **look)
            points.append(Point(at, score, score - margin, score + margin, name, look["color"]))
        left = (zero if any_silent else least) / 1.5
        right = most * (most / left) ** (FREE[columns] / (1 - FREE[columns]))
        front = pareto_front([(point.x, point.y) for point in points], metric.sign)
        panel.step(*zip(*front, (right, front[-1][1]), strict=True), where="post", color="0.7", linewidth=0.9, zorder=1)
        panel.set_xscale("log")
        panel.set(
            xlabel=f"{unit} of a whole run, all sites, up and down",
            ylabel=with_unit(f"test {metric.heading}", metric),
        )
        panel.set(xlim=(left, right))
        ticks = _log_ticks(least / 1.5, right)
        panel.xaxis.set_major_locator(FixedLocator([zero, *ticks] if any_silent else ticks))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xticklabels([*(["0"] * any_silent), *(f"{tick:g}" for tick in ticks)])
        open_axes(panel)
        lines = line_scores(table)
        drawn = draw_reference_lines([panel], lines)
        for name in drawn:
            panel.annotate(
                name,
                (1, lines[name]),
                (0, 1),
                ("axes fraction", "data"),
                "offset points",
                ha="right",
                fontsize=SIZE,
                color=GREY,
            )
        if far := {name: score for name, score in lines.items() if name not in drawn}:
            legend_below(figure, line_handles(far, drawn))
        place_names(panel, points)
    return figure


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers of a logarithmic axis: 1, 2 and 5 times the powers of 10, or the powers alone if the range is wide."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 100 else (1,)
    return [tick for power in powers for factor in factors if low <= (tick := factor * 10.0**power) <= high]
