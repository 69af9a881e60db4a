"""The anatomy of one head, slice by slice: the tissues in each pixel and their shares.

Coordinates are in mm: x right, y front, z up. Every subject has its own pose, warp, folds, nuclei, skull and lesions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .cortex import CENTRE, Cortex
from .deep import Deep
from .fields import Fields, PixelGrid
from .lesions import Tumour, hyperintensities
from .shapes import edge
from .shell import Shell
from .tissues import INDEX

FIELDS = {  # wavelengths, mm
    "warp x": 130, "warp y": 130, "warp z": 130, "fine x": 50, "fine y": 50, "fine z": 50,
    "swirl x": 30, "swirl y": 30, "swirl z": 30, "reach": 45, "fat": 90, "marrow": 24, "rim": 20, "foci": 14,
    "t60": 60, "t60 too": 60, "t14": 14, "t7": 7,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Slice:
    """The anatomy of one slice."""

    shares: np.ndarray  # of each tissue in each pixel, [K, H, W]
    texture: np.ndarray  # changes of log T1, log T2 and log PD inside tissue, [3, H, W]
    brain: np.ndarray  # share of each pixel inside the brain with part of the fluid around it, [H, W]
    head: np.ndarray  # share of each pixel inside the head, [H, W]


class Anatomy:
    """The anatomy of one subject on one grid.

    `age` is in years; `wmh` is the load of white-matter hyperintensities, 0 for none.
    """

    def __init__(self, rng: np.random.Generator, grid: PixelGrid, age: float, tumour: bool, wmh: float) -> None:
        self._grid = grid
        self._width = 0.5 * max(0.5, 0.4 * grid.pixel)  # of edges
        old = float(np.clip((age - 45) / 40, 0, 1.2))
        self._scale = (1 + 0.035 * rng.standard_normal((3, 1))).astype(np.float32)
        turn, tilt = np.deg2rad(4 * rng.standard_normal(2))
        self._pose = (_rotation(0, 1, turn) @ _rotation(1, 2, tilt)).astype(np.float32)
        self._egg = np.float32(0.09 + 0.02 * rng.standard_normal())
        self._wmh = wmh
        self._shell = Shell(rng, old)
        self._cortex = Cortex(rng, old)
        self._deep = Deep(rng, old)
        self._fields = Fields(rng, grid, FIELDS)
        self._tumour = Tumour(rng, grid) if tumour else None

    def at(self, z: float) -> Slice:
        """The slice at height `z` mm."""
        field = {name: value.reshape(-1) for name, value in self._fields.at(z).items()}
        p = self._points(z, field)
        r, depth = self._hull(p)
        inside = edge(-depth, self._width)
        shares, head = self._shell.shares(p, -depth, inside, field, self._width)
        where = np.flatnonzero(inside > 1e-3)
        within = {name: value[where] for name, value in field.items()}
        shares[:, where] += inside[where] * self._interior(z, where, p[:, where], r[where], depth[where], within)
        brain = edge(-depth - np.float32(0.7 * self._shell.rim), self._width)
        shape = (len(self._grid.y), len(self._grid.x))
        return Slice(*(part.reshape(*part.shape[:-1], *shape) for part in (shares, _texture(field), brain, head)))

    def _points(self, z: float, field: dict[str, np.ndarray]) -> np.ndarray:
        """The grid's pixels in the coordinates of the standard head, `[3, H * W]`."""
        x, y = np.meshgrid(self._grid.x, self._grid.y)
        p = self._pose @ np.stack([x, y, np.full_like(x, z)]).reshape(3, -1) / self._scale
        for i, (axis, coarse, fine) in enumerate((("x", 1.8, 0.5), ("y", 2.0, 0.5), ("z", 2.0, 0.6))):
            p[i] += np.float32(coarse) * field[f"warp {axis}"] + np.float32(fine) * field[f"fine {axis}"]
        return p

    def _hull(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where points lie in the brain's egg-shaped hull: their norm (1 on the surface) and their depth in mm, both `[n]`."""
        x, y, z = p - CENTRE
        front = y * np.float32(1 / 86)
        x = x / (1 - self._egg * front - np.float32(0.05) * front**2)
        height = np.where(z > 0, np.float32(1 / 66), np.float32(1 / 60))
        r = np.sqrt((x * np.float32(1 / 67)) ** 2 + front**2 + (z * height) ** 2) + np.float32(1e-3)
        return r, np.sqrt(x * x + y * y + z * z) * (1 / r - 1)

    def _interior(
        self, z: float, where: np.ndarray, p: np.ndarray, r: np.ndarray, depth: np.ndarray, field: dict[str, np.ndarray]
    ) -> np.ndarray:
        """Tissue shares `[K, n]` of the pixels `where`, as if each lay entirely inside the hull of the brain."""
        width = self._width
        swirl = np.stack([field["swirl x"], field["swirl y"], field["swirl z"]])
        before = p if self._tumour is None else self._tumour.displaced(p, depth)
        sulci = self._cortex.sulci(before, r, depth, swirl, field["reach"])
        bent = before + swirl  # so that nothing deep is a perfect ellipsoid
        ventricles = self._deep.ventricles(bent)
        fluid = 1 - (1 - edge(sulci, width)) * (1 - edge(ventricles, width))
        cortex = edge(np.minimum(sulci, depth) - np.float32(self._cortex.thickness), width)
        nuclei = self._deep.nuclei(bent, width)
        solid = (1 - fluid) * (1 - sum(nuclei.values()))
        white = solid * (1 - cortex)
        shares = np.zeros((len(INDEX), p.shape[1]), np.float32)
        for name, share in nuclei.items():
            shares[INDEX[name]] = (1 - fluid) * share
        shares[INDEX["csf"]], shares[INDEX["gm"]] = fluid, solid * cortex
        lesions = white * hyperintensities(self._wmh, field, ventricles, width) if self._wmh else 0
        shares[INDEX["wmh"]], shares[INDEX["wm"]] = lesions, white - lesions
        if self._tumour is not None:
            self._tumour.invade(shares, z, where, p, width)
        return shares


def _rotation(i: int, j: int, angle: float) -> np.ndarray:
    """The rotation by `angle` (radians) in the plane of the axes i and j, `[3, 3]`."""
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.eye(3)
    matrix[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return matrix


def _texture(field: dict[str, np.ndarray]) -> np.ndarray:
    """Relative changes of T1, T2 and PD inside tissue, `[3, n]`. They are the same in every contrast, so detail can be learnt."""
    weights = {
        "t60": (0.030, 0, 0),
        "t60 too": (0, 0.025, 0),
        "t14": (0.020, 0.015, 0.012),
        "t7": (0.012, 0.012, 0.010),
    }
    return np.array([*weights.values()], np.float32).T @ np.stack([field[name] for name in weights])
