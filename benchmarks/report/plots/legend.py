"""The legend of a figure: what rows and lines look like, below the plots."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .plotted_row import PlottedRow
from .style import line_styles

LINE = 0.15  # inches, the height of a line of a legend


def row_handles(rows: Sequence[PlottedRow]) -> list[Line2D]:
    """The lines of a legend, one a row."""
    return [
        Line2D([], [], label=row.title, linewidth=1.2, markersize=3, **look)
        for row, look in zip(rows, line_styles(rows), strict=True)
    ]


def legend_below(figure: Figure, handles: Sequence[Line2D]) -> None:
    """A legend below the figure, as wide as it is; the figure grows by its height."""
    if handles:
        width, height = figure.get_size_inches()
        longest = max(len(str(handle.get_label())) for handle in handles)
        abreast = min(len(handles), max(1, int(width / (0.42 + 0.06 * longest))))
        figure.set_size_inches(width, height + LINE * -(-len(handles) // abreast) + 0.1)
        spacing = {"handlelength": 2.4, "columnspacing": 1.2, "handletextpad": 0.5}
        figure.legend(handles=handles, loc="outside lower center", ncols=abreast, frameon=False, **spacing)
