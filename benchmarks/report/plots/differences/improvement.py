"""How probable it is that a run of a row is better at a site-task than a run of `local`."""

from __future__ import annotations

from matplotlib.figure import Figure

from ....stats.profiles import improvement
from ....tables.table import Table, contenders
from ..named_rows import panels_with_named_rows
from ..plotted_row import plotted_rows
from ..style import line_styles, style


def draw_improvement(table: Table, columns: int) -> Figure | None:
    """The probability of each row against `local` on the same network, with its 95 % interval; None where there is none."""
    plotted, compared = plotted_rows(table), contenders(table.rows)
    runs = {
        row: own.scores.design.site_task_means(own.scores.values)
        for row, own in enumerate(compared)
        if own.scores is not None
    }
    pairs = [(row, local) for row in runs if (local := compared[row].local) is not None]
    if not pairs or len(table.seeds) < 2:
        return None
    looks = list(line_styles(plotted))
    with style():
        names = [plotted[row].title for row, _ in pairs]
        figure, (panel,) = panels_with_named_rows(
            names, columns, ["probability that a run is better than one of local"]
        )
        for place, (row, local) in enumerate(pairs):
            share, low, high = improvement(runs[row], runs[local])
            look = looks[row] | {"dashes": (None, None), "linestyle": ""}
            panel.errorbar(share, place, xerr=[[share - low], [high - share]], elinewidth=1.2, markersize=4, **look)
        panel.axvline(0.5, color="black", linewidth=0.8)
        panel.set(xlim=(-0.02, 1.02), xticks=[0, 0.25, 0.5, 0.75, 1])
    return figure
