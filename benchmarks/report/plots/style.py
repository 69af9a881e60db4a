"""What all figures have in common: rows with their images, widths, colours, and bytes that depend on the runs alone.

They are made without pyplot and without a reader's own matplotlib settings. paper.py is the verb that writes them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...records.finished import Finished

Gallery = Mapping[str, Mapping[str, np.ndarray]]  # "site/task" -> source, target and prediction, uint8 [n, H, W]

# Okabe and Ito's palette for colour-blind readers, without its yellow, which is too pale for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "P", "*")  # when the colours are used up
DASHES = ((), (4, 1.5), (1, 1), (5, 1, 1, 1), (3, 1, 1, 1, 1, 1))  # rows of the same method
WIDTHS = {1: 3.5, 2: 7.2}  # inches of a figure that is one or two columns of a journal wide
FORMATS = ("pdf", "svg", "png")
DPI = 300  # of PNG, and of no vector format
UNDATED: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of a table, as figures show it."""

    label: str  # tells it from the other rows
    runs: tuple[Finished, ...]  # by seed
    gallery: Gallery  # of the first run; empty if that diverged

    @property
    def method(self) -> str:
        """Its name, without options: what gives the colour."""
        return str(self.runs[0].record.identity["method"]["name"])

    @property
    def diverged(self) -> int:
        return sum(run.record.status == "diverged" for run in self.runs)

    @property
    def title(self) -> str:
        """The label, and how many of its seeds diverged if any did."""
        outcome = f"{self.diverged} of {len(self.runs)} diverged" if len(self.runs) > 1 else "diverged"
        return f"{self.label} ({outcome})" if self.diverged else self.label


def read_gallery(folder: Path) -> Gallery:
    """The images that a run left; empty where it left none."""
    path, found = folder / "gallery.npz", dict[str, dict[str, np.ndarray]]()
    if path.exists():
        with np.load(path) as arrays:
            for name in arrays.files:
                place, _, kind = name.rpartition("/")
                found.setdefault(place, {})[kind] = arrays[name]
    return found


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's and seaborn's defaults and nobody's own, at the sizes of print; what was set before holds again afterwards."""
    sizes = {f"{part}.labelsize": 7 for part in ("xtick", "ytick")} | {
        f"axes.{part}size": 8 for part in ("label", "title")
    }
    own = {"font.size": 8, "legend.fontsize": 7, "axes.linewidth": 0.8, "grid.linewidth": 0.6, "figure.dpi": DPI}
    fonts = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "fedsynth"}  # no font is left to the reader
    with matplotlib.style.context(
        ["default", sns.axes_style("ticks"), sns.plotting_context("paper"), own, sizes, fonts]
    ):
        yield


def drawn(figure: Figure, format: str = "png") -> bytes:
    """The figure as a file of one of FORMATS, without a date or version in it."""
    out = io.BytesIO()
    with style():
        figure.savefig(out, format=format, dpi=DPI, facecolor="white", metadata=UNDATED[format])
    return out.getvalue()


def to_png(figure: Figure) -> bytes:
    """The figure as PNG."""
    return drawn(figure, "png")


def styles(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """One colour a method, by name and not by place in the table; dashes tell apart the rows of a method."""
    methods = sorted({entry.method for entry in entries})
    seen = dict.fromkeys(methods, 0)
    for entry in entries:
        index, variant = methods.index(entry.method), seen[entry.method]
        seen[entry.method] += 1
        yield {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index // len(COLOURS) % len(MARKERS)],
            "dashes": DASHES[variant % len(DASHES)] or (None, None),
        }


def in_bytes(most: float) -> tuple[str, float]:
    """The unit for sums of up to `most` bytes, and how many bytes it is."""
    return ("GB", 1e9) if most >= 1e9 else ("MB", 1e6)


def legend(figure: Figure, entries: Sequence[Entry], columns: int, line: bool = True) -> None:
    """All rows below the figure, in as many columns as have room; marks alone where the figure has no lines."""
    handles = []
    for entry, own in zip(entries, styles(entries), strict=True):
        look = own if line else {"color": own["color"], "marker": own["marker"], "linestyle": ""}
        handles.append(Line2D([], [], label=entry.title, linewidth=1.2, markersize=3 if line else 5, **look))
    spacing = {"handlelength": 2.4 if line else 1, "columnspacing": 1.2, "handletextpad": 0.5}
    figure.legend(
        handles=handles, loc="outside lower center", ncols=abreast(entries, columns), frameon=False, **spacing
    )


def abreast(entries: Sequence[Entry], columns: int) -> int:
    """How many names of a legend stand side by side."""
    longest = max(len(entry.title) for entry in entries)
    return min(len(entries), max(1, int(WIDTHS[columns] / (0.42 + 0.06 * longest))))


def legend_height(entries: Sequence[Entry], columns: int) -> float:
    """Inches that `legend` takes."""
    return 0.15 * -(-len(entries) // abreast(entries, columns)) + 0.1
