"""Quality against communication: which rows no other beats with as few bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from .style import WIDTHS, Entry, in_bytes, legend, legend_height, style, styles

Point = tuple[float, float]  # bytes, PSNR in dB


def pareto(points: Sequence[Point]) -> list[Point]:
    """Those that no other point beats: with as few bytes and as high a score, better in one of them. By bytes."""
    found: list[Point] = []
    for sent, psnr in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not found or psnr > found[-1][1]:
            found.append((sent, psnr))
    return found


def front(entries: Sequence[Entry], points: Mapping[str, Point], columns: int) -> Figure:
    """A mark a row that is in `points` (by label), and steps along the front. Rows that send nothing stand left of the axis."""
    shown = [entry for entry in entries if entry.label in points]
    unit, size = in_bytes(max(points[entry.label][0] for entry in shown))
    placed = {entry.label: (points[entry.label][0] / size, points[entry.label][1]) for entry in shown}
    sent = [x for x, _ in placed.values() if x > 0]
    silent = len(sent) < len(shown)
    least, most = (min(sent), max(sent)) if sent else (0.5, 2.0)
    nothing = least / 3  # where those stand that send nothing
    with style():
        figure = Figure(figsize=(WIDTHS[columns], 2.3 + legend_height(shown, columns)), layout="constrained")
        panel = figure.subplots()
        for entry, look in zip(shown, styles(shown), strict=True):
            x, psnr = placed[entry.label]
            mark = {"color": look["color"], "marker": look["marker"], "markersize": 6, "markeredgecolor": "white"}
            panel.plot(x or nothing, psnr, linestyle="", zorder=3, **mark)
        edge = pareto(list(placed.values()))
        steps = [*((x or nothing, psnr) for x, psnr in edge), (most * 1.5, edge[-1][1])]
        panel.step(*zip(*steps, strict=True), where="post", color="0.6", linewidth=0.9)
        panel.set_xscale("log")
        panel.set(xlabel=f"{unit} of a whole run, all sites, up and down", ylabel="test PSNR, dB")
        panel.set(xlim=((nothing if silent else least) / 1.5, most * 1.5))
        wanted = ticks(least / 1.5, most * 1.5)
        panel.xaxis.set_major_locator(FixedLocator([nothing, *wanted] if silent else wanted))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xticklabels([*(["0"] * silent), *(f"{tick:g}" for tick in wanted)])
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
        legend(figure, shown, columns, line=False)
    return figure


def ticks(low: float, high: float) -> list[float]:
    """Round numbers of a logarithmic axis: 1, 2 and 5 times powers of 10, only the powers where there are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 100 else (1,)
    return [tick for power in powers for factor in factors if low <= (tick := factor * 10.0**power) <= high]
