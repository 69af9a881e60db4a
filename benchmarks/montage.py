"""Montages: what every row of a table made of the same slices, and where it is wrong."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .figures import DPI, Entry, style

OUTPUTS_A_LINE = 8
# Pixels: about a side of a tile, between tiles, a line and a letter of a name, for the scores, for the colour bar.
TILE, GAP, LINE, LETTER, FOOT, BAR = 192, 8, 26, 13, 36, 130
ERRORS = "magma"  # brightness grows evenly with the error
STEP = 0.05  # the end of an error scale is a multiple of it


def montage(entries: Sequence[Entry], place: str) -> Figure:
    """What every row made of the test slices of a "site/task", with its absolute error below, and the slice's PSNR.

    All errors of the figure share a colour scale, which ends at the 99.5th percentile of them. Some row must have images.
    """
    known = next(entry.gallery[place] for entry in entries if place in entry.gallery)
    outputs = {entry: entry.gallery[place]["prediction"] for entry in entries if place in entry.gallery}
    errors = {entry: np.abs(output / 255 - known["target"] / 255) for entry, output in outputs.items()}
    end = max(STEP, STEP * math.ceil(np.percentile(np.stack(list(errors.values())), 99.5) / STEP))
    parts = [entries[start : start + OUTPUTS_A_LINE] for start in range(0, len(entries), OUTPUTS_A_LINE)]
    with style():
        bands = len(known["source"]) * len(parts)
        sheet = Sheet.of(known["source"].shape[1:], 2 + len(parts[0]), bands, [entry.label for entry in entries])
        for band, (index, part) in enumerate(product(range(len(known["source"])), parts)):
            source, target = place.rpartition("/")[2].split("->")
            sheet.show(band, 0, known["source"][index], f"source {source}")
            sheet.show(band, len(part) + 1, known["target"][index], f"target {target}")
            for column, entry in enumerate(part, start=1):
                if entry in outputs:
                    sheet.show(band, column, outputs[entry][index], entry.label)
                    score = f"{psnr(outputs[entry][index], known['target'][index]):.1f} dB"
                    sheet.show(band, column, errors[entry][index], score, end)
                else:
                    why = "diverged" if entry.runs[0].record.status == "diverged" else "no image"
                    sheet.blank(band, column, why, entry.label)
        sheet.scale(end, "absolute error, intensities in [0, 1]")
    return sheet.figure


@dataclass(frozen=True, eq=False)
class Sheet:
    """A figure measured in pixels, on which images of one size lie in bands of two: outputs, and errors below.

    Every pixel of an image is a whole number of the figure's, so that nothing is interpolated and the file is small.
    """

    figure: Figure
    axes: Axes
    height: int  # of a tile
    width: int
    head: int  # above a band, for names

    @classmethod
    def of(cls, size: tuple[int, ...], columns: int, bands: int, names: Sequence[str]) -> Sheet:
        zoom = max(1, round(TILE / max(size)))
        height, width = size[0] * zoom, size[1] * zoom
        head = GAP + LINE * max(fit(name, width).count("\n") + 1 for name in names)
        across, down = columns * (width + GAP) + BAR, bands * (head + 2 * (height + GAP) + FOOT)
        figure = Figure(figsize=(across / DPI, down / DPI))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, across), ylim=(down, 0))
        axes.set_axis_off()
        return cls(figure, axes, height, width, head)

    def corner(self, band: int, column: int, below: bool) -> tuple[int, int]:
        """The left and upper edge of a tile."""
        top = band * (self.head + 2 * (self.height + GAP) + FOOT) + self.head + below * (self.height + GAP)
        return column * (self.width + GAP), top

    def show(self, band: int, column: int, image: np.ndarray, text: str, error: float = 0) -> None:
        """An image of grey values 0 to 255 with its name above; or, in the lower row, of errors from 0 to `error`."""
        left, top = self.corner(band, column, bool(error))
        extent = (left, left + self.width, top + self.height, top)
        cmap, end = (ERRORS, error) if error else ("gray", 255)
        self.axes.imshow(image, cmap, vmin=0, vmax=end, extent=extent, interpolation="nearest", aspect="auto")
        self.name(left, top + self.height + GAP if error else top - GAP, text, "top" if error else "bottom")

    def blank(self, band: int, column: int, why: str, text: str) -> None:
        """A frame in place of an image."""
        left, top = self.corner(band, column, False)
        self.axes.add_patch(Rectangle((left, top), self.width, self.height, facecolor="0.93", edgecolor="0.7"))
        self.name(left, top + self.height / 2, why, "center")
        self.name(left, top - GAP, text, "bottom")

    def name(self, left: float, y: float, text: str, anchor: str) -> None:
        self.axes.text(left + self.width / 2, y, fit(text, self.width), ha="center", va=anchor, fontsize=9)

    def scale(self, end: float, text: str) -> None:
        """The colour bar on the right, as high as the first band."""
        across, down = self.axes.get_xlim()[1], self.axes.get_ylim()[0]
        bottom = self.corner(0, 0, True)[1] + self.height
        place = ((across - BAR + GAP) / across, 1 - bottom / down, GAP * 2 / across, (bottom - self.head) / down)
        heat = ScalarMappable(Normalize(0, end), ERRORS)
        self.figure.colorbar(heat, cax=self.figure.add_axes(place), label=text, extend="max")


def fit(text: str, width: int) -> str:
    """The text in lines that a tile of that many pixels can carry."""
    return textwrap.fill(text, max(1, width // LETTER))


def psnr(prediction: np.ndarray, target: np.ndarray) -> float:
    """Of a shown slice, dB, from its 256 grey values."""
    mse = float(np.mean((prediction / 255 - target / 255) ** 2))
    return float(-10 * np.log10(max(mse, 1e-6)))  # at most 60, as everywhere
