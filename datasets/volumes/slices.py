"""Axial slices of square pixels, cut from volumes on one grid. Proportions never change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .volume import Grid


class Cut(NamedTuple):
    """Slices of a subject, before intensities are scaled."""

    images: np.ndarray  # float32 [N, C, H, W], intensities
    masks: np.ndarray  # bool [N, H, W]
    affine: np.ndarray  # float64 [4, 4]: (row, column, index along the grid's third axis, 1) -> mm in the grid's world
    lost: float  # share of the chosen slices' foreground that lies outside their pixels


def choose_slices(head: np.ndarray, shown: np.ndarray, share: float, most: int) -> np.ndarray:
    """Indices along the third axis of the slices to use, ascending.

    These are the slices of `shown` `[Z]` whose foreground in `head` `[X, Y, Z]` is at least `share` of that of the fullest slice;
    if there are more than `most`, so many of them, evenly spaced (0: all).
    """
    area = head.sum(axis=(0, 1))
    chosen = np.flatnonzero((area > 0) & (area >= share * area.max()) & shown)
    if 0 < most < len(chosen):
        chosen = chosen[((np.arange(most) + 0.5) * len(chosen) / most).astype(int)]
    return chosen


def cut(
    volumes: Sequence[np.ndarray], head: np.ndarray, grid: Grid, chosen: np.ndarray, size: int, spacing: float
) -> Cut:
    """The chosen slices of volumes `[X, Y, Z]`, with pixels of `spacing` mm, cropped or padded to `size` about the grid's middle.

    Rows run from front to back, columns from the person's left to the right.
    """
    stack = np.stack([voxels[:, ::-1, chosen].T for voxels in volumes], axis=1)  # right, front, up -> up, back, right
    mask = head[:, ::-1, chosen].T
    columns, rows = (resampling(grid.shape[i], grid.spacing[i], size, spacing) for i in (0, 1))
    kept = mask[:, rows.any(axis=0)][:, :, columns.any(axis=0)].sum()
    x, y = spacing / grid.spacing[:2]  # voxels a pixel
    right, back = grid.shape[0] // 2 - size // 2 * x, grid.shape[1] // 2 - size // 2 * y  # of the first pixel
    pixels = np.array([[0, x, 0, right], [-y, 0, 0, grid.shape[1] - 1 - back], [0, 0, 1, 0], [0, 0, 0, 1]])
    return Cut(
        rows @ stack @ columns.T,
        rows @ mask.astype(np.float32) @ columns.T >= 0.5,
        grid.affine @ pixels,
        float(1 - kept / mask.sum()),
    )


def resampling(voxels: int, spacing: float, pixels: int, pixel: float) -> np.ndarray:
    """Weights `[pixels, voxels]` that bring a row of voxels `spacing` mm apart to pixels `pixel` mm apart, middle on middle.

    The weights of a pixel are a triangle as wide as the coarser of the two, so that finer voxels are averaged and coarser ones
    interpolated; with equal spacings voxels are copied. Outside the volume is zero, so that the same weights crop or pad.
    """
    wanted = (np.arange(pixels) - pixels // 2) * pixel
    width = max(spacing, pixel)
    margin = int(np.ceil((np.abs(wanted).max() + width) / spacing)) + voxels
    given = (
        np.arange(-margin, margin + 1) * spacing
    )  # beyond the volume too, so that its border does not become brighter
    weights = np.maximum(0, 1 - np.abs(wanted[:, None] - given[None]) / width)
    weights /= weights.sum(axis=1, keepdims=True)
    first = margin - voxels // 2
    return weights[:, first : first + voxels].astype(np.float32)
