"""A panel for each row of a table, where one plot of all rows could not be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .labels import wrap_label
from .plotted_row import PlottedRow
from .style import WIDTHS, open_axes

MANY = 8  # rows, from which on each has a panel
ABREAST = {1: 2, 2: 4}
SIDE, HEAD = 0.95, 0.3  # inches, the height of a panel and of its title


def draw_small_multiples(
    rows: Sequence[PlottedRow], columns: int, xlabel: str, draw: Callable[[Axes, int, bool], None]
) -> tuple[Figure, list[Axes]]:
    """The figure and its panels. A panel has its own row in front and all others, faint, behind it.

    `draw` draws the row of a number into a panel, the last argument says whether it is faint.
    """
    across = ABREAST[columns]
    down = -(-len(rows) // across)
    figure = Figure(figsize=(WIDTHS[columns], down * (SIDE + HEAD) + 0.35), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for number, (panel, row) in enumerate(zip(panels, rows, strict=False)):
        for other in range(len(rows)):
            if other != number:
                draw(panel, other, True)
        draw(panel, number, False)
        panel.set_title(wrap_label(row.title, WIDTHS[columns] / across - 0.3), fontsize=6.5, pad=3)
        open_axes(panel)
    for panel in panels[-across:]:
        panel.set_xlabel(xlabel, fontsize=7)
    for panel in panels[len(rows) :]:  # these have the axis of the panels above them
        panel.spines[["left", "top", "right"]].set_visible(False)
        panel.tick_params(left=False)
    return figure, list(panels[: len(rows)])
