"""Solids as signed distances in mm (negative inside), and soft edges, which make partial volumes."""

from __future__ import annotations

import numpy as np

Point = tuple[float, float, float]


def ellipsoid(p: np.ndarray, centre: Point, radii: Point, turn: float = 0.0) -> np.ndarray:
    """Distance `[n]` of points `p` `[3, n]` along the ray from the centre; `turn` rotates the solid axially, radians."""
    x, y, z = p[0] - np.float32(centre[0]), p[1] - np.float32(centre[1]), p[2] - np.float32(centre[2])
    if turn:
        c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        x, y = c * x + s * y, c * y - s * x
    a, b, c2 = (np.float32(1 / radius) for radius in radii)
    r = np.sqrt((x * a) ** 2 + (y * b) ** 2 + (z * c2) ** 2) + np.float32(1e-3)
    length = np.sqrt(x * x + y * y + z * z)
    return (length + np.float32(1e-3) * np.float32(min(radii))) * (1 - 1 / r)


def capsule(p: np.ndarray, start: Point, end: Point, start_radius: float, end_radius: float) -> np.ndarray:
    """Distance `[n]` of points `p` `[3, n]` from a rounded stick from `start` to `end`, whose radius changes evenly."""
    axis = np.subtract(end, start).astype(np.float32)
    x, y, z = (p[i] - np.float32(start[i]) for i in range(3))
    t = np.clip((x * axis[0] + y * axis[1] + z * axis[2]) / np.float32(axis @ axis), 0, 1)
    gap = np.sqrt((x - t * axis[0]) ** 2 + (y - t * axis[1]) ** 2 + (z - t * axis[2]) ** 2)
    return gap - (np.float32(start_radius) + np.float32(end_radius - start_radius) * t)


def join(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    """The union of two solids, given as distances, with a fillet of about `blend` mm (polynomial smooth minimum)."""
    h = np.maximum(np.float32(blend) - np.abs(a - b), 0) / np.float32(blend)
    return np.minimum(a, b) - h * h * np.float32(blend / 4)


def edge(distance: np.ndarray, width: float) -> np.ndarray:
    """Share of a pixel inside a solid, in [0, 1], from the signed distance of its centre; `width` is that of the edge, mm."""
    return 1 / (1 + np.exp(np.clip(distance * np.float32(1 / width), -30, 30)))
