"""Names beside points, where they hide neither each other nor a point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ....stats.scores import Floats

SIZE = 6.0  # of the letters, in points
MARKER = 4.0  # points around a marker's centre that stay free
APART = 1.5  # points around a text that was there before
DISTANCES = (5, 7, 10)  # points from a marker to its name that are tried first
ANGLES = (0, 180, 90, 270, 30, 150, 210, 330)  # degrees, likewise: to the right is best
STEPS = np.array([0.1, 0.4])  # of a name's width and height, between the other places that are tried
NEAR = 8  # points; a name further away is joined to its marker


@dataclass(frozen=True)
class Point:
    """A point of a plot, the low and high end of its error bar, and its name."""

    x: float
    y: float
    low: float
    high: float
    name: str
    colour: str


def place_names(axes: Axes, points: Sequence[Point]) -> None:
    """Write the names. All else must have been drawn, because the texts, lines and points that there are stay free."""
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("axes without a figure; draw them in one")
    renderer, unit = FigureCanvasAgg(figure).get_renderer(), figure.dpi / 72
    figure.draw_without_rendering()  # the layout is known from here on
    texts = [np.array(text.get_window_extent(renderer).padded(APART * unit).extents) for text in axes.texts]
    taken = [*texts, *_on_lines(axes, unit)]
    centres = axes.transData.transform([(point.x, point.y) for point in points])
    for point, (x, y) in zip(points, centres, strict=True):
        (_, low), (_, high) = axes.transData.transform([(point.x, point.low), (point.x, point.high)])
        around = MARKER * unit
        taken += [np.array([x - around, y - around, x + around, y + around]), np.array([x - unit, low, x + unit, high])]
    room = np.array(axes.get_window_extent(renderer).extents)
    for point, centre in sorted(zip(points, centres, strict=True), key=lambda pair: (-pair[1][1], pair[1][0])):
        look: dict[str, Any] = {"fontsize": SIZE, "color": point.colour, "va": "bottom", "linespacing": 1}
        written = axes.text(point.x, point.y, point.name, **look)
        size = np.array(written.get_window_extent(renderer).size)
        written.remove()
        places = _places(centre, size, unit, room)
        found = _first_free(places, centre, NEAR * unit, np.array(taken), np.array([*texts, np.zeros(4)]))
        texts.append(found)
        taken.append(found)
        if _distance(found, centre) > NEAR * unit:
            taken += [*_way(found, centre)]
            end = np.clip((centre - found[:2]) / size, 0, 1)  # the point of the name that is nearest to the marker
            line = {"arrowstyle": "-", "linewidth": 0.4, "color": point.colour, "shrinkA": 0, "shrinkB": 2}
            look |= {"arrowprops": line | {"relpos": tuple(end)}}
        offset = (found[:2] - centre) / unit
        text = axes.annotate(point.name, (point.x, point.y), tuple(offset), textcoords="offset points", **look)
        text.set_in_layout(False)


def _on_lines(axes: Axes, unit: float) -> Iterator[Floats]:
    """Boxes around the pieces of the lines that have been drawn."""
    for line in axes.lines:
        if line.get_linestyle() != "None":
            corners = line.get_transform().transform(line.get_path().vertices)
            for a, b in pairwise(corners):
                yield np.concatenate([np.minimum(a, b) - unit, np.maximum(a, b) + unit])


def _places(centre: Floats, size: Floats, unit: float, room: Floats) -> Floats:
    """Boxes [n, left bottom right top] of a size in which a name may be written, the nearest to its marker first."""
    angles = np.radians(ANGLES)
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    around = [centre + ways * (distance * unit + size / 2) - size / 2 for distance in DISTANCES]
    grid = [np.arange(room[axis], room[axis + 2] - size[axis], step) for axis, step in enumerate(STEPS * size)]
    corners = np.concatenate([*around, np.stack(np.meshgrid(*grid), axis=-1).reshape(-1, 2)])
    boxes = np.concatenate([corners, corners + size], axis=1)
    inside = (boxes[:, :2] >= room[:2]).all(1) & (boxes[:, 2:] <= room[2:]).all(1)
    boxes = boxes[inside]
    return np.asarray(boxes[np.argsort(_distance(boxes, centre).round(), kind="stable")])


def _first_free(places: Floats, centre: Floats, near: float, taken: Floats, texts: Floats) -> Floats:
    """The first place that hides nothing, and whose way from the marker crosses no name; else the one that hides least."""
    hidden = _overlap(places, taken)
    for place in places[hidden == 0]:
        if _distance(place, centre) <= near or not _overlap(_way(place, centre), texts).any():
            return np.asarray(place)
    return np.asarray(places[np.argmin(hidden)])


def _way(box: Floats, centre: Floats) -> Floats:
    """Small boxes on the way from a marker to its name."""
    middles = np.linspace(centre, np.clip(centre, box[:2], box[2:]), 12)[1:-1]
    return np.concatenate([middles - 1, middles + 1], axis=1)


def _distance(boxes: Floats, centre: Floats) -> Floats:
    """From a point to boxes [..., 4]."""
    gap = np.maximum(boxes[..., :2] - centre, 0) + np.maximum(centre - boxes[..., 2:], 0)
    return np.asarray(np.hypot(gap[..., 0], gap[..., 1]))


def _overlap(boxes: Floats, others: Floats) -> Floats:
    """[n], the area that each of boxes [n, 4] shares with others [m, 4]."""
    shared = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2])
    return np.asarray(np.prod(np.clip(shared, 0, None), axis=-1).sum(1))
