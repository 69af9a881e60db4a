"""The reference lines of a table in a plot of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ...tables.reference_lines import LINES, LOOK_UP
from ...tables.table import Table

DASHES = dict(zip(LINES, ((1, 4), (1, 2), (5, 2), (8, 2, 1, 2)), strict=True))
GREY = "0.35"
REACH = dict.fromkeys(LINES, 0.3) | {LOOK_UP: 1.0}  # of an axis: how far beyond its end it is stretched for a line


def line_scores(table: Table, metric: str = "", site: str = "") -> dict[str, float]:
    """The score of each line by a metric, or the table's, where it is recorded; of one site, the mean over its tasks."""
    found: dict[str, float] = {}
    for line in table.lines:
        if score := line.scores.get(metric or table.metric.column):
            own = [value for (at, _), value in score.site_tasks.items() if site in ("", at)]
            found |= {line.name: sum(own) / len(own)} if own else {}
    return found


def draw_reference_lines(
    panels: Sequence[Axes], scores: Mapping[str, float], along: Literal["x", "y"] = "y"
) -> set[str]:
    """A line for each score, across the axis named `along`, which the panels share; those too far away are left out.

    Returns the names of those drawn. Call it when all else is drawn.
    """
    axes = panels[0]
    low, high = axes.get_ylim() if along == "y" else axes.get_xlim()
    span, edge = high - low, 0.04 * (high - low)
    near = {name: at for name, at in scores.items() if max(low - at, at - high) <= REACH[name] * span}
    ends = (
        min([low, *(score - edge for score in near.values())]),
        max([high, *(score + edge for score in near.values())]),
    )
    if along == "y":
        axes.set_ylim(ends)
    else:
        axes.set_xlim(ends)
    for name, score in near.items():
        for panel in panels:
            draw = panel.axhline if along == "y" else panel.axvline
            draw(score, color=GREY, linewidth=0.8, dashes=DASHES[name], zorder=0.5)
    return set(near)


def line_handles(scores: Mapping[str, float], drawn: set[str]) -> list[Line2D]:
    """The lines of a legend. Those that are not drawn have their score beside their name."""
    return [
        Line2D([], [], label=name, color=GREY, linewidth=0.8, dashes=DASHES[name])
        if name in drawn
        else Line2D([], [], label=f"{name} {score:.4g}, off the axis", linestyle="")
        for name, score in scores.items()
    ]
