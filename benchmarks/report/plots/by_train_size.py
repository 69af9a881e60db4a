"""Scores, and what is gained over training alone, by the number of training subjects."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ...tables.table import Table
from ..sections import looks
from .style import WIDTHS, legend, legend_height, style, styles

APART = 0.012  # of the axis, between the intervals of neighbouring rows


def by_subjects(found: Sequence[tuple[float, Table]], columns: int) -> Figure:
    """The mean score of every row that is in all tables; two columns wide also its gain over `local` with its 95 % interval.

    `found`: training subjects, fewest first, 0 before adaptation, and their table. Subjects stand at equal steps.
    """
    last = found[-1][1]
    rows = [{look.label: row for look, row in zip(looks(table), table.rows, strict=True)} for _, table in found]
    shown = [look for look in looks(last) if all(look.label in own for own in rows)]
    unit = last.metric.unit and f",{last.metric.unit}"
    metric, places = last.metric, range(len(found))
    with style():
        figure = Figure(figsize=(WIDTHS[columns], 2.3 + legend_height(shown, columns)), layout="constrained")
        panels = figure.subplots(1, columns, squeeze=False)[0]
        for number, (look, drawing) in enumerate(zip(shown, styles(shown), strict=True)):
            own = [table[look.label] for table in rows]
            scores = [(place, score.mean) for place in places if (score := own[place].scores.get(metric.column))]
            panels[0].plot(*zip(*scores, strict=True), linewidth=1.2, markersize=3, **drawing)
            gains = [
                (place, gain.comparison.difference, gain.comparison.margin)
                for place in places
                if (standing := own[place].standing) and (gain := standing.gain)
            ]
            if columns == 2 and gains:
                at, middle, margin = zip(*gains, strict=True)
                aside = [place + APART * len(found) * (number - (len(shown) - 1) / 2) for place in at]
                panels[1].errorbar(aside, middle, margin, linewidth=1.0, markersize=3, elinewidth=0.8, **drawing)
        for panel in panels:
            panel.xaxis.set_major_locator(FixedLocator(list(places)))
            panel.xaxis.set_minor_locator(NullLocator())
            panel.set_xticklabels(["none" if not count else f"{count:g}" for count, _ in found])
            panel.set(xlabel="training subjects of a site")
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].set(ylabel=f"test {metric.heading}{unit}")
        if columns == 2:
            panels[1].axhline(0, color="black", linewidth=0.8)
            panels[1].set(ylabel=f"gain over training alone{unit}")
        legend(figure, shown, columns)
    return figure
