"""The critical-difference diagram of Demsar (2006), upright: mean ranks, and bars beside rows not shown to differ."""

from __future__ import annotations

from matplotlib.figure import Figure

from ....tables.ranking import Ranking
from ..named_rows import panels_with_named_rows
from ..style import style

RANK, BARS = "mean rank; 1 is the best", "rows beside one bar are not shown to differ"


def draw_critical_difference(ranking: Ranking, columns: int) -> Figure:
    """The best rank is on top, each with its 95 % interval over blocks. Rows beside one bar are not shown to differ; there are
    bars only if Friedman's test finds a difference at the 5 % level. The critical difference is drawn above, to scale."""
    ranks, count = ranking.ranks, len(ranking.names)
    cliques = ranking.cliques() if ranks.p < 0.05 else []
    with style():
        names = [f"{name}  {mean:.2f}" for name, mean in zip(ranking.names, ranks.mean, strict=True)]
        figure, (panel,) = panels_with_named_rows(names, columns, [RANK + (f"\n{BARS}" if cliques else "")])
        ends = [ranks.mean - ranks.low, ranks.high - ranks.mean]
        panel.errorbar(ranks.mean, range(count), xerr=ends, fmt="o", color="black", markersize=4, elinewidth=0.8)
        apart = 0.035 * count
        for number, (first, last) in enumerate(cliques, 1):
            side = [count + apart * number] * 2
            panel.plot(side, [first - 0.3, last + 0.3], color="0.35", linewidth=2.6, solid_capstyle="butt")
        far = min(1 + ranks.critical, count)
        panel.plot([1, far], [-1, -1], color="black", linewidth=1.4, marker="|", markersize=5)
        panel.text(far + 0.03 * count, -1, f"CD = {ranks.critical:.2f}", va="center", fontsize=7)
        panel.set_ylim(count - 0.4, -1.6)
        panel.set(xlim=(1 - apart, count + apart * (len(cliques) + 1)), xticks=range(1, count + 1, max(1, count // 10)))
    return figure
