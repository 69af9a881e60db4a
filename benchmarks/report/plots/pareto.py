"""Quality against communication: which rows no other row beats with as few bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from .plotted_row import PlottedRow
from .style import HEIGHT, WIDTHS, byte_unit, legend_below, legend_height, line_styles, open_axes, style

Point = tuple[float, float]  # bytes, PSNR in dB


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other point beats, by bytes: none has as few bytes and as high a score and is better in one of them."""
    front: list[Point] = []
    for sent, psnr in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not front or psnr > front[-1][1]:
            front.append((sent, psnr))
    return front


def draw_pareto(rows: Sequence[PlottedRow], points: Mapping[str, Point], columns: int) -> Figure:
    """A marker for each row whose label is in `points`, and steps along the Pareto front.

    The axis of bytes is logarithmic; rows that send nothing are drawn at its left end, above a tick named 0.
    """
    shown = [row for row in rows if row.label in points]
    unit, size = byte_unit(max(points[row.label][0] for row in shown))
    scaled = {row.label: (points[row.label][0] / size, points[row.label][1]) for row in shown}
    sent = [x for x, _ in scaled.values() if x > 0]
    any_silent = len(sent) < len(shown)
    least, most = (min(sent), max(sent)) if sent else (0.5, 2.0)
    zero = least / 3  # the place of rows that send nothing: a logarithmic axis has no 0
    with style():
        figure = Figure(figsize=(WIDTHS[columns], HEIGHT + legend_height(shown, columns)), layout="constrained")
        panel = figure.subplots()
        for row, look in zip(shown, line_styles(shown), strict=True):
            x, psnr = scaled[row.label]
            mark = {"color": look["color"], "marker": look["marker"], "markersize": 6, "markeredgecolor": "white"}
            panel.plot(x or zero, psnr, linestyle="", zorder=3, **mark)
        front = pareto_front(list(scaled.values()))
        steps = [*((x or zero, psnr) for x, psnr in front), (most * 1.5, front[-1][1])]
        panel.step(*zip(*steps, strict=True), where="post", color="0.6", linewidth=0.9)
        panel.set_xscale("log")
        panel.set(xlabel=f"{unit} of a whole run, all sites, up and down", ylabel="test PSNR, dB")
        panel.set(xlim=((zero if any_silent else least) / 1.5, most * 1.5))
        ticks = _log_ticks(least / 1.5, most * 1.5)
        panel.xaxis.set_major_locator(FixedLocator([zero, *ticks] if any_silent else ticks))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xticklabels([*(["0"] * any_silent), *(f"{tick:g}" for tick in ticks)])
        open_axes(panel)
        legend_below(figure, shown, columns, lines=False)
    return figure


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers of a logarithmic axis: 1, 2 and 5 times the powers of 10, or the powers alone if the range is wide."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 100 else (1,)
    return [tick for power in powers for factor in factors if low <= (tick := factor * 10.0**power) <= high]
