"""A volume and the grid that it lies on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True, eq=False)
class Grid:
    """`shape` `[X, Y, Z]` of voxels whose axes run right, anterior and superior, or nearly so, and the `affine` `[4, 4]`,
    float64, from their indices to mm in the world of their file: right, anterior, superior."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """Edges of a voxel in mm, `[3]`."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def edges(self) -> tuple[float, float, float]:
        """The same as plain numbers."""
        x, y, z = self.spacing.tolist()
        return x, y, z

    def __str__(self) -> str:
        origin = ", ".join(f"{x:.2f}" for x in self.affine[:3, 3])
        return f"{' x '.join(map(str, self.shape))} voxels of {edges_in_mm(self.spacing)} mm at ({origin})"

    def same(self, other: Grid) -> bool:
        """Whether no corner of the two lies further apart than a tenth of a voxel's shortest edge."""
        if self.shape != other.shape:
            return False
        corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*self.shape, 1]
        apart = np.linalg.norm(corners @ (self.affine - other.affine).T, axis=1)
        return bool(apart.max() <= 0.1 * self.spacing.min())


class Volume(NamedTuple):
    """Voxels float32 `[X, Y, Z]` and where they lie."""

    voxels: np.ndarray
    grid: Grid


class StoredVolume(NamedTuple):
    """A volume as its file stores it, along any axes: its extents, its affine to mm (right, anterior, superior), and `load`,
    which reads its voxels, float32 of that shape."""

    shape: tuple[int, int, int]
    affine: np.ndarray
    load: Callable[[], np.ndarray]


def edges_in_mm(spacing: np.ndarray) -> str:
    return " x ".join(f"{edge:.4g}" for edge in spacing)
