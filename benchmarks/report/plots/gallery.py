"""Montages: what every row of a table made of the same slice, and where it is wrong."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .style import WIDTHS, Entry, style

ABREAST = {1: 4, 2: 8}  # tiles in a line of a figure one or two columns wide
GAP, LINE, LETTER, SCALE = (
    0.04,
    0.115,
    0.055,
    0.42,
)  # inches: between tiles, of a line and a letter of text, for the colour bar
ERRORS = "magma"  # brightness grows evenly with the error
STEP = 0.05  # the end of an error scale is a multiple of it


def montage(entries: Sequence[Entry], place: str, columns: int, subject: int = 0) -> Figure:
    """What every row made of a test slice of a "site/task", its absolute error below, and the slice's PSNR.

    All errors share a colour scale, which ends at the 99.5th percentile of them. Some row must have images.
    """
    known = next(entry.gallery[place] for entry in entries if place in entry.gallery)
    target = known["target"][subject]
    outputs = {entry: entry.gallery[place]["prediction"][subject] for entry in entries if place in entry.gallery}
    end = error_end(list(outputs.values()), target)
    given, wanted = place.rpartition("/")[2].split("->")
    with style():
        sheet = TileGrid.of(target.shape, columns, 2 + len(entries), [entry.label for entry in entries])
        sheet.show(0, known["source"][subject], f"source {given.partition('+')[0]}")
        sheet.show(1, target, f"target {wanted}")
        for number, entry in enumerate(entries, start=2):
            if entry in outputs:
                output = outputs[entry]
                sheet.show(number, output, entry.label)
                sheet.show_error(number, np.abs(output / 255 - target / 255), end, f"{psnr(output, target):.1f} dB")
            else:
                why = "diverged" if entry.runs[0].record.status == "diverged" else "no image"
                sheet.blank(number, why, entry.label)
        sheet.scale(end, "absolute error, intensities in [0, 1]")
    return sheet.figure


@dataclass(frozen=True, eq=False)
class TileGrid:
    """A figure measured in inches, on which tiles of one size lie in lines: images, and their errors below."""

    figure: Figure
    axes: Axes
    abreast: int
    width: float  # of a tile
    height: float
    head: float  # above a line, for names

    @classmethod
    def of(cls, size: tuple[int, ...], columns: int, tiles: int, names: Sequence[str]) -> TileGrid:
        abreast = min(ABREAST[columns], max(tiles, 4))
        width = (WIDTHS[columns] - GAP * (abreast - 1)) / abreast
        height = width * size[0] / size[1]
        head = GAP + LINE * max(fit(name, width).count("\n") + 1 for name in names)
        down = -(-tiles // abreast) * (head + 2 * height + GAP + LINE + GAP) + SCALE
        figure = Figure(figsize=(WIDTHS[columns], down))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTHS[columns]), ylim=(down, 0))
        axes.set_axis_off()
        return cls(figure, axes, abreast, width, height, head)

    def corner(self, number: int) -> tuple[float, float]:
        """The left and upper edge of a tile."""
        line, column = divmod(number, self.abreast)
        return column * (self.width + GAP), line * (self.head + 2 * self.height + 2 * GAP + LINE) + self.head

    def show(self, number: int, image: np.ndarray, text: str) -> None:
        """An image of grey values 0 to 255 with its name above."""
        left, top = self.corner(number)
        self._draw(left, top, image, "gray", 255)
        self._write(left, top - GAP, text, "bottom")

    def show_error(self, number: int, error: np.ndarray, end: float, text: str) -> None:
        """Errors from 0 to `end` below the image, with the text below them."""
        left, top = self.corner(number)
        self._draw(left, top + self.height + GAP, error, ERRORS, end)
        self._write(left, top + 2 * self.height + 1.5 * GAP, text, "top")

    def blank(self, number: int, why: str, text: str) -> None:
        """A frame in place of an image."""
        left, top = self.corner(number)
        self.axes.add_patch(Rectangle((left, top), self.width, self.height, facecolor="0.93", edgecolor="0.7"))
        self._write(left, top + self.height / 2, why, "center")
        self._write(left, top - GAP, text, "bottom")

    def scale(self, end: float, text: str) -> None:
        """The colour bar at the foot."""
        across, down = self.axes.get_xlim()[1], self.axes.get_ylim()[0]
        wide = min(2.4, 0.7 * across)
        place = ((across - wide) / 2 / across, (SCALE - 0.14) / down, wide / across, 0.07 / down)
        heat = ScalarMappable(Normalize(0, end), ERRORS)
        bar = self.figure.colorbar(heat, cax=self.figure.add_axes(place), orientation="horizontal", extend="max")
        bar.ax.tick_params(labelsize=6, pad=1.5, length=2)
        bar.set_label(text, fontsize=6.5, labelpad=1)

    def _draw(self, left: float, top: float, image: np.ndarray, colours: str, end: float) -> None:
        extent = (left, left + self.width, top + self.height, top)
        self.axes.imshow(image, colours, vmin=0, vmax=end, extent=extent, interpolation="none", aspect="auto")
        self.axes.set(xlim=self.axes.get_xlim(), ylim=self.axes.get_ylim())

    def _write(self, left: float, y: float, text: str, anchor: str) -> None:
        self.axes.text(
            left + self.width / 2, y, fit(text, self.width), ha="center", va=anchor, fontsize=6.5, linespacing=1
        )


def fit(text: str, width: float) -> str:
    """The text in lines that a tile of that many inches can carry; a line ends after a slash where it must."""
    letters = max(1, int(width / LETTER))
    return text if len(text) <= letters else textwrap.fill(text.replace("/", "/ "), letters)


def error_end(outputs: Sequence[np.ndarray], target: np.ndarray) -> float:
    """Where a scale of absolute errors ends: the 99.5th percentile, rounded up to a multiple of STEP; grey values 0 to 255."""
    errors = np.stack([np.abs(output / 255 - target / 255) for output in outputs])
    return round(max(STEP, STEP * math.ceil(np.percentile(errors, 99.5) / STEP)), 2)


def psnr(prediction: np.ndarray, target: np.ndarray) -> float:
    """Of a shown slice, dB, from its 256 grey values."""
    mse = float(np.mean((prediction / 255 - target / 255) ** 2))
    return float(-10 * np.log10(max(mse, 1e-6)))  # at most 60, as everywhere
