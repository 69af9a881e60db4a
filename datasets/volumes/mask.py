"""The foreground of a subject: the head, found in a volume, or a given mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from fedsynth.federation import FederationError

from .intensity import clip_level
from .read import read_voxels
from .volume import Grid, Volume


def foreground(voxels: np.ndarray) -> np.ndarray:
    """The head, bool `[X, Y, Z]`, of a volume with at least one positive voxel.

    Of the voxels above the clip level, structures thinner than 3 pixels in an axial slice are removed; the largest connected part
    is the head, and its holes are filled slice by slice.
    """
    above = ndimage.binary_opening(voxels > clip_level(voxels), np.ones((3, 3, 1), bool))
    parts, count = ndimage.label(above)
    if not count:
        return above
    head = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return np.stack([ndimage.binary_fill_holes(head[:, :, k]) for k in range(head.shape[2])], axis=2)


def given_mask(path: Path, grid: Grid) -> Volume:
    """The mask in `path`, voxels bool, as HD-BET and SynthStrip write it.

    Raises FederationError unless the mask lies on `grid` and holds two values, one of them 0.
    """
    mask = read_voxels(path)
    if not mask.grid.same(grid):
        raise FederationError(
            f"{path} ({mask.grid}) is a mask on another grid than the volume of the reference contrast ({grid}); make it"
            " from that volume"
        )
    values = np.unique(mask.voxels)
    if len(values) != 2 or 0 not in values:
        raise FederationError(
            f"{path} holds {len(values)} values from {values[0]:g} to {values[-1]:g}, where a mask holds 0 and one other;"
            " give the mask, not the stripped volume"
        )
    return Volume(mask.voxels != 0, mask.grid)
