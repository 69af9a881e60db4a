"""What all figures share: widths, colours, axes, and files whose bytes depend on the runs alone.

Figures are made without pyplot and ignore the reader's own matplotlib settings.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib.style
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plotted_row import PlottedRow

# The palette of Okabe and Ito for colour-blind readers, without its yellow, which is too pale for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "P", "*")  # the next marker is used when all colours are used up
# Rows of the same method: the nth has the nth filling and the nth dashes. With 4 and 5 of them, 20 rows differ.
FILLINGS: tuple[dict[str, str], ...] = (
    {},
    {"markerfacecolor": "white"},
    {"fillstyle": "left", "markerfacecoloralt": "white"},
    {"fillstyle": "bottom", "markerfacecoloralt": "white"},
)
DASHES = ((), (4, 1.5), (1, 1), (5, 1, 1, 1), (3, 1, 1, 1, 1, 1))
WIDTHS = {1: 3.5, 2: 7.2}  # width in inches of a figure over one or two columns of a journal
HEIGHT = 2.3  # inches of a plot without its legend
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
    fonts |= {"text.parse_math": False}  # a name with $ in it is a name, not a formula
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
    """Colour, marker and dashes of each row, as matplotlib's lines take them.

    A method's colour and marker depend on the alphabetical order of the methods, not on its place in the table. The filling of
    the marker and the dashes tell the rows of one method apart.
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
            **FILLINGS[variant % len(FILLINGS)],
        }


def open_axes(axes: Axes, grid: Literal["both", "x"] = "both") -> None:
    """A pale grid, and no frame at the top and the right."""
    axes.grid(axis=grid, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def byte_unit(most: float) -> tuple[str, float]:
    """The unit for sums of up to `most` bytes, and how many bytes it is."""
    return ("GB", 1e9) if most >= 1e9 else ("MB", 1e6)
