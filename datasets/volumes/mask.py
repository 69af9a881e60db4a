"""The foreground of a subject: the head as its volumes show it, or a mask that was given."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .intensity import clip_level


def foreground(voxels: np.ndarray) -> np.ndarray:
    """The head, bool `[X, Y, Z]`, of a volume with at least one positive voxel.

    What lies above the clip level, less what is thinner than 3 pixels in an axial slice; of that the largest connected part in
    3-D, its holes filled slice by slice.
    """
    above = ndimage.binary_opening(voxels > clip_level(voxels), np.ones((3, 3, 1), bool))
    parts, count = ndimage.label(above)
    if not count:
        return above
    head = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return np.stack([ndimage.binary_fill_holes(head[:, :, k]) for k in range(head.shape[2])], axis=2)
