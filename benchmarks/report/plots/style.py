"""What all figures share: widths, colours, legends, and files whose bytes depend on the runs alone.

Figures are made without pyplot and ignore the reader's own matplotlib settings.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib.style
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .plotted_row import PlottedRow

# The palette of Okabe and Ito for colour-blind readers, without its yellow, which is too pale for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "P", "*")  # the next marker is used when all colours are used up
DASHES = ((), (4, 1.5), (1, 1), (5, 1, 1, 1), (3, 1, 1, 1, 1, 1))  # rows of the same method
WIDTHS = {1: 3.5, 2: 7.2}  # width in inches of a figure over one or two columns of a journal
HEIGHT = 2.3  # inches of a plot without its legend
LETTER = 0.055  # inches, the width of a letter of a label
FORMATS = ("pdf", "svg", "png")
DPI = 300  # of PNG; the vector formats have none
UNDATED: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


@contextmanager
def style() -> Iterator[None]:
    """The defaults of matplotlib and seaborn at the sizes of print; the reader's settings are restored afterwards."""
    sizes = {f"{part}.labelsize": 7 for part in ("xtick", "ytick")} | {
        f"axes.{part}size": 8 for part in ("label", "title")
    }
    own = {"font.size": 8, "legend.fontsize": 7, "axes.linewidth": 0.8, "grid.linewidth": 0.6, "figure.dpi": DPI}
    fonts = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "fedsynth"}  # a reader may lack the fonts
    with matplotlib.style.context(
        ["default", sns.axes_style("ticks"), sns.plotting_context("paper"), own, sizes, fonts]
    ):
        yield


def figure_bytes(figure: Figure, format: str = "png") -> bytes:
    """The figure as a file of one of FORMATS, without a date or a version in it."""
    out = io.BytesIO()
    with style():
        figure.savefig(out, format=format, dpi=DPI, facecolor="white", metadata=UNDATED[format])
    return out.getvalue()


def line_styles(rows: Sequence[PlottedRow]) -> Iterator[dict[str, Any]]:
    """Colour, marker and dashes of each row.

    A method's colour depends on the alphabetical order of the methods, not on its place in the table. Dashes tell the rows of one
    method apart.
    """
    methods = sorted({row.method for row in rows})
    seen = dict.fromkeys(methods, 0)
    for row in rows:
        number, variant = methods.index(row.method), seen[row.method]
        seen[row.method] += 1
        yield {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKERS[number // len(COLOURS) % len(MARKERS)],
            "dashes": DASHES[variant % len(DASHES)] or (None, None),
        }


def open_axes(axes: Axes, grid: Literal["both", "x"] = "both") -> None:
    """A pale grid, and no frame at the top and the right."""
    axes.grid(axis=grid, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def byte_unit(most: float) -> tuple[str, float]:
    """The unit for sums of up to `most` bytes, and how many bytes it is."""
    return ("GB", 1e9) if most >= 1e9 else ("MB", 1e6)


def wrap_label(text: str, width: float) -> str:
    """The label in lines of at most `width` inches; a line may end after a slash."""
    letters = max(1, int(width / LETTER))
    return text if len(text) <= letters else textwrap.fill(text.replace("/", "/ "), letters)


def legend_below(figure: Figure, rows: Sequence[PlottedRow], columns: int, lines: bool = True) -> None:
    """A legend of all rows below the figure, as wide as it is; without `lines` it has markers alone."""
    handles = []
    for row, own in zip(rows, line_styles(rows), strict=True):
        look = own if lines else {"color": own["color"], "marker": own["marker"], "linestyle": ""}
        handles.append(Line2D([], [], label=row.title, linewidth=1.2, markersize=3 if lines else 5, **look))
    spacing = {"handlelength": 2.4 if lines else 1, "columnspacing": 1.2, "handletextpad": 0.5}
    figure.legend(
        handles=handles, loc="outside lower center", ncols=_names_abreast(rows, columns), frameon=False, **spacing
    )


def legend_height(rows: Sequence[PlottedRow], columns: int) -> float:
    """The height of `legend_below` in inches."""
    return 0.15 * -(-len(rows) // _names_abreast(rows, columns)) + 0.1


def _names_abreast(rows: Sequence[PlottedRow], columns: int) -> int:
    """How many names of a legend fit side by side."""
    longest = max(len(row.title) for row in rows)
    return min(len(rows), max(1, int(WIDTHS[columns] / (0.42 + 0.06 * longest))))
