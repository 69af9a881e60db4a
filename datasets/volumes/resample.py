"""Volumes brought from one grid to another by a single interpolation."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .volume import Grid, Volume


def onto(grid: Grid, volume: Volume, motion: np.ndarray) -> np.ndarray:
    """The volume on `grid`, float32 `[X, Y, Z]`, 0 outside it; `motion` `[4, 4]` leads from the world of `grid` to the volume's.

    The interpolation is by cubic B-splines. Along an axis with finer voxels than the grid's the volume is smoothed first, as
    `skimage.transform.resize` does against aliasing; slices cut from it are then as thick as the grid's.
    """
    ratio = grid.spacing / volume.grid.spacing  # both have nearly the same axes
    smooth = ndimage.gaussian_filter(volume.voxels, np.maximum(0, (ratio - 1) / 2), mode="nearest")
    return _taken(smooth, _indices(grid, volume.grid, motion), grid.shape, order=3)


def mask_onto(grid: Grid, volume: Volume, motion: np.ndarray) -> np.ndarray:
    """A mask on `grid`, by the nearest voxel; the arguments are those of `onto`."""
    return _taken(volume.voxels, _indices(grid, volume.grid, motion), grid.shape, order=0)


def reached(grid: Grid, other: Grid, motion: np.ndarray) -> np.ndarray:
    """Which voxels of `grid` have their middle inside `other`, bool `[X, Y, Z]`; `motion` is that of `onto`."""
    matrix = _indices(grid, other, motion)
    inside = np.ones(grid.shape, bool)
    axes = np.ogrid[tuple(slice(extent) for extent in grid.shape)]
    for i, extent in enumerate(other.shape):
        place = sum(matrix[i, j] * axes[j] for j in range(3)) + matrix[i, 3]
        inside &= (place >= -0.5) & (place <= extent - 0.5)
    return inside


def _indices(grid: Grid, other: Grid, motion: np.ndarray) -> np.ndarray:
    """Voxel indices of `grid` -> voxel indices of `other`, `[4, 4]`."""
    return np.linalg.solve(other.affine, motion @ grid.affine)


def _taken(voxels: np.ndarray, matrix: np.ndarray, shape: tuple[int, int, int], order: int) -> np.ndarray:
    return ndimage.affine_transform(
        voxels, matrix[:3, :3], matrix[:3, 3], shape, voxels.dtype, order=order, mode="grid-constant"
    )
