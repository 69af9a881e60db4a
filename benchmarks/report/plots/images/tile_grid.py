"""A figure of image tiles of one size, measured in inches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..labels import fitting_size, wrap_label
from ..style import WIDTHS

ABREAST = {1: 4, 2: 8}  # tiles side by side in a figure one or two columns wide
GAP, LINE, FOOT = 0.04, 0.115, 0.42  # inches: between tiles, of a line of text, for the colour bar
ERRORS = "magma"  # its brightness grows evenly with the error


@dataclass(frozen=True, eq=False)
class TileGrid:
    """Tiles in lines: a name, an image, the image's error below it, and a text below that."""

    figure: Figure
    axes: Axes
    abreast: int
    width: float  # of a tile
    height: float
    head: float  # above a line of tiles, for the names

    @classmethod
    def of(cls, size: tuple[int, ...], columns: int, tiles: int, names: Sequence[str]) -> TileGrid:
        """For `tiles` images of `size` pixels [H, W] in a figure as wide as `columns` of a journal."""
        abreast = min(ABREAST[columns], max(tiles, 4))
        width = (WIDTHS[columns] - GAP * (abreast - 1)) / abreast
        height = width * size[0] / size[1]
        head = GAP + LINE * max(wrap_label(name, width).count("\n") + 1 for name in names)
        down = -(-tiles // abreast) * (head + 2 * height + GAP + LINE + GAP) + FOOT
        figure = Figure(figsize=(WIDTHS[columns], down))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTHS[columns]), ylim=(down, 0))
        axes.set_axis_off()
        return cls(figure, axes, abreast, width, height, head)

    def show(self, number: int, image: np.ndarray, name: str) -> None:
        """An image of grey values 0 to 255 with its name above."""
        left, top = self._corner(number)
        self._draw(left, top, image, "gray", 255)
        self._write(left, top - GAP, name, "bottom")

    def show_error(self, number: int, error: np.ndarray, end: float, text: str) -> None:
        """Errors from 0 to `end` below the image, with the text below them."""
        left, top = self._corner(number)
        self._draw(left, top + self.height + GAP, error, ERRORS, end)
        self._write(left, top + 2 * self.height + 1.5 * GAP, text, "top")

    def show_blank(self, number: int, why: str, name: str) -> None:
        """A frame that says why there is no image."""
        left, top = self._corner(number)
        self.axes.add_patch(Rectangle((left, top), self.width, self.height, facecolor="0.93", edgecolor="0.7"))
        self._write(left, top + self.height / 2, why, "center")
        self._write(left, top - GAP, name, "bottom")

    def show_error_scale(self, end: float, text: str) -> None:
        """The colour bar of the errors at the foot."""
        across, down = self.axes.get_xlim()[1], self.axes.get_ylim()[0]
        wide = min(2.4, 0.7 * across)
        place = ((across - wide) / 2 / across, (FOOT - 0.14) / down, wide / across, 0.07 / down)
        scale = ScalarMappable(Normalize(0, end), ERRORS)
        cax, ticks = self.figure.add_axes(place), [0, end / 2, end]
        bar = self.figure.colorbar(scale, cax, orientation="horizontal", extend="max", ticks=ticks, format="%.3g")
        bar.ax.tick_params(labelsize=6, pad=1.5, length=2)
        bar.set_label(text, fontsize=6.5, labelpad=1)

    def _corner(self, number: int) -> tuple[float, float]:
        """The left and upper edge of a tile."""
        line, column = divmod(number, self.abreast)
        return column * (self.width + GAP), line * (self.head + 2 * self.height + 2 * GAP + LINE) + self.head

    def _draw(self, left: float, top: float, image: np.ndarray, colours: str, end: float) -> None:
        extent = (left, left + self.width, top + self.height, top)
        self.axes.imshow(image, colours, vmin=0, vmax=end, extent=extent, interpolation="none", aspect="auto")
        self.axes.set(xlim=self.axes.get_xlim(), ylim=self.axes.get_ylim())

    def _write(self, left: float, y: float, text: str, anchor: str) -> None:
        shown = wrap_label(text, self.width)
        size = fitting_size(shown, self.width, 6.5)
        self.axes.text(left + self.width / 2, y, shown, ha="center", va=anchor, fontsize=size, linespacing=1)
