"""A volume, and the grid on which it lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True, eq=False)
class Grid:
    """Where voxels lie. Their axes run right, anterior and superior, or nearly so."""

    shape: tuple[int, int, int]  # X, Y, Z
    affine: np.ndarray  # float64 [4, 4]: voxel indices -> mm in the world of their file (right, anterior, superior)

    @property
    def spacing(self) -> np.ndarray:
        """Edges of a voxel, mm `[3]`."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def edges(self) -> tuple[float, float, float]:
        """Edges of a voxel, mm, as plain numbers."""
        x, y, z = self.spacing.tolist()
        return x, y, z

    def __str__(self) -> str:
        origin = ", ".join(f"{x:.2f}" for x in self.affine[:3, 3])
        return f"{' x '.join(map(str, self.shape))} voxels of {edges_in_mm(self.spacing)} mm at ({origin})"

    def same(self, other: Grid) -> bool:
        """Whether each corner of one lies within a tenth of a voxel's shortest edge of the other's."""
        if self.shape != other.shape:
            return False
        corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*self.shape, 1]
        apart = np.linalg.norm(corners @ (self.affine - other.affine).T, axis=1)
        return bool(apart.max() <= 0.1 * self.spacing.min())


class Volume(NamedTuple):
    """Voxels with their grid."""

    voxels: np.ndarray  # float32 [X, Y, Z]
    grid: Grid

    def sha256(self) -> str:
        """Of the voxels and of where they lie, to 0.001 mm: the same however the file is named, compressed or ordered."""
        place = self.grid.affine.round(3) + 0.0  # no -0.0
        return sha256(np.ascontiguousarray(self.voxels).tobytes() + place.tobytes()).hexdigest()


class StoredVolume(NamedTuple):
    """A volume as its file stores it, along any axes."""

    shape: tuple[int, int, int]
    affine: np.ndarray  # [4, 4]: voxel indices -> mm (right, anterior, superior)
    load: Callable[[], np.ndarray]  # reads its voxels, float32 of that shape


def edges_in_mm(spacing: np.ndarray) -> str:
    """The edges of a voxel as text, such as `1 x 1 x 1.2`."""
    return " x ".join(f"{edge:.4g}" for edge in spacing)
