"""One head, evaluated slice by slice: which tissues fill each pixel, and in what shares.

Coordinates are in mm: x right, y front, z up. Every subject has its own pose, warp, folds, nuclei, skull and lesions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .cortex import CENTRE, Cortex
from .deep import Deep
from .fields import Fields, Grid
from .lesions import Tumour, hyperintensities
from .shapes import edge
from .tissues import INDEX

FIELDS = {
    "warp x": 130, "warp y": 130, "warp z": 130, "fine x": 50, "fine y": 50, "fine z": 50,
    "swirl x": 30, "swirl y": 30, "swirl z": 30, "reach": 45, "fat": 90, "marrow": 16, "rim": 20, "foci": 14,
    "t60": 60, "t60 too": 60, "t14": 14, "t7": 7,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Slice:
    """`shares` `[K, H, W]` of the tissues, `texture` `[3, H, W]` of log T1, log T2 and log PD, `brain` and `head` shares `[H, W]`."""

    shares: np.ndarray
    texture: np.ndarray
    brain: np.ndarray
    head: np.ndarray


class Anatomy:
    """A subject of a given age in years, with a tumour or not and a load of hyperintensities (0 for none), seen on one grid."""

    def __init__(self, rng: np.random.Generator, grid: Grid, age: float, tumour: bool, wmh: float) -> None:
        self._grid = grid
        self._width = 0.5 * max(0.5, 0.4 * grid.pixel)
        old = float(np.clip((age - 45) / 40, 0, 1.2))
        self._scale = 1 + 0.035 * rng.standard_normal(3)
        turn, tilt, roll = np.deg2rad([4, 4, 1.5]) * rng.standard_normal(3)
        self._pose = (_rotation(2, turn) @ _rotation(0, tilt) @ _rotation(1, roll)).astype(np.float32)
        self._egg = 0.09 + 0.02 * rng.standard_normal()
        self._rim = 1.6 + 2.8 * old + 0.5 * abs(rng.standard_normal())
        self._bone = rng.uniform(5.5, 8)
        self._fat = rng.uniform(3, 6.5)
        self._wmh = wmh
        self._cortex = Cortex(rng, old)
        self._deep = Deep(rng, old)
        self._fields = Fields(rng, grid, FIELDS)
        self._tumour = Tumour(rng, grid) if tumour else None

    def at(self, z: float) -> Slice:
        """The slice at height `z` mm."""
        grid, field = self._grid, self._fields.at(z)
        shape = (len(grid.y), len(grid.x))
        p = self._points(z, field)
        r, depth = self._hull(p)
        shares = np.zeros((len(INDEX), p.shape[1]), np.float32)
        inside = edge(-depth, self._width)
        self._shell(shares, p, depth, inside, field)
        where = np.flatnonzero(depth > -8 * self._width)
        within = {name: value.reshape(-1)[where] for name, value in field.items()}
        shares[:, where] += inside[where] * self._interior(z, where, p[:, where], r[where], depth[where], within)
        skin = self._rim + self._bone + self._fat_at(field) + self._temporalis(p) + 1.8
        return Slice(
            shares.reshape(-1, *shape),
            _texture(field),
            edge(-depth - np.float32(0.7 * self._rim), self._width).reshape(shape),
            edge(-depth - skin, self._width).reshape(shape),
        )

    def _points(self, z: float, field: dict[str, np.ndarray]) -> np.ndarray:
        """The grid's pixels in the coordinates of the standard head, `[3, H * W]`."""
        x, y = np.meshgrid(self._grid.x, self._grid.y)
        p = self._pose @ np.stack([x, y, np.full_like(x, z)]).reshape(3, -1)
        p /= self._scale.astype(np.float32)[:, None]
        for i, (axis, coarse, fine) in enumerate((("x", 1.8, 0.5), ("y", 2.0, 0.5), ("z", 2.0, 0.6))):
            p[i] += (np.float32(coarse) * field[f"warp {axis}"] + np.float32(fine) * field[f"fine {axis}"]).reshape(-1)
        return p

    def _hull(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The brain's hull: norm of the points (1 on its surface) and depth below it in mm, both `[n]`."""
        x, y, z = p - np.float32(CENTRE)[:, None]
        front = y * np.float32(1 / 86)
        x = x / (1 - np.float32(self._egg) * front - np.float32(0.05) * front**2)
        squared = (x * np.float32(1 / 67)) ** 2 + front**2 + (z / np.where(z > 0, np.float32(66), np.float32(60))) ** 2
        r = np.sqrt(squared) + np.float32(1e-3)
        return r, np.sqrt(x * x + y * y + z * z) * (1 / r - 1)

    def _interior(
        self, z: float, where: np.ndarray, p: np.ndarray, r: np.ndarray, depth: np.ndarray, field: dict[str, np.ndarray]
    ) -> np.ndarray:
        """Tissue shares `[K, n]` of the brain at the pixels `where`, as if all of each pixel lay inside the hull."""
        width = self._width
        before = p if self._tumour is None else self._tumour.displaced(p, depth)
        swirl = np.stack([field["swirl x"], field["swirl y"], field["swirl z"]])
        sulci = self._cortex.sulci(before, r, depth, swirl, field["reach"])
        ventricles = self._deep.ventricles(before)
        shares = np.zeros((len(INDEX), p.shape[1]), np.float32)
        nuclei = self._deep.nuclei(before, width)
        fluid = 1 - (1 - edge(sulci, width)) * (1 - edge(ventricles, width))
        deep = sum(nuclei.values())
        grey = (1 - deep) * edge(np.minimum(sulci, depth) - np.float32(self._cortex.thickness), width)
        white = (1 - deep) * (1 - edge(np.minimum(sulci, depth) - np.float32(self._cortex.thickness), width))
        solid = 1 - fluid
        for name, share in nuclei.items():
            shares[INDEX[name]] = solid * share
        grey, white = solid * grey, solid * white
        if self._wmh > 0:
            shares[INDEX["wmh"]] = white * hyperintensities(self._wmh, field, ventricles, width)
            white = white - shares[INDEX["wmh"]]
        shares[INDEX["gm"]], shares[INDEX["wm"]], shares[INDEX["csf"]] = grey, white, fluid
        if self._tumour is not None:
            necrosis, mass, swollen = self._tumour.shares(z, where, p, width)
            for name, take in (("wm", 0.95), ("wmh", 0.95), ("gm", 0.25)):
                moved = shares[INDEX[name]] * swollen * np.float32(take)
                shares[INDEX[name]] -= moved
                shares[INDEX["oedema"]] += moved
            shares *= 1 - necrosis - mass
            shares[INDEX["necrosis"]], shares[INDEX["tumour"]] = necrosis, mass
        return shares

    def _fat_at(self, field: dict[str, np.ndarray]) -> np.ndarray:
        return np.maximum(np.float32(self._fat) + np.float32(1.2) * field["fat"].reshape(-1), 1)

    def _temporalis(self, p: np.ndarray) -> np.ndarray:
        """Thickness of the temporal muscle, mm: at the sides, below z = 26."""
        return 7 * edge(p[2] - 20, 3) * edge(np.abs(p[1] - 12) - 26, 4) * edge(45 - np.abs(p[0]), 3)

    def _shell(
        self, shares: np.ndarray, p: np.ndarray, depth: np.ndarray, inside: np.ndarray, field: dict[str, np.ndarray]
    ) -> None:
        """Add what lies outside the hull, layer by layer: CSF, bone with marrow, muscle, fat, skin."""
        out, width = -depth, self._width
        marrow = edge(np.float32(-0.2) - field["marrow"].reshape(-1), 0.2)
        middle = edge(np.abs(out - np.float32(self._rim + self._bone / 2)) - np.float32(self._bone / 4), width)
        covered, top = inside, np.float32(0)
        for name, thickness in (
            ("csf", self._rim), ("bone", self._bone), ("muscle", self._temporalis(p)), ("fat", self._fat_at(field)), ("muscle", 1.8),
        ):  # fmt: skip
            top = top + thickness
            upto = edge(out - top, width)
            layer = np.maximum(upto - covered, 0)
            covered = np.maximum(upto, covered)
            if name == "bone":
                spongy = layer * middle * marrow
                shares[INDEX["marrow"]] += spongy
                layer = layer - spongy
            shares[INDEX[name]] += layer


def _rotation(axis: int, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.eye(3)
    i, j = [k for k in range(3) if k != axis]
    matrix[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return matrix


def _texture(field: dict[str, np.ndarray]) -> np.ndarray:
    """Relative changes of T1, T2 and PD inside tissue, `[3, H, W]`; the same in every contrast, which makes detail learnable."""
    t14, t7 = field["t14"], field["t7"]
    return np.stack(
        [
            np.float32(0.030) * field["t60"] + np.float32(0.020) * t14 + np.float32(0.012) * t7,
            np.float32(0.025) * field["t60 too"] + np.float32(0.015) * t14 + np.float32(0.012) * t7,
            np.float32(0.012) * t14 + np.float32(0.010) * t7,
        ]
    )
