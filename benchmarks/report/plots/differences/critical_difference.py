"""The critical-difference diagram of Demsar (2006): mean ranks on a line, bars over rows that do not differ significantly."""

from __future__ import annotations

from matplotlib.figure import Figure

from ....tables.ranking import Ranking
from ..style import WIDTHS, style

LINE = 0.19  # inches, the height of a line of names


def draw_critical_difference(ranking: Ranking, columns: int) -> Figure:
    """The best rank is on the left. Bars are drawn only if Friedman's test finds a difference at the 5 % level."""
    count, width = len(ranking.names), WIDTHS[columns]
    cliques = ranking.cliques() if ranking.ranks.p < 0.05 else []
    half = -(-count // 2)
    longest = max(map(len, ranking.names))
    side = min(0.42 * width, 0.058 * (longest + 5) + 0.12)  # inches for a name and its rank
    top, below = 0.62, 0.12 * len(cliques) + 0.1
    height = top + below + LINE * half + 0.05
    with style():
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()

        def at(rank: float) -> float:
            return side + (rank - 1) / (count - 1) * (width - 2 * side)

        axes.plot([at(1), at(count)], [top, top], color="black", linewidth=0.9)
        step = max(1, count // 10)
        for rank in range(1, count + 1, step):
            axes.plot([at(rank)] * 2, [top - 0.06, top], color="black", linewidth=0.9)
            axes.text(at(rank), top - 0.09, str(rank), ha="center", va="bottom", fontsize=7)
        far = min(1 + ranking.ranks.critical, count)
        axes.plot([at(1), at(far)], [0.26, 0.26], color="black", linewidth=1.4)
        axes.text(
            (at(1) + at(far)) / 2, 0.2, f"CD = {ranking.ranks.critical:.2f}", ha="center", va="bottom", fontsize=7
        )
        for number, (name, mean) in enumerate(zip(ranking.names, ranking.ranks.mean, strict=True)):
            left = number < half
            row = number if left else count - 1 - number
            y = top + below + LINE * (row + 0.5)
            end = side - 0.05 if left else width - side + 0.05
            axes.plot([at(mean), at(mean), end], [top, y, y], color="0.35", linewidth=0.7)
            text = f"{name} {mean:.2f}" if left else f"{mean:.2f} {name}"
            axes.text(end + (-0.03 if left else 0.03), y, text, ha="right" if left else "left", va="center", fontsize=7)
        for number, (first, last) in enumerate(cliques):
            y = top + 0.1 + 0.12 * number
            ends = [at(ranking.ranks.mean[first]) - 0.03, at(ranking.ranks.mean[last]) + 0.03]
            axes.plot(ends, [y, y], color="black", linewidth=2.6, solid_capstyle="butt")
    return figure
