"""Panels that share the names of rows at their left, the first row on top."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .labels import fitting_size, wrap_label
from .style import WIDTHS, open_axes

LINE = 0.17  # inches, the height of a row
SHARE = 0.42  # of the width, at most, for the names


def panels_with_named_rows(names: Sequence[str], columns: int, titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each title; row n lies at height n. Names too long for one line take two."""
    room = SHARE * WIDTHS[columns]
    shown = [wrap_label(name, room) for name in names]
    lines = sum(name.count("\n") for name in shown)
    figure = Figure(figsize=(WIDTHS[columns], LINE * (len(names) + 0.6 * lines) + 0.65), layout="constrained")
    panels = list(figure.subplots(1, len(titles), sharey=True, squeeze=False)[0])
    panels[0].set_yticks(range(len(names)), shown)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    for label in panels[0].get_yticklabels():
        label.set_fontsize(fitting_size(label.get_text(), room, 7))
    for panel, title in zip(panels, titles, strict=True):
        panel.set_xlabel(wrap_label(title, (WIDTHS[columns] - room) / len(titles) * 6.5 / 8))  # 8 points
        panel.tick_params(axis="y", length=0)
        open_axes(panel, grid="x")
    return figure, panels
